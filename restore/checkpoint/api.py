"""Checkpoints: a training on disk, and a working restorer back from it.

A checkpoint is a folder `step-00001234` inside a run's `model` folder:

    model.json           the configuration, see `restore.checkpoint.config`
    weights.safetensors  the weights of the network
    ema.safetensors      their exponential moving average, which `load` uses
    optimizer.pt         the tensors and numbers of the optimizer, read with weights_only=True
    checksums.json       size and SHA-256 of each file, see `restore.checkpoint.integrity`

It is written under a temporary name and renamed when it is complete and on disk: a process that is killed at any moment
leaves only complete checkpoints. Damage of another kind is recognized when a checkpoint is read; a warning names it,
and the checkpoint before it is taken. Reading runs no code from a file: degradations and networks are rebuilt by their
registered names.

Wherever the folder of a run is accepted, the name of a shipped model is, too (see `restore.models.catalog`).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save as to_safetensors
from torch import nn

from degrade import make
from degrade.serializable import Serializable
from restore.checkpoint.config import MODEL, CheckpointConfig, ComponentConfig, DatasetInfo, describe, dump, unwrapped
from restore.checkpoint.integrity import CorruptCheckpointError, File
from restore.checkpoint.store import (
    checkpoint_path,
    checkpoints,
    commit,
    remove,
    remove_stale_partials,
    step_of,
)
from restore.checkpoint.validation import (
    EMA,
    OPTIMIZER,
    SEVERITY,
    WEIGHTS,
    check_same_restorer,
    check_same_training,
    files_match,
    is_model,
    read_tensors,
    validate,
)
from restore.models.catalog import find_model, nearest_names
from restore.nets.registry import make_network
from restore.restorer import Restorer
from restore.training import Trainer

__all__ = ["latest", "load", "load_pretrained", "resume", "save"]

A = TypeVar("A")


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
        folder: folder of the checkpoints; it is made if missing.
        training: training of a restorer whose network is registered.
        keep: number of checkpoints that stay, at least 1.
        prior: distribution over x_T from which trajectories start; `read_checkpoint_config(latest(folder)).prior`
            returns it.
        data: the data set, which `resume` compares.

    Returns:
        The folder of the checkpoint, complete on disk.

    Raises:
        OSError: if it cannot be written (a full disk, a read-only folder); the other checkpoints are unchanged.
        ValueError: if `folder` holds a complete checkpoint of a later step: it would count as the newest.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least the checkpoint just written must stay: 1 or more")
    folder, state = Path(folder), training.state_dict()
    if training.rank:
        return checkpoint_path(folder, training.step)
    prior = ComponentConfig.of(prior) if isinstance(prior, Serializable) else prior
    config = describe(training.restorer, training.config, training.step, prior, data)
    _check_monotonic(folder, training.step)
    try:
        remove_stale_partials(folder)
        target = commit(folder, training.step, _files(config, state))
        for old in [c for c in checkpoints(folder) if step_of(c) <= training.step and files_match(c)][:-keep]:
            remove(old)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"step {training.step} cannot be saved in {folder}: {reason}; the one before is intact") from None
    return target


def latest(folder: str | Path) -> Path:
    """Return the newest undamaged checkpoint in `folder`; a warning names each newer one that is passed over.

    Args:
        folder: folder of a run, of its checkpoints, of one checkpoint or of a model; or the name of a shipped model.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if all are damaged, naming each and what is wrong with it.
    """
    return _load_newest_valid(folder, lambda checkpoint, config: checkpoint)


def load(folder: str | Path, device: torch.device | str = "cpu", **runtime: Any) -> Restorer:
    """Return a trained restorer: averaged weights, evaluation mode, float32.

    Args:
        folder: folder of a run, of its checkpoints, of one checkpoint or of a model; or the name of a shipped model,
            one of `restore.model_names()`. Of several checkpoints the newest undamaged one is taken. Where a folder
            and a model have the same name, the folder is taken if it holds a checkpoint.
        device: device of the restorer.
        **runtime: arguments of its degradation that no file can hold, such as `source`.

    Raises:
        FileNotFoundError: if there is no checkpoint, and no model of this name.
        ValueError: if all checkpoints are damaged, naming each and what is wrong with it.
    """

    def read(checkpoint: Path, config: CheckpointConfig) -> Restorer:
        degradation = make(config.degradation.name, **config.degradation.arguments, **runtime)
        net = make_network(config.network.name, **config.network.arguments)
        _fill(net, checkpoint)
        how = config.prediction_type, config.clip_sample
        restorer = Restorer(net, degradation, *how, inverse_input=config.inverse_input)
        if config.data is not None:
            restorer.value_range, restorer.own_resolution = config.data.value_range, config.data.own_resolution
        if (checkpoint / SEVERITY).is_file():
            restorer.severity_model = read_tensors(checkpoint / SEVERITY)
        return restorer.eval().requires_grad_(False).to(device)

    return _load_newest_valid(folder, read)


def load_pretrained(folder: str | Path, restorer: Restorer) -> None:
    """Fill the network of a restorer with the averaged weights of a trained one, so that a new training starts there.

    A `Trainer` that is made afterwards starts its average at these weights, too.

    Args:
        folder: folder of a run, of its checkpoints, of one checkpoint or of a model; or the name of a shipped model.
        restorer: a restorer of the same network, degradation, `prediction_type`, `clip_sample` and `inverse_input`.
            Arguments of the degradation that no file can hold, such as `source`, may differ.

    Raises:
        FileNotFoundError: if there is no checkpoint, and no model of this name.
        ValueError: if one of these is another; if all checkpoints are damaged, naming each.
    """

    def read(checkpoint: Path, config: CheckpointConfig) -> None:
        check_same_restorer(checkpoint, config, restorer)
        _fill(unwrapped(restorer), checkpoint)

    _load_newest_valid(folder, read)


def resume(folder: str | Path, training: Trainer, data: DatasetInfo | None = None) -> int:
    """Put `training` where the newest undamaged checkpoint in `folder` left off; return its step.

    Args:
        folder: folder of a run, of its checkpoints, or of one checkpoint.
        training: training of the same network, degradation, `prediction_type`, `clip_sample` and `inverse_input`, and
            with the same `batch_size`, `micro_batch_size`, `loss`, `timesteps`, `weighting`, `cond_dropout`,
            `quantize_input` and `seed`, and the same kind of optimizer. Its other values may differ, and count from
            here on: so the learning rate may be lowered, or a training be given more steps.
        data: the data set that it goes on with.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if one of these or the data set is another; if all checkpoints are damaged, naming each; if
            `folder` is a model, which has no state of an optimizer.
    """

    def read(checkpoint: Path, config: CheckpointConfig) -> int:
        if is_model(checkpoint):
            raise ValueError(
                f"{checkpoint} is a model without the state of an optimizer; start a new training from it with"
                " load_pretrained"
            )
        check_same_training(checkpoint, config, training, data)
        state = {
            "step": config.step,
            "weights": read_tensors(checkpoint / WEIGHTS),
            "ema": read_tensors(checkpoint / EMA),
        }
        try:
            path = checkpoint / OPTIMIZER
            state["optimizer"] = torch.load(path, map_location=training.device, weights_only=True)
            training.load_state_dict(state)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch raises errors of many types for a file that is not its own
            reason = str(error).splitlines() or [type(error).__name__]
            raise CorruptCheckpointError(f"{OPTIMIZER} is not of this training: {reason[0]}") from None
        return training.step

    return _load_newest_valid(folder, read)


def _fill(net: nn.Module, checkpoint: Path) -> None:
    """Put the averaged weights into the network's own tensors, where half precision becomes theirs."""
    net.load_state_dict(read_tensors(checkpoint / (WEIGHTS if is_model(checkpoint) else EMA)))


