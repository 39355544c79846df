"""Checkpoints: a training on disk, and a working restorer back from it.

A checkpoint is a folder `step-00001234` inside a run's `model` folder:

    model.json           what it is, see `restore.checkpoint.config`
    weights.safetensors  the network
    ema.safetensors      its average, which `load` uses
    optimizer.pt         the optimizer's tensors and numbers, read with weights_only=True
    checksums.json       size and SHA-256 of each, see `restore.checkpoint.integrity`

It is written under another name and renamed when it is complete and on disk: a process killed at any moment leaves
whole checkpoints. What was damaged otherwise is recognized when it is read, named in a warning, and passed over in
favor of the one before. Reading runs no code from a file: degradations are rebuilt by their registered name.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from degrade import get, make
from degrade.serializable import Serializable
from restore.checkpoint.config import (
    MODEL,
    CheckpointConfig,
    ComponentConfig,
    DatasetInfo,
    describe,
    dump,
    network_of,
    read_checkpoint_config,
)
from restore.checkpoint.integrity import CHECKSUMS, CorruptCheckpointError, File, verify
from restore.checkpoint.store import checkpoints, path_of, put, remove, remove_leftovers, step_of
from restore.nets.registry import make_network
from restore.restorer import Restorer
from restore.training import Trainer

__all__ = ["latest", "load", "resume", "save"]

A = TypeVar("A")
WEIGHTS, EMA, OPTIMIZER = "weights.safetensors", "ema.safetensors", "optimizer.pt"
FILES = (MODEL, WEIGHTS, EMA, OPTIMIZER)
EQUIVALENT = ("gradient_checkpointing",)  # arguments of networks that change no result
# With another of these the steps to come would be of another training: other images, random numbers or losses.
SAME = ("batch_size", "micro_batch_size", "loss", "timesteps", "weighting", "cond_dropout", "quantize_input", "seed")


def save(
    folder: str | Path,
    training: Trainer,
    keep: int = 2,
    prior: Serializable | ComponentConfig | None = None,
    data: DatasetInfo | None = None,
) -> Path:
    """Write a checkpoint of `training` into `folder` and keep the newest `keep`.

    In a training of several processes all of them call this, and the first one writes.

    Args:
        folder: made if missing.
        training: of a restorer whose network is registered.
        keep: how many checkpoints stay, at least 1.
        prior: where trajectories start, to be found in `read_checkpoint_config(latest(folder)).prior`.
        data: what it is trained on, which `resume` compares.

    Returns:
        The checkpoint's folder, complete on disk.

    Raises:
        OSError: if it cannot be written (a full disk, a read-only folder), with the other checkpoints as they were.
        ValueError: if `folder` holds a whole checkpoint of a later step: it would count as the newest.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least the checkpoint just written must stay: 1 or more")
    folder, state = Path(folder), training.state_dict()
    if training.rank:
        return path_of(folder, training.step)
    specification = describe(training, ComponentConfig.of(prior) if isinstance(prior, Serializable) else prior, data)
    _refuse_to_go_back(folder, training.step)
    try:
        remove_leftovers(folder)
        target = put(folder, training.step, _files(specification, state))
        for old in [c for c in checkpoints(folder) if step_of(c) <= training.step and _seems_whole(c)][:-keep]:
            remove(old)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"step {training.step} cannot be saved in {folder}: {reason}; the one before is intact") from None
    return target


def latest(folder: str | Path) -> Path:
    """Return the newest whole checkpoint in `folder`; a warning names each newer one that is passed over.

    Args:
        folder: of the checkpoints, or of the run, or one checkpoint.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if none is whole, naming each and what is wrong with it.
    """
    return _newest(folder, lambda checkpoint, specification: checkpoint)


def load(folder: str | Path, device: torch.device | str = "cpu", **runtime: Any) -> Restorer:
    """Return the restorer of the newest whole checkpoint in `folder`: averaged weights, evaluation mode.

    Args:
        folder: of the checkpoints, or of the run, or one checkpoint.
        device: where it shall live.
        **runtime: live arguments of its degradation that no file can hold, such as `source`.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if none is whole, naming each and what is wrong with it.
    """

    def read(checkpoint: Path, specification: CheckpointConfig) -> Restorer:
        degradation = make(specification.degradation.name, **specification.degradation.arguments, **runtime)
        net = make_network(specification.network.name, **specification.network.arguments)
        net.load_state_dict(_tensors(checkpoint / EMA))
        restorer = Restorer(net, degradation, specification.prediction_type, specification.clip_sample)
        return restorer.eval().requires_grad_(False).to(device)

    return _newest(folder, read)


