"""One task of the paper's tables, done and kept: a training, and what it restores from images of each precision.

The folder of a task holds `run` (the training), PRECISION.safetensors and, when all is done, `measured.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from degrade.command_line import UsageError
from experiments.data.datasets import Datasets
from experiments.evaluation.accumulate import tensor_sha256
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.evaluator import Evaluator
from experiments.evaluation.published import ThisProtocol, protocol_differences
from experiments.evaluation.reproduction import (
    load_measurement,
    measure_generation,
    measure_restoration,
    save_measurement,
    unseen_images,
)
from experiments.report.paper_tables import MeasuredTask
from experiments.run.environment import describe_environment
from experiments.run.folder import write_json
from experiments.run.tasks import TaskConfig
from experiments.run.training import TrainingTask, train
from samplers.priors.fit import FitOptions, fit_prior

__all__ = ["describe_task", "finished", "run_task", "this_protocol"]


def run_task(
    name: str,
    task: TaskConfig,
    data: Datasets,
    folder: Path,
    evaluator: Evaluator,
    precisions: Sequence[InputPrecision],
) -> None:
    """Train, measure, and write `measured.json` last: a task that has it is finished.

    Args:
        name: name of the task.
        task: its configuration.
        data: images to train on, and to measure on.
        folder: folder of the task.
        evaluator: measures.
        precisions: precisions of the degraded images that are restored.

    Raises:
        UsageError: for anything that the user can correct.
    """
    D, run = task.make_degradation(), folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    prior = None
    if task.prior is not None:
        try:
            prior = fit_prior(D, data.training, task.prior, FitOptions(jitter=task.jitter, seed=task.seed))
        except (ValueError, ImportError) as error:
            raise UsageError(f"{name}: {error}") from None
    todo = TrainingTask(D, data.training, data.spec, prior=prior, inverse_input=task.seen_inverse())
    training, _ = train(task, run, todo, data.channels)
    x0 = unseen_images(data.validation, task.eval_images, task.seed, task.torch_device())
    found: dict[str, Any] = {}
    for precision in precisions:
        if prior is None:
            measured = measure_restoration(training.ema, x0, evaluator, task.sample_steps, precision, task.seed)
        else:
            measured = measure_generation(training.ema, prior, x0, evaluator, task.sample_steps, task.seed)
        save_measurement(folder / f"{precision}.safetensors", measured)
        evaluations = [evaluation.to_dict() for evaluation in measured.evaluations(evaluator)]
        protocol = this_protocol(task, data.name, len(x0), evaluator.features.name, precision)
        found[precision] = {
            "protocol": protocol._asdict(),
            "protocol_differences": protocol_differences(name, protocol, D.T),
            "evaluations": evaluations,
        }
    write_json(folder / "measured.json", describe_task(name, task, data.name, x0) | {"measured": found})


def this_protocol(task: TaskConfig, data: str, images: int, features: str, precision: InputPrecision) -> ThisProtocol:
    """Return what a task did where the publication may have done something else."""
    network = f"{task.network}, {task.model_channels} channels"
    return ThisProtocol(
        *(data, task.size, images, features, precision, "8bit" if task.quantize_input else "float32"),
        *(task.steps, task.batch_size, f"{network}, sees the linear inverse" if task.inverse_input else network),
        min(task.sample_steps or task.make_degradation().T, task.make_degradation().T),
    )


def describe_task(name: str, task: TaskConfig, data: str, x0: Tensor) -> dict[str, Any]:
    """Return what is the same for all precisions of a task: configuration, environment, images."""
    return {
        "task": name,
        "configuration": task.model_dump(mode="json", exclude={"out", "resume", "device", "data_dir", "download"}),
        "environment": describe_environment(task.torch_device()),
        "data": {"name": data, "images": len(x0), "sha256": tensor_sha256(x0)},
    }


def finished(folder: Path) -> dict[str, MeasuredTask]:
    """Return what a finished task measured, by precision of its input; empty if it is not finished."""
    if not (folder / "measured.json").is_file():
        return {}
    described = json.loads((folder / "measured.json").read_text())
    return {
        precision: MeasuredTask(described | found, load_measurement(folder / f"{precision}.safetensors"))
        for precision, found in described.pop("measured").items()
    }
