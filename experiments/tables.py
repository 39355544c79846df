"""The tables of Bansal et al. (arXiv 2208.09392, 2022) on one machine: train, restore, generate, measure, decide.

    python experiments/tables.py                                     every task, tiny, on drawn images: two minutes
    python experiments/tables.py --scale small --data cifar10=cifar10.zip celeba=faces/ mnist=drawn
    python experiments/tables.py --scale paper --tasks cifar10-blur,cifar10-inpaint --features inception
    python experiments/tables.py --scale small --tasks levels-5,levels-20,levels-50,levels-200

A task is one training and one evaluation; `--tasks` takes names, and the words restoration, generation and levels. The
program may be stopped at any time and started again with the same command: finished tasks are not repeated, a training
continues at its last checkpoint. Published numbers stand beside ours, with the differences of protocol in words.

The folder of the results (--out) holds:

    tables.json    every number, with configuration, seed, versions and fingerprints of the images
    tables.html    the tables, patterns and pictures as one page
    tasks/NAME/    run (the training), measured.json, measured.safetensors
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from degrade.command_line import KeyValues, UsageError, explicit_values, run_main, validated
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions
from experiments.run.tasks import DATA, TASKS, Scale, TaskConfig, task_config, task_kind

if TYPE_CHECKING:
    from experiments.data.datasets import Datasets
    from experiments.evaluation.evaluator import Evaluation, Evaluator
    from experiments.evaluation.patterns import PatternResult
    from experiments.evaluation.reproduction import Measurement
    from experiments.report.paper_tables import MeasuredTask

__all__ = ["Config", "main"]

PROGRAM = "tables.py"
METRICS = ("rmse", "ssim", "frechet_distance", "kernel_distance")
# What may differ when the command is repeated: where it computes and reads, and which tasks it does this time.
RESUMABLE = {"out", "tasks", "device", "data_dir", "download", "feature_cache"}


def _names(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class Config(DeviceOptions):
    """Tables."""

    scale: Scale = Field("tiny", description="tiny: two minutes; small: hours on a CPU; paper: as published")
    tasks: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        ("restoration", "generation", "levels"),
        description=f"restoration, generation and levels for all of a kind, or names: {', '.join(TASKS)}",
    )
    out: str | None = Field(None, description="folder of the results (default: runs/tables-SCALE)")
    data: KeyValues = Field(
        {},
        description=f"data in place of {', '.join(DATA)}, such as cifar10=cifar10.zip; drawn, a folder, a zip or a set"
        " of torchvision (default at tiny: drawn)",
    )
    data_dir: str = Field("data", description="folder of torchvision's data")
    download: bool = Field(False, description="download the data sets with torchvision")
    features: str = Field("thumbnail", description="feature network: thumbnail, efficientnet_lite0 or inception")
    feature_cache: str | None = Field(None, description="folder in which features of reference images are kept")
    input_precision: Literal["8bit", "float32"] = Field(
        "8bit", description="8bit rounds degraded images to 256 levels, as a file does; float32 leaves them as they are"
    )
    steps: Count | None = Field(None, description="optimizer steps of each training (default: those of the scale)")
    images: int | None = Field(None, ge=2, description="images in each evaluation (default: those of the scale)")
    sample_steps: Count | None = Field(
        None, description="sampling steps of all tasks but levels-* (default: those of the scale)"
    )

    def task_names(self) -> list[str]:
        """Return the names of the tasks.

        Raises:
            UsageError: for an unknown one.
        """
        unknown = [name for name in self.tasks if name not in (*TASKS, "restoration", "generation", "levels")]
        if unknown:
            raise UsageError(f"--tasks {unknown[0]}: choose from restoration, generation, levels, {', '.join(TASKS)}")
        return [name for name in TASKS if name in self.tasks or task_kind(name) in self.tasks]

    def task(self, name: str) -> TaskConfig:
        """Return the configuration of one task.

        Raises:
            UsageError: for a value that is wrong.
        """
        unknown = [key for key in self.data if key not in DATA]
        if unknown:
            raise UsageError(f"--data {unknown[0]}={self.data[unknown[0]]}: name one of {', '.join(DATA)}")
        usual = task_config(name, self.scale, {}).data
        given: dict[str, Any] = {"data": self.data.get(usual, "drawn" if self.scale == "tiny" else usual)}
        given |= {"device": self.device, "seed": self.seed, "data_dir": self.data_dir, "download": self.download}
        given |= {} if self.steps is None else {"steps": self.steps}
        given |= {} if self.images is None else {"eval_images": self.images}
        given |= {} if self.sample_steps is None or task_kind(name) == "levels" else {"sample_steps": self.sample_steps}
        return task_config(name, self.scale, given)


def results_folder(config: Config) -> Path:
    """Return the folder of the results, after a look at whether it holds those of other settings.

    Raises:
        UsageError: if it does, or cannot be written.
    """
    folder = Path(config.out or f"runs/tables-{config.scale}")
    settings = config.model_dump(mode="json", exclude=RESUMABLE)
    file = folder / "settings.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(file.read_text()) if file.is_file() else settings
        write_json(file, before)
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {folder} cannot be used: {error}; name another folder") from None
    for name, value in settings.items():
        if before.get(name) != value:
            option, other = f"--{name.replace('_', '-')} {value}", before.get(name)
            raise UsageError(f"{option}: {folder} holds results with {other}; name another folder with --out")
    return folder


def run_task(name: str, task: TaskConfig, data: Datasets, folder: Path, evaluator: Evaluator, precision: Any) -> None:
    """Train, measure, and write `measured.json` last: a task that has it is finished.

    Raises:
        UsageError: for anything that the user can correct.
    """
    from experiments.evaluation.accumulate import tensor_sha256
    from experiments.evaluation.published import ThisProtocol, protocol_differences
    from experiments.evaluation.reproduction import (
        measure_generation,
        measure_restoration,
        save_measurement,
        unseen_images,
    )
    from experiments.run.environment import describe_environment
    from experiments.run.training import TrainingTask, train
    from samplers.priors.fit import FitOptions, fit_prior

    device, D = task.torch_device(), task.make_degradation()
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    prior = None
    if task.prior is not None:
        try:
            prior = fit_prior(D, data.training, task.prior, FitOptions(jitter=task.jitter, seed=task.seed))
        except (ValueError, ImportError) as error:
            raise UsageError(f"{name}: {error}") from None
    training, _ = train(task, run, TrainingTask(D, data.training, data.spec, prior=prior), data.channels)
    x0 = unseen_images(data.validation, task.eval_images, task.seed, device)
    if prior is None:
        measured = measure_restoration(training.ema, x0, evaluator, task.sample_steps, precision, task.seed)
    else:
        measured = measure_generation(training.ema, prior, x0, evaluator, task.sample_steps, task.seed)
    evaluations = [evaluation.to_dict() for evaluation in measured.evaluations(evaluator)]
    save_measurement(folder / "measured.safetensors", measured)
    sample_steps = min(task.sample_steps or D.T, D.T)
    protocol = ThisProtocol(
        data.name, task.size, len(x0), evaluator.features.name, precision, task.steps, task.batch_size,
        f"{task.network}, {task.model_channels} channels", sample_steps,
    )  # fmt: skip
    described = {
        "task": name,
        "configuration": task.model_dump(mode="json", exclude={"out", "resume", "device", "data_dir", "download"}),
        "environment": describe_environment(device),
        "data": {"name": data.name, "images": len(x0), "sha256": tensor_sha256(x0)},
        "protocol": protocol._asdict(),
        "protocol_differences": protocol_differences(name, protocol, D.T),
        "evaluations": evaluations,
    }
    write_json(folder / "measured.json", described)


def finished(folder: Path) -> MeasuredTask | None:
    """Return what a finished task measured, or None if it is not finished."""
    from experiments.evaluation.reproduction import load_measurement
    from experiments.report.paper_tables import MeasuredTask

    if not (folder / "measured.json").is_file():
        return None
    described = json.loads((folder / "measured.json").read_text())
    return MeasuredTask(described, load_measurement(folder / "measured.safetensors"))


def run_tasks(config: Config, names: Sequence[str], folder: Path, evaluator: Evaluator) -> dict[str, str]:
    """Do the tasks that are not finished, and return for those whose data are not there why.

    Raises:
        UsageError: for anything that the user can correct.
    """
    from experiments.data.datasets import load_data

    missing: dict[str, str] = {}
    data: tuple[Any, Datasets] | None = None
    for name in names:
        home, task = folder / "tasks" / name, config.task(name)
        if finished(home):
            print(f"{name}: finished before", file=sys.stderr)
            continue
        key = (task.data, task.size, task.resize, task.flip, task.channels)
        if data is None or data[0] != key:  # one set is in memory at a time
            try:
                data = (key, load_data(task, task.size, config.seed, task.torch_device(), task.data, "--data"))
            except UsageError as error:
                missing[name] = str(error)
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
        print(f"{name}: {task.steps} steps on {data[1].name}", file=sys.stderr)
        run_task(name, task, data[1], home, evaluator, config.input_precision)
    if len(missing) == len(names):
        raise UsageError(f"no task has its data: {next(iter(missing.values()))}; or take --data NAME=drawn")
    return missing


def summarize(done: dict[str, MeasuredTask], evaluator: Evaluator) -> tuple[Evaluation | None, list[PatternResult]]:
    """Return the table of the numbers of levels, if there are two, and the patterns."""
    from experiments.evaluation.patterns import decide_all
    from experiments.evaluation.reproduction import levels_evaluation

    levels: dict[int, Measurement] = {
        int(name.removeprefix("levels-")): task.measured for name, task in done.items() if task_kind(name) == "levels"
    }
    over_levels = levels_evaluation(levels, evaluator) if len(levels) > 1 else None
    evaluations = {name: task.evaluations for name, task in done.items()}
    if over_levels is not None:
        evaluations["levels"] = [over_levels]
    return over_levels, decide_all(evaluations)


def main(argv: Sequence[str]) -> None:
    """Do what is not finished yet, and write the tables of all that is."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from experiments.evaluation.evaluator import Evaluator
    from experiments.report.page import write_report
    from experiments.report.paper_tables import patterns_text, tables_page, task_text
    from experiments.run.environment import describe_environment
    from restore.distributed import get_world_size

    if get_world_size() > 1:
        raise UsageError("the tables are made by one process; start tasks with different --tasks beside each other")
    names = config.task_names()
    for name in names:
        config.task(name)
    folder = results_folder(config)
    try:
        evaluator = Evaluator(METRICS, config.features, 64, config.seed, cache=config.feature_cache)
    except (ValueError, ImportError, FileNotFoundError) as error:
        raise UsageError(f"--features {config.features}: {error}") from None
    missing = run_tasks(config, names, folder, evaluator)
    found = {name: finished(folder / "tasks" / name) for name in TASKS}
    done = {name: task for name, task in found.items() if task is not None}
    over_levels, patterns = summarize(done, evaluator)
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(config.torch_device()),
        "left_out": missing,
    }
    tables = {
        "tasks": {name: task.described for name, task in done.items()},
        "levels": None if over_levels is None else over_levels.to_dict(),
        "patterns": [pattern.to_dict() for pattern in patterns],
    }
    write_json(folder / "tables.json", described | tables)
    page = write_report(folder / "tables.html", tables_page(described, done, over_levels, patterns))
    print("\n\n".join([*(task_text(name, task) for name, task in done.items()), patterns_text(patterns)]))
    print(f"{folder / 'tables.json'}\n{page}")


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
