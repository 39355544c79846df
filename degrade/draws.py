"""Random numbers from the generator passed in, placed where the images are."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["randn_like"]


def randn_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard normal numbers shaped like `x`, on its device and in its dtype.

    They are drawn on the generator's device and in float32 or wider, so a CPU generator gives the same numbers on
    every device, and a half-precision image the rounded numbers of a full-precision one.
    """
    device = x.device if generator is None else generator.device
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.randn(x.shape, generator=generator, device=device, dtype=dtype).to(x)
