"""One training from the command line to a trained restorer; what every experiment that trains has in common.

begin    options -> configuration and folder, of a new run or of the one that is continued
train    configuration, degradation and data -> a finished `Trainer`, its checkpoints in the folder's `model`
finish   what was measured and drawn -> metrics.json, the learning curve, and the lines that a run ends with
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from degrade import Degradation, Source
from degrade.command_line import UsageError, parse
from degrade.seeding import fork_seed
from degrade.serializable import Serializable
from experiments.evaluation.plots import plot_loss
from experiments.run.folder import choose_folder, create_run_dir, read_log, resume_run, stored_config, write_json
from experiments.run.loop import Picture, fit
from experiments.run.options import NetworkOptions, RunOptions, TrainOptions
from restore import DatasetInfo, Predict, Restorer, Trainer, UNet, UNetConfig, latest
from restore.distributed import init_distributed

__all__ = ["TrainerOptions", "start_run", "train", "write_results"]


class TrainerOptions(TrainOptions, NetworkOptions, RunOptions):
    """Everything that a training needs to know beside its degradation and its data."""


C = TypeVar("C", bound=TrainerOptions)


def start_run(
    model: type[C], presets: Mapping[str, Mapping[str, Any]], argv: Sequence[str], program: str, description: str
) -> tuple[C, Path]:
    """Return the configuration that a command line asks for, and the folder of its run.

    Args:
        model: the configuration.
        presets: values by name of the preset.
        argv: the command line without the program.
        program: its name without `.py`.
        description: what `--help` says first.

    Raises:
        UsageError: for anything the user should mend.
    """
    config, explicit = parse(model, presets, argv, f"{program}.py", description)
    folder = choose_folder(config, program)
    return (stored_config(folder, model, explicit) if config.resume else config), folder


def train(
    config: TrainerOptions,
    folder: Path,
    network: UNetConfig,
    D: Degradation,
    data: Source,
    prediction_type: Predict = "x0",
    clip_sample: bool = False,
    picture: Picture | None = None,
    data_spec: DatasetInfo | None = None,
    prior: Serializable | None = None,
) -> tuple[Trainer, Path]:
    """Train a restorer of D from the start, or from the newest checkpoint if the run is continued.

    Args:
        config: how, and where to compute.
        folder: of the run, as `start_run` returned it; made if missing.
        network: what is trained.
        D: what it learns to undo.
        data: clean images.
        prediction_type: what the network predicts.
        clip_sample: whether the restorer clamps to [-1, 1].
        picture: what is drawn while training; see `experiments.run.loop`.
        data_spec: what `data` is, for the checkpoints.
        prior: where trajectories start, for the checkpoints.

    Returns:
        The finished training and the folder of the run: the next number where a run started meanwhile took this one.

    Raises:
        UsageError: for anything the user should mend.
        KeyboardInterrupt: when interrupted, with everything saved.
    """
    device = config.torch_device()
    with fork_seed("cpu", config.seed, "weights"):
        net = UNet(network)
    net = net.to(device).to(memory_format=torch.channels_last)
    try:
        restorer = Restorer(net, D, prediction_type, clip_sample)
        training = Trainer(restorer, config.training(config.seed), init_distributed(device))
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    folder = create_run_dir(folder, config)
    if config.resume:
        resume_run(folder, training, data_spec)
    # The processes hold the same weights, so one of them draws; the others wait for it in the next step.
    fit(training, data, folder, config, None if training.rank else picture, data_spec, prior)
    return training, folder


def write_results(folder: Path, measured: Any, lines: Iterable[str], pictures: Sequence[Path], title: str) -> None:
    """Write what was measured and the learning curve into a run's folder, and say what was found and where it is.

    Args:
        folder: of the run.
        measured: for metrics.json.
        lines: that say what was measured.
        pictures: that were drawn.
        title: of the learning curve.
    """
    write_json(folder / "metrics.json", measured)
    log = plot_loss(folder / "learning_curve.png", read_log(folder / "log.jsonl"), title)
    print("\n".join(lines))
    print(f"model: {latest(folder / 'model')}\n" + "\n".join(map(str, [*pictures, log])))
