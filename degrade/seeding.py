"""Randomness by key: a generator that is a function of what it is for.

State that is consumed must be saved to be resumed; state that is keyed need not. The generator of training step 17
under seed 3 is `seeded_generator(device, 3, "train", 17)`, today, after a crash, and on another machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch

__all__ = ["fold_seed", "fork_seed", "seeded_generator"]


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
