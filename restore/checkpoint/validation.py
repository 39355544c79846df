"""Validation: whether a checkpoint is complete and undamaged, can be rebuilt here, and fits the training that resumes.

A checkpoint is a folder with the files `CHECKPOINT_FILES`, a model (see `restore.models.catalog`) one with the files
`MODEL_FILES`. Both are checked against their checksums, the registries of this program, and the shapes of the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from degrade import get
from restore.checkpoint.config import (
    MODEL,
    CheckpointConfig,
    ComponentConfig,
    DatasetInfo,
    network_of,
    read_checkpoint_config,
)
from restore.checkpoint.integrity import CHECKSUMS, CorruptCheckpointError, listed, verify
from restore.nets.registry import make_network
from restore.restorer import Restorer
from restore.training import Trainer

__all__ = [
    "CARD",
    "CHECKPOINT_FILES",
    "EMA",
    "MODEL_FILES",
    "OPTIMIZER",
    "SEVERITY",
    "WEIGHTS",
    "check_same_restorer",
    "check_same_training",
    "files_match",
    "is_model",
    "read_tensors",
    "validate",
]

WEIGHTS, EMA, OPTIMIZER, CARD = "weights.safetensors", "ema.safetensors", "optimizer.pt", "card.md"
SEVERITY = "severity.safetensors"  # is not in every folder
CHECKPOINT_FILES = (MODEL, WEIGHTS, EMA, OPTIMIZER)
MODEL_FILES = (MODEL, WEIGHTS)
RESULT_NEUTRAL = ("gradient_checkpointing",)  # arguments of networks that change no result
# A change of one of these changes the images, random numbers or losses of the steps to come.
SAME = (
    "batch_size", "micro_batch_size", "loss", "timesteps", "weighting", "cond_dropout", "quantize_input",
    "quantize_probability", "seed",
)  # fmt: skip


def is_model(folder: Path) -> bool:
    """Return whether a folder is a model for inference, with a card and one set of weights, and no checkpoint."""
    return (folder / CARD).is_file()


def files_match(checkpoint: Path) -> bool:
    """Return whether all files of a checkpoint are there in the sizes in which they were written."""
    try:
        verify(checkpoint, CHECKPOINT_FILES, contents=False)
    except CorruptCheckpointError:
        return False
    return True


def validate(checkpoint: Path) -> CheckpointConfig:
    """Return the configuration of a checkpoint or model that is undamaged and can be rebuilt here.

    Raises:
        CorruptCheckpointError: saying what is wrong.
    """
    if not (checkpoint / CHECKSUMS).exists():
        read_checkpoint_config(checkpoint)  # another program or another format explains why they are missing
    expected = MODEL_FILES if is_model(checkpoint) else CHECKPOINT_FILES
    verify(checkpoint, (*expected, SEVERITY) if listed(checkpoint, SEVERITY) else expected)
    config = read_checkpoint_config(checkpoint)
    try:
        get(config.degradation.name)
    except ValueError as error:
        raise CorruptCheckpointError(f"{error}; import or install the plugin that registers it") from None
    _check_shapes(checkpoint, config.network)
    return config


def _check_shapes(checkpoint: Path, network: ComponentConfig) -> None:
    try:
        with torch.device("meta"):  # shapes without memory
            net = make_network(network.name, **network.arguments)
    except ValueError as error:
        raise CorruptCheckpointError(f"{error}; a plugin's network needs its module imported or installed") from None
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    for file in (WEIGHTS,) if is_model(checkpoint) else (WEIGHTS, EMA):
        try:
            with safe_open(checkpoint / file, "pt") as tensors:
                found = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise CorruptCheckpointError(f"{file}: {error}") from None
        for name in sorted(expected.keys() | found.keys()):
            if found.get(name) != expected.get(name):
                raise CorruptCheckpointError(
                    f"{file}: {name} has shape {found.get(name)}, its network's has {expected.get(name)}"
                )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name.

    Raises:
        CorruptCheckpointError: if it cannot be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptCheckpointError(f"{path.name}: {error}") from None


def check_same_restorer(checkpoint: Path, stored: CheckpointConfig, restorer: Restorer) -> None:
    """Return if the weights of a checkpoint are those of a network that does what `restorer` does.

    Args:
        checkpoint: its folder, for messages.
        stored: its configuration.
        restorer: the restorer that is to have the weights.

    Raises:
        ValueError: if network, degradation or another part that decides what the network predicts is not the same.
    """
    ours = network_of(restorer)
    _check_equal(
        checkpoint,
        [
            # How the backward pass does its work may differ.
            ("network", _without(stored.network, RESULT_NEUTRAL), _without(ours, RESULT_NEUTRAL)),
            ("degradation", stored.degradation, ComponentConfig.of(restorer.degradation)),
            ("prediction_type", stored.prediction_type, restorer.prediction_type),
            ("clip_sample", stored.clip_sample, restorer.clip_sample),
            ("inverse_input", stored.inverse_input, restorer.inverse_input),
        ],
    )


def check_same_training(
    checkpoint: Path, stored: CheckpointConfig, training: Trainer, data: DatasetInfo | None
) -> None:
    """Return if `training` can go on from a checkpoint.

    Args:
        checkpoint: its folder, for messages.
        stored: its configuration.
        training: the training that resumes.
        data: what it goes on with, if that is known.

    Raises:
        ValueError: if network, degradation, data or another value that decides the steps to come is not the same.
    """
    check_same_restorer(checkpoint, stored, training.restorer)
    pairs: list[tuple[str, Any, Any]] = [
        ("optimizer", stored.training.optimizer.name, training.config.optimizer.name),
        *((name, getattr(stored.training, name), getattr(training.config, name)) for name in SAME),
    ]
    if stored.data and data and not stored.data.matches(data):
        pairs.append(("data set", stored.data, data))
    _check_equal(checkpoint, pairs)


def _check_equal(checkpoint: Path, pairs: list[tuple[str, Any, Any]]) -> None:
    for what, were, are in pairs:
        if were != are:
            raise ValueError(f"{checkpoint} is of another {what}: {_difference(were, are)}")


def _difference(were: Any, are: Any) -> str:
    """Return a clause that names both values; of two components of one name only the arguments that differ."""
    if isinstance(were, ComponentConfig) and isinstance(are, ComponentConfig):
        if were.name == are.name:
            names = sorted(were.arguments.keys() | are.arguments.keys())
            differing = [name for name in names if were.arguments.get(name) != are.arguments.get(name)]
            were, are = (
                ", ".join(f"{name}={_short(component.arguments.get(name))}" for name in differing)
                for component in (were, are)
            )
        else:
            were, are = were.name, are.name
    return f"{were}, and this run asks for {are}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without(component: ComponentConfig, names: tuple[str, ...]) -> ComponentConfig:
    return ComponentConfig(component.name, {k: v for k, v in component.arguments.items() if k not in names})
