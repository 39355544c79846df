"""Confidence intervals of measurements, and of differences between two measurements of the same images.

* *bootstrap* (Efron, 1979), for a mean over images: the images are drawn anew with replacement, and the interval lies
  between the quantiles of the means of the draws
* *grouped jackknife* (Quenouille, 1956; Tukey, 1958), for a function of a whole set, such as a Fréchet distance: the
  set is cut into G groups, each is left out once, and G theta - (G - 1) theta_without is averaged, which removes the
  part of the bias that falls like 1/n. The interval is that of the population's value, so a biased estimate may lie
  outside of it.

A difference is measured on the same draws, or the same groups, of both sets: what is hard about an image is hard for
both, and cancels. Of two measurements one is better if the interval of their difference excludes 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.random import seeded_generator

__all__ = ["Interval", "bootstrap", "bootstrap_difference", "jackknife", "verdict"]

RESAMPLES = 2000
GROUPS = 20
LEVEL = 0.95
BLOCK = 1 << 22  # random indices that are in memory at a time


class Interval(NamedTuple):
    """The two ends of a confidence interval of level 0.95."""

    low: float
    high: float


Reduce = Callable[[Tensor], Tensor]  # (..., n) values of images -> (...) one number


def _mean(values: Tensor) -> Tensor:
    return values.mean(-1)


def bootstrap(values: Tensor, reduce: Reduce = _mean, seed: int = 0) -> Interval:
    """Return the bootstrap interval of `reduce(values)`.

    Args:
        values: (n,) one number for each image.
        reduce: (..., n) -> (...); the mean by default.
        seed: seed of the draws.

    Raises:
        ValueError: for fewer than two values.

    >>> low, high = bootstrap(torch.arange(100.0))
    >>> 43 < low < 49.5 < high < 56
    True
    """
    return bootstrap_difference(values, torch.zeros_like(values), reduce, seed)


def bootstrap_difference(a: Tensor, b: Tensor, reduce: Reduce = _mean, seed: int = 0) -> Interval:
    """Return the bootstrap interval of `reduce(a) - reduce(b)`, drawing the same images from both.

    Raises:
        ValueError: for fewer than two values, or different numbers of them.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"values {tuple(a.shape)} and {tuple(b.shape)} make no pairs; measure the same images")
    n = len(a)
    if n < 2:
        raise ValueError(f"{n} images are too few for an interval; give at least 2")
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    generator = seeded_generator("cpu", seed, "bootstrap")
    found, rows = [], max(1, BLOCK // n)
    for first in range(0, RESAMPLES, rows):
        index = torch.randint(n, (min(rows, RESAMPLES - first), n), generator=generator)
        found.append(reduce(a[index]) - reduce(b[index]))
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(torch.cat(found), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(low, high)


def jackknife(compute: Callable[[Callable[[Tensor], Tensor]], float], n: int, seed: int = 0) -> Interval:
    """Return the interval of a function of whole sets by leaving out one of G = min(20, n) groups at a time.

    Args:
        compute: is given `keep`, which returns what is kept of the rows (m, ...) of any set, and returns the function's
            value on that.
        n: size of the smallest set, at least 3.
        seed: seed of the division into groups.

    Raises:
        ValueError: for fewer than three rows.

    >>> x = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()
    >>> low, high = jackknife(lambda keep: float(keep(x).var()), len(x))
    >>> low < 1 < high
    True
    """
    from scipy.stats import t as student  # slow to import

    if n < 3:
        raise ValueError(f"{n} images are too few for an interval; give at least 3")
    groups = min(GROUPS, n)

    def without(group: int) -> Callable[[Tensor], Tensor]:
        def keep(rows: Tensor) -> Tensor:
            # A random but fixed share of the positions; equal positions of two paired sets fall into one group.
            order = torch.randperm(len(rows), generator=seeded_generator("cpu", seed, "jackknife", len(rows)))
            return rows[(order % groups != group).to(rows.device)]

        return keep

    whole = compute(lambda rows: rows)
    left = torch.tensor([compute(without(group)) for group in range(groups)], dtype=torch.float64)
    pseudo = groups * whole - (groups - 1) * left
    center = float(pseudo.mean())
    half = float(student.ppf((1 + LEVEL) / 2, groups - 1) * pseudo.std() / groups**0.5)
    return Interval(center - half, center + half)


def verdict(difference: Interval, higher_is_better: bool | None) -> str:
    """Return "better", "worse" or "undecided" of a difference a - b, from the point of view of a.

    >>> verdict(Interval(-0.2, -0.1), higher_is_better=False), verdict(Interval(-0.2, 0.1), higher_is_better=True)
    ('better', 'undecided')
    """
    if higher_is_better is None or difference.low <= 0 <= difference.high:
        return "undecided"
    return "better" if (difference.low > 0) == higher_is_better else "worse"
