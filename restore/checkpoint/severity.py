"""What `samplers.calibrate_severity` measured of a model, in a file beside its weights.

severity.safetensors    tensors by name; the checksum is with those of the weights
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from restore.checkpoint.api import latest
from restore.checkpoint.integrity import add
from restore.checkpoint.validation import SEVERITY

__all__ = ["keep_severity_model"]


def keep_severity_model(folder: str | Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write what `samplers.calibrate_severity` measured beside the weights of a model; `load` then finds it.

    Args:
        folder: folder of a model, a run or a checkpoint, or the name of a shipped model.
        tensors: tensors by name.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if it is damaged.
        OSError: if the file cannot be written.
    """
    checkpoint = latest(folder)
    add(checkpoint, SEVERITY, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))
    return checkpoint / SEVERITY
