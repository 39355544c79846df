"""The tables of Bansal et al. (arXiv 2208.09392, 2022) on one machine: train, restore, generate, measure, decide.

    python experiments/tables.py                                     every task, tiny, on drawn images: minutes
    python experiments/tables.py --scale small --data cifar10=cifar10.zip celeba=faces/ mnist=drawn
    python experiments/tables.py --scale paper --tasks cifar10-blur,cifar10-inpaint --features inception
    python experiments/tables.py --scale small --tasks levels-5,levels-20,levels-50,levels-200

A task is one training and its evaluation; `--tasks` takes names, and the words restoration, inverse, generation and
levels. Images are restored from 8 bits and from float32. The program may be stopped at any time and started again with
the same command: finished tasks are not repeated, a training continues at its last checkpoint. Processes with
different --tasks may work in one folder at the same time. Published numbers stand beside ours, with the differences of
protocol in words.

The folder of the results (--out) holds:

    tables.json    every number, with configuration, seed, versions and fingerprints of the images
    tables.html    the tables, patterns and pictures as one page
    tasks/NAME/    run (the training), PRECISION.safetensors, measured.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from degrade.command_line import KeyValues, UsageError, explicit_values, run_main, validated
from experiments.evaluation.choices import InputPrecision
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions
from experiments.run.tasks import DATA, TASKS, Scale, TaskConfig, task_config, task_kind

if TYPE_CHECKING:
    from experiments.data.datasets import Datasets
    from experiments.evaluation.evaluator import Evaluation, Evaluator
    from experiments.report.paper_tables import MeasuredTask

__all__ = ["Config", "main"]

PROGRAM = "tables.py"
KINDS = ("restoration", "inverse", "generation", "levels")
METRICS = ("rmse", "psnr", "ssim", "frechet_distance", "kernel_distance")
# What may differ when the command is repeated: where it computes and reads, and which tasks it does this time.
RESUMABLE = {"out", "tasks", "device", "data_dir", "download", "feature_cache"}


def _names(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class Config(DeviceOptions):
    """Tables."""

    scale: Scale = Field("tiny", description="tiny: minutes; small: hours on a CPU; paper: as published")
    tasks: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        KINDS, description=f"{', '.join(KINDS)} for all of a kind, or names: {', '.join(TASKS)}"
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
    input_precision: Annotated[tuple[InputPrecision, ...], BeforeValidator(_names)] = Field(
        ("8bit", "float32"),
        min_length=1,
        description="8bit rounds degraded images to 256 levels, as a file does; float32 leaves them as they are; levels"
        " are compared at the first one",
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
        unknown = [name for name in self.tasks if name not in (*TASKS, *KINDS)]
        if unknown:
            raise UsageError(f"--tasks {unknown[0]}: choose from {', '.join((*KINDS, *TASKS))}")
        return [name for name in TASKS if name in self.tasks or task_kind(name) in self.tasks]

    def precisions(self, name: str) -> tuple[InputPrecision, ...]:
        """Return the precisions of degraded images at which a task is measured."""
        return self.input_precision if task_kind(name) in ("restoration", "inverse") else self.input_precision[:1]

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


def run_tasks(config: Config, names: Sequence[str], folder: Path, evaluator: Evaluator) -> dict[str, str]:
    """Do the tasks that are not finished, and return for those whose data are not there why.

    Raises:
        UsageError: for anything that the user can correct.
    """
    from experiments.data.datasets import load_data
    from experiments.run.task_results import finished, run_task

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
        run_task(name, task, data[1], home, evaluator, config.precisions(name))
    if len(missing) == len(names):
        raise UsageError(f"no task has its data: {next(iter(missing.values()))}; or take --data NAME=drawn")
    return missing


def compare_tasks(done: Mapping[str, MeasuredTask], evaluator: Evaluator) -> dict[str, Evaluation]:
    """Return the tables that compare tasks: the numbers of levels, and networks that see the inverse with others."""
    from experiments.evaluation.reproduction import inverse_evaluation, levels_evaluation
    from experiments.report.paper_tables import LEVELS_TABLE

    found: dict[str, Evaluation] = {}
    levels = {int(key.removeprefix("levels-")): one.measured for key, one in done.items() if key.startswith("levels-")}
    if len(levels) > 1:
        found[LEVELS_TABLE] = levels_evaluation(levels, evaluator)
    for key, one in done.items():
        without = done.get(key.replace("-inverse", ""))
        if "-inverse" in key and without is not None and without.described["data"] == one.described["data"]:
            name = f"Sight of the inverse: {key.replace('-inverse', '')}"
            found[name] = inverse_evaluation(without.measured, one.measured, evaluator)
    return found


def main(argv: Sequence[str]) -> None:
    """Do what is not finished yet, and write the tables of all that is."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from experiments.evaluation.evaluator import Evaluator
    from experiments.evaluation.patterns import decide_all
    from experiments.evaluation.tables import render_evaluation
    from experiments.report.page import write_report
    from experiments.report.paper_tables import patterns_text, tables_page, task_text
    from experiments.run.environment import describe_environment
    from experiments.run.task_results import finished
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
    done = {
        f"{name}, {precision}" if task_kind(name) in ("restoration", "inverse") else name: task
        for name in TASKS
        for precision, task in finished(folder / "tasks" / name).items()
    }
    compared = compare_tasks(done, evaluator)
    patterns = decide_all(
        {name: task.evaluations for name, task in done.items()} | {k: [e] for k, e in compared.items()}
    )
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(config.torch_device()),
        "left_out": missing,
    }
    tables = {
        "tasks": {name: task.described for name, task in done.items()},
        "compared": {name: evaluation.to_dict() for name, evaluation in compared.items()},
        "patterns": [pattern.to_dict() for pattern in patterns],
    }
    write_json(folder / "tables.json", described | tables)
    page = write_report(folder / "tables.html", tables_page(described, done, compared, patterns))
    texts = [*(task_text(name, task) for name, task in done.items())]
    texts += [render_evaluation(evaluation, f"{name}:") for name, evaluation in compared.items()]
    print("\n\n".join([*texts, patterns_text(patterns)]))
    print(f"{folder / 'tables.json'}\n{page}")


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
