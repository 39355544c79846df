"""Precision on every device: no autocast where it would lose digits, and float64 on the CPU where a device has none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.amp import is_autocast_available

__all__ = ["no_autocast", "to_float64"]


def to_float64(x: Tensor) -> Tensor:
    """Return `x` (any shape and dtype) in float64: on its own device, or on the CPU if that device is MPS.

    >>> import torch
    >>> to_float64(torch.tensor([True, False]))
    tensor([1., 0.], dtype=torch.float64)
    """
    return x.cpu().double() if x.device.type == "mps" else x.double()


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context without autocast on `device`, which may know none, as the device `meta`."""
    return torch.autocast(device.type, enabled=False) if is_autocast_available(device.type) else nullcontext()
