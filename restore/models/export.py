"""Write the model of a trained restorer: configuration, weights and card, small enough to be shipped."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from restore.checkpoint.api import latest, load
from restore.checkpoint.config import (
    MODEL,
    CheckpointConfig,
    DatasetInfo,
    describe,
    dump,
    read_checkpoint_config,
    unwrapped,
)
from restore.checkpoint.integrity import write
from restore.checkpoint.validation import CARD, WEIGHTS
from restore.restorer import Restorer
from restore.train_config import TrainConfig

__all__ = ["export_model"]

DTYPES = (torch.float16, torch.float32)


def export_model(
    source: Restorer | str | Path,
    folder: str | Path,
    card: str,
    dtype: torch.dtype = torch.float16,
    training: TrainConfig | None = None,
    data: DatasetInfo | None = None,
) -> Path:
    """Write a trained restorer as a model, the folder that `restore.load` reads by its path or by its name.

    Args:
        source: folder of a run or of a checkpoint, whose averaged weights are written; or a restorer with a registered
            network, whose weights are written.
        folder: folder of the model, a new or an empty one; its name is that of the model.
        card: the model card in Markdown, whose first line is a heading that says what the model restores.
        dtype: precision of the weights in the file, float16 or float32. `load` returns float32 in both cases.
        training: the configuration of the training, with the number of steps that were taken. A run brings its own.
        data: the data set of the training. A run brings its own.

    Returns:
        The folder.

    Raises:
        ValueError: for another `dtype`, a card without a heading, a missing `training`, weights beyond the range of
            float16, or a folder that is not empty.
        TypeError: if the network is not registered.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype}; weights are written in torch.float16 or torch.float32")
    if not card.startswith("# "):
        raise ValueError(f"the card starts with {card[:20]!r}; its first line must be a heading, '# What is restored'")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder for the model")
    config, R = _read(source, training, data)
    weights = {name: _converted(name, tensor, dtype) for name, tensor in unwrapped(R).state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, [(MODEL, dump(config)), (WEIGHTS, to_safetensors(weights))])
    (folder / CARD).write_text(card.rstrip("\n") + "\n", encoding="utf-8")
    return folder


def _read(
    source: Restorer | str | Path, training: TrainConfig | None, data: DatasetInfo | None
) -> tuple[CheckpointConfig, Restorer]:
    if isinstance(source, Restorer):
        if training is None:
            raise ValueError("training is missing; a restorer does not know how it was trained: pass a TrainConfig")
        return describe(source, training, training.steps, data=data), source
    if training is not None or data is not None:
        raise ValueError(f"training and data are given, and {source} brings its own; leave them out")
    checkpoint = latest(source)
    config = read_checkpoint_config(checkpoint)
    return config, load(checkpoint)


def _converted(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor of the state as it is written: floating point numbers in `dtype`, others unchanged."""
    if not tensor.is_floating_point():
        return tensor.cpu().contiguous()
    converted = tensor.to("cpu", dtype).contiguous()
    if not converted.isfinite().all():
        raise ValueError(f"{name} holds values that {dtype} does not, up to {tensor.abs().max():.3g}; use float32")
    return converted
