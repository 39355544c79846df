"""Random-access shuffling: which image is at position p of a run, for any p, without iterating over those before.

    index(p) = permutation_e(p mod N),   e = p div N,   permutation_e keyed by (seed, "epoch", e)

Positions p = 0, 1, 2, ... count the images of a whole run. Every epoch visits each of the N images once, in an order of
its own, and a batch may contain the end of one epoch and the beginning of the next. So a run that stopped in the middle
of an epoch, or that is shared by several processes, continues from a number and not from the state of an iterator.

`batch_fetcher` reads both kinds of training data: a source draws images at random, with replacement; a `MapDataset` is
visited in this order. Both return images, or a pair of images and their conditions (`restore.conditions`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from degrade.random import seeded_generator
from restore.conditions import Cond

__all__ = ["BatchFetcher", "Data", "EpochSampler", "Examples", "MapDataset", "TrainingSource", "batch_fetcher"]

PREFETCH = 3  # batches that are announced to data that reads ahead
Examples = Tensor | tuple[Tensor, Cond]  # images (n, C, H, W) in [-1, 1], with or without conditions of n entries each
TrainingSource = Callable[[int, Generator | None], Examples]  # (n, generator) -> n examples


@runtime_checkable
class MapDataset(Protocol):
    """A finite set of images that are read by number, a batch at a time.

    It may have an attribute `device`: the device of the images it returns. Otherwise they may be on the device where
    training takes place, or on the CPU; from pinned memory they are copied while the device computes.

    It may have a method `prefetch(index)`, which is called with the numbers of the batches to come before they are
    asked for, so that they can be read meanwhile.

    >>> class Gray:
    ...     "Eleven gray images, brightened at random, with their number as a class label."
    ...     def __len__(self):
    ...         return 11
    ...     def at(self, index, generator=None):
    ...         shade = index / 11 + 0.05 * torch.rand(len(index), generator=generator)
    ...         return shade.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), {"label": index}
    >>> isinstance(Gray(), MapDataset)
    True
    """

    def __len__(self) -> int:
        """Return the number N of images."""

    def at(self, index: Tensor, generator: Generator | None = None) -> Any:
        """Return n images (n, C, H, W) in [-1, 1], or a pair of them and a dict of conditions (n, ...).

        Args:
            index: (n,) int64 in 0..N-1, on the CPU.
            generator: source of randomness for augmentation, on the device where training takes place.
        """


Data = TrainingSource | MapDataset
BatchFetcher = Callable[[int, int, Generator | None], Examples]  # (position, n, generator) -> n examples


class EpochSampler:
    """The order in which a run visits N images.

    Args:
        n: number N of images, at least 1.
        seed: seed of the run.

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
        # A batch with images of two epochs needs both permutations, and the next batch the later one again.
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


def batch_fetcher(data: Data, seed: int) -> BatchFetcher:
    """Return a function (position, n, generator) that returns the n examples from a position of the run on.

    Args:
        data: a source or a `MapDataset`; an object that is both is visited in order.
        seed: seed of the run, which determines the order.

    Raises:
        ValueError: for a `MapDataset` without an image.

    >>> sample_source = batch_fetcher(lambda n, generator: torch.zeros(n, 1, 2, 2), seed=0)
    >>> sample_source(1000, 2, None).shape
    torch.Size([2, 1, 2, 2])
    """
    if isinstance(data, MapDataset):
        return _in_order(data, EpochSampler(len(data), seed))
    return lambda position, n, generator: data(n, generator)


def _in_order(data: MapDataset, order: EpochSampler) -> BatchFetcher:
    """Return the fetcher of a finite set; it announces the next batches to data that reads ahead.

    The positions that a process asks for are equally spaced: by n, or by n times the number of processes.
    """
    announce = getattr(data, "prefetch", None)
    last: int | None = None

    def fetch(position: int, n: int, generator: Generator | None) -> Examples:
        nonlocal last
        if announce is not None:
            stride = n if last is None or last >= position else position - last
            for ahead in range(PREFETCH + 1):
                announce(order.at(position + ahead * stride, n))
            last = position
        examples: Examples = data.at(order.at(position, n), generator)
        return examples

    return fetch