def _load_newest_valid(folder: str | Path, read: Callable[[Path, CheckpointConfig], A]) -> A:
    """Return what `read` makes of the newest checkpoint that is complete and undamaged."""
    faults: dict[Path, CorruptCheckpointError] = {}
    # Listed anew each time: a training may add and remove checkpoints meanwhile.
    while left := [checkpoint for checkpoint in _candidates(folder) if checkpoint not in faults]:
        checkpoint = left[-1]
        try:
            found = read(checkpoint, validate(checkpoint))
        except CorruptCheckpointError as fault:
            faults[checkpoint] = fault
            continue
        for other in filter(Path.exists, faults):
            warnings.warn(f"{other} is passed over for {checkpoint.name}: {faults[other]}", stacklevel=3)
        return found
    if not faults:
        raise FileNotFoundError(_not_found(folder))
    each = "; ".join(f"{checkpoint.name}: {why}" for checkpoint, why in faults.items())
    raise ValueError(f"{folder} holds no whole checkpoint: {each}")


def _candidates(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first, or else the shipped model of this name."""
    found, model = checkpoints(Path(folder)), find_model(str(folder))
    return found or ([model] if model else [])


def _not_found(folder: str | Path) -> str:
    if Path(folder).exists():
        return f"{folder} holds no checkpoint (a folder named step-...)"
    return f"{folder} holds no checkpoint and is not the name of a model; {nearest_names(str(folder))}"


def _check_monotonic(folder: Path, step: int) -> None:
    for later in (c for c in checkpoints(folder) if step_of(c) > step):
        try:
            validate(later)
        except CorruptCheckpointError:
            continue
        raise ValueError(f"{later} is newer than step {step}, which is to be saved; resume from it or save elsewhere")


def _files(config: CheckpointConfig, state: dict[str, Any]) -> Iterator[File]:
    yield MODEL, dump(config)
    for name, key in ((WEIGHTS, "weights"), (EMA, "ema")):
        # safetensors takes no channels_last tensors.
        yield name, to_safetensors({name: tensor.contiguous() for name, tensor in state[key].items()})
    buffer = io.BytesIO()
    torch.save(state["optimizer"], buffer)
    yield OPTIMIZER, buffer.getbuffer()
