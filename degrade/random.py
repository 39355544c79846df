"""Random numbers from the generators passed in, placed where the images are.

Every drawing function takes one generator for a whole batch, or one for each image of it (`Generators`). With one each,
what an image draws does not depend on the batch it is in: image 17 is the same alone, among 4 or among 512.

A generator can be a function of a key: that of training step 17 under seed 3 is `seeded_generator(device, 3, "train",
17)`, today, after a crash, and on another machine. Then there is no state to save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype

__all__ = [
    "Generators",
    "Source",
    "fold_seed",
    "fork_seed",
    "rand",
    "randint",
    "randn",
    "randn_like",
    "sample_source",
    "seeded_generator",
]

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


def fold_seed(*key: int | str) -> int:
    """Return a seed in 0..2^63 - 1 that depends on every part of the key; equal keys give equal seeds.

    Raises:
        TypeError: if a part is neither text nor a whole number; True and 3.0 are none.

    >>> fold_seed(0, "train", 1) == fold_seed(0, "train", 1), fold_seed(0, "train", 1) == fold_seed(0, "train", 2)
    (True, False)
    """
    return int.from_bytes(hashlib.blake2b(repr(tuple(map(_plain, key))).encode(), digest_size=8).digest()) >> 1


def seeded_generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """Return a new generator on `device`, seeded by the key.

    >>> one, other = (torch.rand(1, generator=seeded_generator("cpu", 3, "a")) for _ in range(2))
    >>> bool(one == other)
    True
    """
    return torch.Generator(device).manual_seed(fold_seed(*key))


def _plain(part: int | str) -> int | str:
    """Return a part of a key in Python's own type, whose text depends on nothing but the value."""
    if isinstance(part, str):
        return str(part)
    if isinstance(part, bool) or not isinstance(part, Integral):
        raise TypeError(f"{part!r} cannot be part of a key; give a whole number or text")
    return int(part)


@contextmanager
def fork_seed(device: torch.device | str, *key: int | str) -> Iterator[None]:
    """Seed torch's global generators by the key, and put them back afterwards.

    For what takes no generator: the dropout and the first weights of a network.

    >>> with fork_seed("cpu", 3, "weights"):
    ...     weights = torch.rand(2)
    >>> with fork_seed("cpu", 3, "weights"):
    ...     bool((weights == torch.rand(2)).all())
    True
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(fold_seed(*key))
        yield
