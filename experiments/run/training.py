"""What every program that trains does after its start (`experiments.run.start`).

train           configuration, degradation and data -> a finished `Trainer`, with checkpoints in the folder's `model`
build_restorer  configuration and task -> the restorer that will be trained, with random weights
write_results   measurements and pictures -> metrics.json, learning curve, report page, and the lines a run ends with
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from degrade.command_line import UsageError
from degrade.random import fork_seed
from experiments.evaluation.plots import plot_loss
from experiments.report.blocks import Block
from experiments.run.folder import create_run_dir, read_log, resume_run, write_json
from experiments.run.loop import TrainingTask, fit
from experiments.run.options import TrainerOptions
from experiments.run.report import write_run_report
from restore import Restorer, Trainer, latest, load_pretrained
from restore.checkpoint.store import checkpoints
from restore.distributed import init_distributed

__all__ = ["Results", "TrainingTask", "build_restorer", "train", "write_results"]


def train(config: TrainerOptions, folder: Path, task: TrainingTask, channels: int = 3) -> tuple[Trainer, Path]:
    """Train a restorer from random or pretrained weights, or from the newest checkpoint if the run is continued.

    Args:
        config: the network, how to train it, and where to compute.
        folder: the folder of the run, as `experiments.run.start` chose it; it is created if missing.
        task: the degradation, the data, and what the network predicts.
        channels: channels of the images.

    Returns:
        The finished training and the folder of the run. The folder is another one than `folder` if a run that was
        started at the same time has taken that number.

    Raises:
        UsageError: for anything that the user can correct.
        KeyboardInterrupt: when interrupted, with everything saved.
    """
    device = config.torch_device()
    try:
        restorer = build_restorer(config, task, channels)
        if not (config.resume and checkpoints(folder / "model")):
            _start_from(config.pretrained, restorer)
        training = Trainer(restorer, config.training(config.seed), init_distributed(device))
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    folder = create_run_dir(folder, config)
    if config.resume:
        resume_run(folder, training, task.data_spec)
    fit(training, task, folder, config)
    return training, folder


def build_restorer(config: TrainerOptions, task: TrainingTask, channels: int = 3) -> Restorer:
    """Return the restorer of a task with the random weights of the configuration's seed, on its device.

    Args:
        config: the network, the seed and the device.
        task: the degradation, and what the network predicts and sees.
        channels: channels of the images.

    Raises:
        UsageError: if the values of the network do not go together, or the device is not there.
        ValueError: if degradation, prediction and network do not go together.
    """
    with fork_seed("cpu", config.seed, "weights"):
        net = config.build_network(channels, task.degradation.T, with_inverse=task.inverse_input is not None)
    net = net.to(config.torch_device()).to(memory_format=torch.channels_last)
    return Restorer(net, task.degradation, task.prediction_type, task.clip_sample, inverse_input=task.inverse_input)


def _start_from(pretrained: str | None, restorer: Restorer) -> None:
    if pretrained is None:
        return
    try:
        load_pretrained(pretrained, restorer)
    except (OSError, ValueError) as error:
        raise UsageError(f"--pretrained {pretrained}: {error}; random weights: --pretrained none") from None


@dataclass(frozen=True)
class Results:
    """What a program found about the restorer that it trained.

    Args:
        measured: JSON values for `metrics.json`.
        lines: the lines that say what was measured.
        pictures: files that were drawn.
        title: name of what was trained and of its loss, for the learning curve and the report page.
        blocks: the top of the report page.
    """

    measured: Any
    lines: Iterable[str]
    pictures: Sequence[Path]
    title: str
    blocks: Sequence[Block] = ()


def write_results(folder: Path, results: Results, device: torch.device) -> None:
    """Write measurements, learning curve and report page into the folder of a run; print the results and all paths.

    Args:
        folder: the folder of the run.
        results: results of the measurements.
        device: device that the run used.
    """
    write_json(folder / "metrics.json", results.measured)
    curve = plot_loss(folder / "learning_curve.png", read_log(folder / "log.jsonl"), results.title)
    pictures = [*results.pictures, curve]
    report = write_run_report(folder, results.title, results.blocks, pictures, device)
    print("\n".join(results.lines))
    print(f"model: {latest(folder / 'model')}\n" + "\n".join(map(str, [*pictures, report])))
