"""Random numbers from the generators passed in, placed where the images are.

Every drawing function takes one generator for a whole batch, or one for each image of it (`Generators`). With one each,
what an image draws does not depend on the batch it is in: image 17 is the same alone, among 4 or among 512.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype

__all__ = ["Generators", "Source", "rand", "randint", "randn", "randn_like", "sample_source"]

Generators = torch.Generator | Sequence[torch.Generator] | None  # None draws from torch's global generator
Source = Callable[[int, torch.Generator | None], Tensor]  # (n, generator) -> (n, C, H, W) images in [-1, 1]


def randn_like(x: Tensor, generator: Generators = None) -> Tensor:
    """Return standard normal numbers shaped like `x`, on its device and in its dtype.

    They are drawn on the generator's device and in float32 or wider, so a CPU generator gives the same numbers on
    every device, and a half-precision image the rounded numbers of a full-precision one.

    >>> each = [torch.Generator().manual_seed(i) for i in range(3)]
    >>> alone = torch.Generator().manual_seed(2)
    >>> x = torch.zeros(3, 1, 4, 4)
    >>> torch.equal(randn_like(x, each)[2:], randn_like(x[2:], alone))
    True
    """
    return randn(tuple(x.shape), x, generator).to(x)


def randn(shape: tuple[int, ...], like: Tensor, generator: Generators = None) -> Tensor:
    """Return standard normal numbers on the device of `like` and in its compute precision; see `randn_like`."""
    return _drawn(torch.randn, shape, like, generator, dtype=compute_dtype(like.dtype))


def rand(shape: tuple[int, ...], like: Tensor, generator: Generators = None) -> Tensor:
    """Return numbers uniform in [0, 1) on the device of `like` and in its compute precision; see `randn_like`."""
    return _drawn(torch.rand, shape, like, generator, dtype=compute_dtype(like.dtype))


def randint(n: int, shape: tuple[int, ...], like: Tensor, generator: Generators = None) -> Tensor:
    """Return int64 numbers uniform in 0..n-1 on the device of `like`; see `randn_like`."""
    return _drawn(lambda size, **how: torch.randint(n, size, **how), shape, like, generator, dtype=torch.int64)


def sample_source(source: Source, n: int, generator: Generators = None) -> Tensor:
    """Return n images of a source, which is asked for one at a time where each has a generator of its own.

    Raises:
        ValueError: for another number of generators, or if the images are not floating point.
    """
    if generator is None or isinstance(generator, torch.Generator):
        x = source(n, generator)
    elif len(generator) != n:
        raise ValueError(_count(len(generator), n))
    else:
        x = torch.cat([source(1, own) for own in generator]) if n else source(0, None)
    if not x.is_floating_point():
        raise ValueError(f"a source gave {x.dtype} images; it needs floating point in [-1, 1]: x.float() / 127.5 - 1")
    return x


def _count(generators: int, n: int) -> str:
    return f"{generators} generators for a batch of {n} images; pass one for all, or one each"


def _drawn(
    draw: Callable[..., Tensor], shape: tuple[int, ...], like: Tensor, generator: Generators, **how: Any
) -> Tensor:
    if generator is None:
        return draw(shape, device=like.device, **how)
    if isinstance(generator, torch.Generator):
        return draw(shape, generator=generator, device=generator.device, **how).to(like.device)
    if len(generator) != shape[0]:
        raise ValueError(_count(len(generator), shape[0]))
    # As a batch of one, so that a generator gives an image what it gives a batch of that image alone.
    each = [draw((1, *shape[1:]), generator=own, device=own.device, **how) for own in generator]
    return torch.cat(each).to(like.device) if each else draw(shape, device=like.device, **how)
