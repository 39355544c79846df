"""Float64 on every device: what is measured in float64 is measured on the CPU where the device has no float64 (MPS)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["to_float64"]


def to_float64(x: Tensor) -> Tensor:
    """Return `x` (any shape and dtype) in float64: on its own device, or on the CPU if that device is MPS.

    >>> import torch
    >>> to_float64(torch.tensor([True, False]))
    tensor([1., 0.], dtype=torch.float64)
    """
    return x.cpu().double() if x.device.type == "mps" else x.double()
