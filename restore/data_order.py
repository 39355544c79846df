"""The order of the data: which image is the p-th of a run, for any p, without having seen those before it.

    index(p) = permutation_e(p mod N),   e = p div N,   permutation_e keyed by (seed, "epoch", e)

Positions p = 0, 1, 2, ... count the images of a whole run. Every epoch visits each of the N images once, in an order of
its own, and a batch may straddle two epochs. A run that stops in the middle of an epoch, or that is shared by several
processes, therefore continues at a number and not at the state of an iterator.

Training takes either kind of data, and `batch_fetcher` makes one of both: a `Source` draws images at random, with
replacement; an `MapDataset` set is visited in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from degrade import Source
from degrade.seeding import seeded_generator

__all__ = ["Batches", "Data", "EpochSampler", "MapDataset", "batch_fetcher"]


@runtime_checkable
class MapDataset(Protocol):
    """A finite set of images, found by number."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def at(self, index: Tensor, generator: Generator | None = None) -> Tensor:
        """Return images (n, C, H, W) in [-1, 1].

        Args:
            index: (n,) int64 in 0..N-1, on the CPU.
            generator: of the augmentation, and on the device where training takes place.

        The images may be on that device or on the CPU; in pinned memory they are copied while the device computes.
        """


Data = Source | MapDataset
Batches = Callable[[int, int, Generator | None], Tensor]  # (position, n, generator) -> (n, C, H, W) in [-1, 1]


class EpochSampler:
    """The order in which a run visits N images.

    Args:
        n: number N of images, at least 1.
        seed: of the run.

    Raises:
        ValueError: if there is no image.

    >>> order = EpochSampler(5, seed=0)
    >>> sorted(order.at(0, 5).tolist()), sorted(order.at(5, 5).tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    >>> torch.equal(order.at(3, 4), torch.cat([order.at(3, 1), order.at(4, 3)]))
    True
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"the data set holds {n} images; training needs at least one")
        self.n = n
        self.seed = seed
        # A batch that straddles two epochs reads both, and the next batch the later one again.
        self._permutation = lru_cache(maxsize=2)(self._permuted)

    def at(self, position: int, n: int) -> Tensor:
        """Return the indices (n,) int64, on the CPU, of the images at `position`, `position + 1`, ..."""
        parts = [torch.empty(0, dtype=torch.int64)]
        end = position + n
        while position < end:
            epoch, first = divmod(position, self.n)
            parts.append(self._permutation(epoch)[first : first + end - position])
            position += len(parts[-1])
        return torch.cat(parts)

    def _permuted(self, epoch: int) -> Tensor:
        return torch.randperm(self.n, generator=seeded_generator("cpu", self.seed, "epoch", epoch))


def batch_fetcher(data: Data, seed: int) -> Batches:
    """Return a function that gives n images from a position of the run on, whichever kind `data` is of.

    What is both, `MapDataset` and a source, is visited in order.

    >>> sample_source = batch_fetcher(lambda n, generator: torch.zeros(n, 1, 2, 2), seed=0)
    >>> sample_source(1000, 2, None).shape
    torch.Size([2, 1, 2, 2])
    """
    if isinstance(data, MapDataset):
        order = EpochSampler(len(data), seed)
        return lambda position, n, generator: data.at(order.at(position, n), generator)
    return lambda position, n, generator: data(n, generator)
