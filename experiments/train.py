"""Train a restorer of any degradation on any data set, and see how well it restores.

    python experiments/train.py                                                    drawn faces, minutes on a CPU
    python experiments/train.py --preset cifar10-blur --download                   as published: a GPU and days
    python experiments/train.py --preset cifar10-blur --quick --data cifar10.zip   the same, small: minutes on a CPU
    python experiments/train.py --degradation snow --degradation-args T=50 strength=2 --data photos/
    python experiments/train.py --preset photo-blur --data photos/             windows of photographs as they are
    python experiments/train.py --pairs clean/ degraded/           a degradation that is known only by pairs
    python experiments/train.py --preset generation-blur --quick --data faces.zip  for experiments/generate.py

Degradations are those of `python -m degrade list`, plugins included. The run ends with measurements on held-out images:
degraded (rounded to 8 bits if the network was trained so), restored by the linear inverse if there is one, by one
prediction, and by two samplers. Its folder then holds configuration, model, log, metrics and pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import UsageError, run_main
from experiments.data.options import ExampleOptions
from experiments.run.degradation_options import DegradationOptions
from experiments.run.options import TrainerOptions
from experiments.run.presets import DEMO, PRESETS, shrink
from experiments.run.start import start_run
from restore.choices import Predict

if TYPE_CHECKING:
    import torch

    from degrade import Degradation
    from experiments.data.datasets import Datasets
    from experiments.evaluation.choices import InputPrecision
    from experiments.evaluation.restoration import RestorationEvaluator
    from restore import Restorer
    from samplers import Prior

__all__ = ["Config", "main"]

PROGRAM = "train"


class RestorationOptions(DegradationOptions, ExampleOptions):
    """What is restored."""

    partner_data: str | None = Field(
        None, description="images that `interpolation` turns the data into; same values as --data"
    )
    prediction_type: Predict = Field(
        "x0", description="what the network predicts: x0, or eps or v where x_t = a_t x0 + b_t z"
    )
    quick: bool = Field(False, description="small network and short training: minutes on a CPU")

    @classmethod
    def merge(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with those given over them."""
        small = given.get("quick") is True and given.get("preset", "demo") != "demo"  # which is small as it is
        preset = shrink(preset) if small else preset
        values = super().merge(preset, given)
        if given.get("pairs") is not None and "degradation" not in given:  # which ends in exactly the degraded image
            preset = {"degradation": "interpolation", "degradation_args": {"schedule": "rectified"}}
            values["degradation"] = "interpolation"
        same = values.get("degradation") == preset.get("degradation")
        own = given.get("degradation_args", {})
        if not isinstance(own, dict):
            return values  # to be refused where all values are checked
        return {**values, "degradation_args": {**(preset.get("degradation_args", {}) if same else {}), **own}}


class Config(TrainerOptions, RestorationOptions):
    """Everything."""


def degradation(config: Config, data: Datasets, device: torch.device) -> Degradation:
    """Return the degradation that is asked for, tried on one image.

    Raises:
        UsageError: for an unknown name, or arguments that are unknown, out of range or do not suit the images.
    """
    from degrade import expand_level, get, make
    from degrade.random import seeded_generator
    from degrade.serializable import is_runtime

    try:
        arguments = {field.name: not is_runtime(field) for field in fields(get(config.degradation))}
        known = ", ".join(name for name, saved in arguments.items() if saved)
        unknown = [name for name in config.degradation_args if not arguments.get(name)]
        if unknown:
            raise ValueError(f"it has no argument {', '.join(unknown)}; --degradation-args takes {known}")
        if config.pairs and "source" not in arguments:
            raise ValueError("--pairs are the ends of an interpolation; use --degradation interpolation")
        runtime = {"source": _other(config, data, device)} if "source" in arguments else {}
        D = make(config.degradation, **config.degradation_args, **runtime)
        x0 = data.validation(1, seeded_generator(device, config.seed, "trial"))
        T, z = expand_level(D.T, x0), D.draw(x0, seeded_generator(device, config.seed, "trial"))
        if data.partners and not D(x0, T, z).equal(z):
            raise ValueError(
                "at T it keeps a part of the clean image, which no degraded one has; use schedule=rectified"
            )
        D(x0, T, z)
    except (ValueError, ImportError) as error:
        raise UsageError(f"--degradation {config.degradation}: {error}") from None
    return D


def _other(config: Config, data: Datasets, device: torch.device) -> Any:
    """Return the source of the images that others turn into."""
    from experiments.data.datasets import load_data

    if data.partners:
        return data.partners.training
    name = config.partner_data or ("drawn-animals" if data.name == "drawn" else None)
    if name is None:
        raise UsageError(f"--degradation {config.degradation} turns images into others; name those with --partner-data")
    other = load_data(config, config.size, config.seed, device, name, "--partner-data")
    if other.channels != data.channels:
        raise UsageError(
            f"--partner-data {name} has {other.channels} channels and --data {data.name} has {data.channels};"
            " set --channels"
        )
    return other.training


def fitted(config: Config, D: Degradation, data: Datasets) -> Prior | None:
    """Return the prior that is asked for, fitted to the training set.

    Raises:
        UsageError: if it cannot be fitted.
    """
    from samplers.priors.fit import FitOptions, fit_prior

    if config.prior is None:
        return None
    try:
        return fit_prior(D, data.training, config.prior, FitOptions(jitter=config.jitter, seed=config.seed))
    except (ValueError, ImportError) as error:
        raise UsageError(f"--prior {config.prior}: {error}") from None


def main(argv: Sequence[str]) -> None:
    """Train, measure, draw."""
    config, folder = start_run(Config, {"demo": DEMO, **PRESETS}, argv, PROGRAM, __doc__ or "")
    from experiments.data.datasets import load_examples
    from experiments.evaluation.restoration import RestorationEvaluator, table
    from experiments.report.content import evaluation_table, restoration_blocks
    from experiments.run.training import Results, TrainingTask, train, write_results

    device = config.torch_device()
    data = load_examples(config, config.size, config.seed, device)
    config = config.model_copy(update={"network_args": {**config.network_args, **data.network_arguments}})
    D = degradation(config, data, device)

    def study(R: Restorer) -> RestorationEvaluator:
        precision: InputPrecision = "8bit" if config.quantize_input else "float32"
        return RestorationEvaluator(
            R, data.validation, config.seed, config.forward_size, config.sample_steps, precision
        )

    def preview(path: Path, R: Restorer) -> Path:
        return study(R).restoration_strip(path)

    prior = fitted(config, D, data)
    task = TrainingTask(
        D,
        data.training,
        data.spec,
        config.prediction_type,
        preview=preview,
        prior=prior,
        inverse_input=config.seen_inverse(),
    )
    training, folder = train(config, folder, task, data.channels)
    if training.rank:  # the first process measures and draws
        return
    final = study(training.ema)
    measured = final.measure(config.eval_images)
    pictures = [final.forward_strip(folder / "forward.png"), final.restoration_strip(folder / "restored.png")]
    x0, z, cond = final.images(4)
    numbers = evaluation_table(f"Restored from severity {D.T}", measured["evaluation"])
    blocks = [
        *restoration_blocks(training.ema.with_cond(**cond) if cond else training.ema, x0, z, "algorithm2", final.times),
        replace(numbers, note=" ".join([numbers.note, *data.remarks])),
    ]
    title = f"{D.name}, {config.loss} loss"
    write_results(folder, Results(measured, [*table(measured), *data.remarks], pictures, title, blocks), device)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
