"""Checkpoints: a training on disk, and a working restorer back from it.

A checkpoint is a folder `step-00001234` inside a run's `model` folder:

    model.json           what it is: network, degradation, prediction, training, versions, format number
    weights.safetensors  the network
    ema.safetensors      its average, which `load` uses
    optimizer.pt         the optimizer's tensors and numbers, read with weights_only=True

It is written under another name and renamed when complete, so a folder of this name is a whole checkpoint. Reading one
runs no code from it: degradations are rebuilt by their registered name.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor

from degrade import Degradation, make
from degrade.base import CONFIG
from restore.restorer import Predict, Restorer
from restore.training import TrainConfig, Training
from restore.unet import UNet, UNetConfig

__all__ = ["Specification", "latest", "load", "resume", "save"]

NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, config=CONFIG)
class DegradationSpec:
    """A degradation by name and arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, config=CONFIG)
class Specification:
    """Everything but the tensors: what `model.json` holds."""

    step: int
    network: UNetConfig
    degradation: DegradationSpec
    predict: Predict
    clamp: bool
    training: TrainConfig
    versions: dict[str, str] = Field(default_factory=dict)
    format: Literal[1] = 1  # raised when a reader of today could not read a file of tomorrow


_SPECIFICATION = TypeAdapter(Specification)


def save(folder: str | Path, training: Training, keep: int = 2) -> Path:
    """Write a checkpoint of `training` into `folder` and keep only the newest `keep`.

    Args:
        folder: made if missing.
        training: of a restorer whose network is a `UNet`.
        keep: how many checkpoints stay.

    Returns:
        The checkpoint's folder, complete on disk.
    """
    folder = Path(folder)
    state, restorer = training.state_dict(), training.restorer
    target = folder / f"step-{training.step:08d}"
    partial = folder / f".partial-{target.name}-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_file(_plain(state["weights"]), partial / "weights.safetensors")
        save_file(_plain(state["ema"]), partial / "ema.safetensors")
        torch.save(state["optimizer"], partial / "optimizer.pt")
        specification = Specification(
            step=training.step,
            network=_config(restorer),
            degradation=DegradationSpec(restorer.degradation.name, restorer.degradation.arguments),
            predict=restorer.predict,
            clamp=restorer.clamp,
            training=training.config,
            versions={"python": platform.python_version(), "torch": torch.__version__},
        )
        (partial / "model.json").write_bytes(_SPECIFICATION.dump_json(specification, indent=2))
        for file in partial.iterdir():
            _to_disk(file)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _to_disk(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def latest(folder: str | Path) -> Path:
    """Return the newest checkpoint in `folder`.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = _checkpoints(Path(folder))
    if not found:
        raise FileNotFoundError(f"{folder} holds no checkpoint (a folder named step-...)")
    return found[-1]


def load(folder: str | Path, device: torch.device | str = "cpu", **injected: Any) -> Restorer:
    """Return the restorer of the newest checkpoint in `folder`: averaged weights, evaluation mode.

    Args:
        folder: of the checkpoints, or one checkpoint.
        device: where it shall live.
        **injected: live arguments of its degradation that no file can hold, such as `source`.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if its specification is not one.
    """
    folder = Path(folder)
    checkpoint = folder if NAME.fullmatch(folder.name) else latest(folder)
    specification = read_specification(checkpoint)
    degradation: Degradation = make(specification.degradation.name, **specification.degradation.arguments, **injected)
    net = UNet(specification.network)
    net.load_state_dict(load_file(checkpoint / "ema.safetensors"))
    restorer = Restorer(net, degradation, specification.predict, specification.clamp)
    return restorer.eval().requires_grad_(False).to(device)


def resume(folder: str | Path, training: Training) -> int:
    """Put `training` where the newest checkpoint in `folder` left off; return its step.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is of another network or degradation.
    """
    checkpoint = latest(folder)
    specification, restorer = read_specification(checkpoint), training.restorer
    mine = DegradationSpec(restorer.degradation.name, restorer.degradation.arguments)
    for what, theirs, ours in (
        ("network", specification.network, _config(restorer)),
        ("degradation", specification.degradation, mine),
    ):
        if theirs != ours:
            raise ValueError(f"{checkpoint} is of another {what}: {theirs}, and this run asks for {ours}")
    training.load_state_dict(
        {
            "step": specification.step,
            "weights": load_file(checkpoint / "weights.safetensors"),
            "ema": load_file(checkpoint / "ema.safetensors"),
            "optimizer": torch.load(checkpoint / "optimizer.pt", map_location=training.device, weights_only=True),
        }
    )
    return training.step


def read_specification(checkpoint: Path) -> Specification:
    """Return what `model.json` says.

    Raises:
        ValueError: if it says something else than a specification of this format.
    """
    try:
        return _SPECIFICATION.validate_json((checkpoint / "model.json").read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise ValueError(f"{checkpoint / 'model.json'}: {where}: {fault['msg']}") from None


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), key=lambda p: int(p.name[5:]))


def _config(restorer: Restorer) -> UNetConfig:
    net = getattr(restorer.net, "_orig_mod", restorer.net)
    if not isinstance(net, UNet):
        raise TypeError(f"only a restore.UNet can be saved, not {type(net).__name__}: nothing else can be rebuilt")
    return net.config


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors takes no channels_last tensors.
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
