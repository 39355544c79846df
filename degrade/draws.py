"""Random numbers from the generator passed in, placed where the images are."""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.tables import compute_dtype

__all__ = ["rand", "randint", "randn", "randn_like"]


def randn_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard normal numbers shaped like `x`, on its device and in its dtype.

    They are drawn on the generator's device and in float32 or wider, so a CPU generator gives the same numbers on
    every device, and a half-precision image the rounded numbers of a full-precision one.
    """
    return randn(tuple(x.shape), x, generator).to(x)


def randn(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard normal numbers on the device of `like` and in its compute precision; see `randn_like`."""
    numbers = torch.randn(shape, generator=generator, device=_source(like, generator), dtype=compute_dtype(like.dtype))
    return numbers.to(like.device)


def rand(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return numbers uniform in [0, 1) on the device of `like` and in its compute precision; see `randn_like`."""
    numbers = torch.rand(shape, generator=generator, device=_source(like, generator), dtype=compute_dtype(like.dtype))
    return numbers.to(like.device)


def randint(n: int, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return int64 numbers uniform in 0..n-1 on the device of `like`; see `randn_like`."""
    return torch.randint(n, shape, generator=generator, device=_source(like, generator)).to(like.device)


def _source(like: Tensor, generator: torch.Generator | None) -> torch.device:
    return like.device if generator is None else generator.device
