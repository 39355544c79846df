"""Compare samplers on one trained model: whether iterating helps, how many steps it takes, which sampler is best.

    python experiments/compare.py --model runs/train-001
    python experiments/compare.py --model runs/train-001 --samplers algorithm2,heun,ddim:eta=0.5 --steps 2,10,50
    python experiments/compare.py --model runs/train-001 --features efficientnet_lite0 --images 1000
    torchrun --nproc-per-node 2 experiments/compare.py --model runs/train-001      the same numbers, sooner

All rows restore the same degraded images, which training has not seen: the degraded images as they are, the linear
inverse of the degradation (if it is affine), one prediction of the model (direct), and every sampler that suits the
degradation, with estimated and with fixed z, at each number of steps. Differences to `direct` are measured image by
image; their 95 % intervals decide what is better. Degraded images are rounded to 8 bits, as a file would be, unless
--input-precision says float32. Several models of one degradation are compared by --model FOLDER,FOLDER.

The table is printed, and these files are written to the folder `compare` of the first run, or to --out:

    compare.json                  every number, with configuration, seed, versions and fingerprint of the images
    perception_distortion.png     RMSE against a distance of sets, a line over steps for each sampler
    differences.png               differences to `direct` with their intervals
    trajectory_error.png          errors of prediction and state along the longest trajectories
    severity_error.png            error over the severity of the degraded images
    compare.html                  table, plots, and pictures with a slider and a divider, as one page
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from degrade.command_line import IntList, UsageError, explicit_values, run_main, validated
from degrade.options import Names
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions

if TYPE_CHECKING:
    from experiments.evaluation.comparison import Comparison
    from experiments.run.model import Model

__all__ = ["Config", "main"]

PROGRAM = "compare.py"


class ModelOptions(DeviceOptions):
    """The models and their data."""

    model: Names = Field((), description="folder of a run, or name of a model; several are separated by commas")
    data: str | None = Field(None, description="images, as --data of train.py (default: those of the run)")
    partner_data: str | None = Field(
        None, description="images that `interpolation` turns into (default: those of the run)"
    )
    out: str | None = Field(None, description="folder of the results (default: compare, in the run)")
    images: int = Field(64, ge=2, description="number of images that are restored")
    batch: Count = Field(32, description="number of images in a forward pass")
    input_precision: Literal["8bit", "float32"] = Field(
        "8bit", description="8bit rounds degraded images to 256 levels, as a file does; float32 leaves them as they are"
    )


class SamplingOptions(ModelOptions):
    """Samplers and steps."""

    samplers: Names = Field(
        (), description="samplers, such as algorithm2-fixed,ddim:eta=0.5; direct for none (default: all that suit)"
    )
    steps: IntList = Field((1, 2, 5, 10, 25, 50), description="numbers of steps; the number of levels is always added")
    start: Count | None = Field(None, description="severity that is restored from, 1..T (default: T)")
    spacing: Literal["even", "equal-error"] = Field(
        "even", description="severities of the steps: even, or equal-error for equal changes of the prediction"
    )
    severities: int = Field(5, ge=0, description="number of severities at which the error is measured; 0 for none")


class Config(SamplingOptions):
    """Metrics."""

    metrics: Names = Field(
        ("rmse", "psnr", "ssim", "frechet_distance", "kernel_distance"), description="names of metrics"
    )
    features: str = Field(
        "auto",
        description="feature network, such as thumbnail, efficientnet_lite0 or inception; auto: efficientnet_lite0 for"
        " color images of at least 32 pixels if the extra `features` is installed, else thumbnail",
    )
    feature_cache: str | None = Field(None, description="folder in which features of reference images are kept")


def load_models(config: Config) -> dict[str, Model]:
    """Return the models by name, each with its data.

    Raises:
        UsageError: if there is none, or one of them cannot be loaded.
    """
    from experiments.run.model import ModelSource, load_model

    device = config.torch_device()
    found: dict[str, Model] = {}
    for path in config.model or (None,):
        model = load_model(ModelSource(path, config.data, config.partner_data, config.seed), device)
        found[model.folder.name if model.folder.name not in found else str(path)] = model
    return found


def make_comparison(config: Config, models: Mapping[str, Model]) -> Comparison:
    """Return the comparison that the options describe, on unseen images of the first model's data.

    Raises:
        UsageError: for an option that does not suit the models.
    """
    from degrade.random import seeded_generator
    from experiments.data.examples import draw_examples
    from experiments.evaluation.comparison import Comparison, ComparisonOptions
    from experiments.evaluation.evaluator import Evaluator
    from experiments.evaluation.feature_networks import choose_features
    from restore.distributed import init_distributed

    first = next(iter(models.values()))
    if first.data is None:
        raise UsageError("the images of the run are not known; name some with --data, or --data drawn")
    device = config.torch_device()
    try:
        processes = init_distributed(device)
        generator = seeded_generator(device, config.seed, "restored")
        examples = draw_examples(first.data.validation, config.images, generator)
        x0 = examples[0] if isinstance(examples, tuple) else examples
        features = choose_features(x0.shape[1], min(x0.shape[2:])) if config.features == "auto" else config.features
        evaluator = Evaluator(
            config.metrics, features, config.batch, config.seed, processes, cache=config.feature_cache
        )
        options = ComparisonOptions(
            **{name: getattr(config, name) for name in ("samplers", "steps", "start", "input_precision", "spacing")},
            severities=config.severities,
            batch_size=config.batch,
            seed=config.seed,
        )
        return Comparison({name: model.R for name, model in models.items()}, examples, evaluator, options)
    except (ValueError, ImportError, FileNotFoundError) as error:
        raise UsageError(str(error)) from None


def draw(folder: Path, compared: Mapping[str, Any]) -> list[Path]:
    """Save the plots that the measured metrics allow, and return their paths."""
    from experiments.evaluation.plots import (
        plot_differences,
        plot_perception_distortion,
        plot_severity_error,
        plot_trajectory_error,
    )

    keys = [column["key"] for column in compared["evaluation"]["columns"]]
    sets = [key for key in keys if key.startswith("frechet_distance")]
    plots = [plot_differences(folder / "differences.png", compared, keys)]
    if "rmse" in keys and sets:
        plots.append(plot_perception_distortion(folder / "perception_distortion.png", compared, "rmse", sets[0]))
    if compared["trajectory"]:
        plots.append(plot_trajectory_error(folder / "trajectory_error.png", compared))
    if compared["severity"]:
        plots.append(plot_severity_error(folder / "severity_error.png", compared))
    return plots


def main(argv: Sequence[str]) -> None:
    """Restore, measure, draw."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from degrade.random import seeded_generator
    from experiments.evaluation.accumulate import tensor_sha256
    from experiments.evaluation.evaluator import Evaluation
    from experiments.evaluation.tables import render_evaluation
    from experiments.report.comparison_page import comparison_page
    from experiments.report.page import write_report
    from experiments.run.environment import describe_environment

    models = load_models(config)
    first = next(iter(models.values()))
    folder = Path(config.out) if config.out else first.folder / "compare"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None
    comparison = make_comparison(config, models)
    assert first.data is not None
    data = first.data.training(config.images, seeded_generator(comparison.x0.device, config.seed, "measured"))
    compared = comparison.run(data)
    processes = comparison.evaluator.processes
    if processes.rank:  # the first process writes
        return
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(comparison.x0.device, processes.world_size),
        "data": {"name": first.data.name, "images": len(comparison.x0), "sha256": tensor_sha256(comparison.x0)},
        "degradation": {"name": comparison.D.name, "arguments": comparison.D.arguments},
        "trained_steps": {name: model.specification.step for name, model in models.items()},
    }
    write_json(folder / "compare.json", described | compared)
    title = f"{len(comparison.x0)} unseen images, restored from severity {comparison.start}, {config.input_precision}:"
    costs = {"nfe": {row: str(value["nfe"]) for row, value in compared["rows"].items()}}
    print(render_evaluation(Evaluation.from_dict(compared["evaluation"]), title, costs))
    plots = draw(folder, compared)
    page = write_report(folder / "compare.html", comparison_page(comparison, compared, described, plots))
    print("nfe: calls of R for each image.\n" + "\n".join(map(str, [*plots, page])))


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