def resume(folder: str | Path, training: Trainer, data: DatasetInfo | None = None) -> int:
    """Put `training` where the newest whole checkpoint in `folder` left off; return its step.

    Args:
        folder: of the checkpoints, or of the run, or one checkpoint.
        training: of the same network, degradation, `prediction_type` and `clip_sample`, and with the same
            `batch_size`, `micro_batch_size`, `loss`, `timesteps`, `weighting`, `cond_dropout`, `quantize_input` and
            `seed`, and the same kind of optimizer. Its other values may differ, and count from here on: so the learning
            rate may be lowered, or a training be given more steps.
        data: what it will go on with.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if one of these or the data set is another; if no checkpoint is whole, naming each.
    """

    def read(checkpoint: Path, specification: CheckpointConfig) -> int:
        _expect(checkpoint, specification, training, data)
        state = {
            "step": specification.step,
            "weights": _tensors(checkpoint / WEIGHTS),
            "ema": _tensors(checkpoint / EMA),
        }
        try:
            path = checkpoint / OPTIMIZER
            state["optimizer"] = torch.load(path, map_location=training.device, weights_only=True)
            training.load_state_dict(state)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the readers of torch raise for what is not theirs
            reason = str(error).splitlines() or [type(error).__name__]
            raise CorruptCheckpointError(f"{OPTIMIZER} is not of this training: {reason[0]}") from None
        return training.step

    return _newest(folder, read)


def _newest(folder: str | Path, read: Callable[[Path, CheckpointConfig], A]) -> A:
    """Return what `read` makes of the newest checkpoint that is whole."""
    faults: dict[Path, CorruptCheckpointError] = {}
    # Listed anew each time: a training may add and remove checkpoints meanwhile.
    while left := [checkpoint for checkpoint in checkpoints(Path(folder)) if checkpoint not in faults]:
        checkpoint = left[-1]
        try:
            found = read(checkpoint, _examine(checkpoint))
        except CorruptCheckpointError as fault:
            faults[checkpoint] = fault
            continue
        for other in filter(Path.exists, faults):
            warnings.warn(f"{other} is passed over for {checkpoint.name}: {faults[other]}", stacklevel=3)
        return found
    if not faults:
        raise FileNotFoundError(f"{folder} holds no checkpoint (a folder named step-...)")
    each = "; ".join(f"{checkpoint.name}: {why}" for checkpoint, why in faults.items())
    raise ValueError(f"{folder} holds no whole checkpoint: {each}")


def _refuse_to_go_back(folder: Path, step: int) -> None:
    for later in (c for c in checkpoints(folder) if step_of(c) > step):
        try:
            _examine(later)
        except CorruptCheckpointError:
            continue
        raise ValueError(f"{later} is newer than step {step}, which is to be saved; resume from it or save elsewhere")


def _seems_whole(checkpoint: Path) -> bool:
    try:
        verify(checkpoint, FILES, contents=False)
    except CorruptCheckpointError:
        return False
    return True


def _examine(checkpoint: Path) -> CheckpointConfig:
    """Return the specification of a checkpoint that is whole and can be rebuilt here.

    Raises:
        CorruptCheckpointError: saying what is wrong.
    """
    if not (checkpoint / CHECKSUMS).exists():
        read_checkpoint_config(checkpoint)  # another program or another format explains the lack
    verify(checkpoint, FILES)
    specification = read_checkpoint_config(checkpoint)
    try:
        get(specification.degradation.name)
    except ValueError as error:
        raise CorruptCheckpointError(f"{error}; import or install the plugin that registers it") from None
    _expect_shapes(checkpoint, specification.network)
    return specification


def _expect_shapes(checkpoint: Path, network: ComponentConfig) -> None:
    try:
        with torch.device("meta"):  # shapes without memory
            net = make_network(network.name, **network.arguments)
    except ValueError as error:
        raise CorruptCheckpointError(f"{error}; a plugin's network needs its module imported or installed") from None
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    for file in (WEIGHTS, EMA):
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


def _expect(checkpoint: Path, theirs: CheckpointConfig, training: Trainer, data: DatasetInfo | None) -> None:
    """Raise ValueError if a checkpoint is not of this network, degradation, data, or not of the same steps."""
    restorer, ours = training.restorer, network_of(training.restorer)
    pairs: list[tuple[str, Any, Any]] = [
        # How the backward pass goes about its work may change on the way.
        ("network", _without(theirs.network, EQUIVALENT), _without(ours, EQUIVALENT)),
        ("degradation", theirs.degradation, ComponentConfig.of(restorer.degradation)),
        ("prediction_type", theirs.prediction_type, restorer.prediction_type),
        ("clip_sample", theirs.clip_sample, restorer.clip_sample),
        ("optimizer", theirs.training.optimizer.name, training.config.optimizer.name),
        *((name, getattr(theirs.training, name), getattr(training.config, name)) for name in SAME),
    ]
    if theirs.data and data and not theirs.data.matches(data):
        pairs.append(("data set", theirs.data, data))
    for what, were, are in pairs:
        if were != are:
            raise ValueError(f"{checkpoint} is of another {what}: {were}, and this run asks for {are}")


def _without(component: ComponentConfig, names: tuple[str, ...]) -> ComponentConfig:
    return ComponentConfig(component.name, {k: v for k, v in component.arguments.items() if k not in names})


def _files(specification: CheckpointConfig, state: dict[str, Any]) -> Iterator[File]:
    yield MODEL, dump(specification)
    for name, key in ((WEIGHTS, "weights"), (EMA, "ema")):
        # safetensors takes no channels_last tensors.
        yield name, to_safetensors({name: tensor.contiguous() for name, tensor in state[key].items()})
    buffer = io.BytesIO()
    torch.save(state["optimizer"], buffer)
    yield OPTIMIZER, buffer.getbuffer()


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptCheckpointError(f"{path.name}: {error}") from None
