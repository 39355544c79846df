"""Mixtures: x_t = a_t x0 + b_t z, from an image towards noise or towards another image.

`gaussian_noise` and `interpolation` are one degradation that differs only in where z comes from:

* `gaussian_noise`: z = eps ~ N(0, I); the forward process of DDPM (Ho et al., arXiv 2006.11239, 2020, eq. 4)
* `interpolation`: z is an image of another set, drawn by an injected source and paired with x0 by a coupling; with the
  cosine schedule this is the animorphosis of Bansal et al. (arXiv 2208.09392, 2022, section 5.2)

Given x0, a mixture can be solved for z, so `estimate` is exact: z = (x_t - a_t x0) / b_t.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from degrade.base import Degradation, NumLevels, Params, check_image_params
from degrade.frozen import frozen
from degrade.functional.levels import LevelTables
from degrade.functional.schedules import Cosine, LinearBeta, Schedule
from degrade.operators.coupling import Coupling, pair
from degrade.random import Generators, Source, randn_like, sample_source
from degrade.registry import register

__all__ = ["AffinePath", "GaussianNoise", "Interpolation", "Source"]


@frozen
class AffinePath(Degradation):
    """x_t = a_t x0 + b_t z with the tables (a, b) of a schedule."""

    schedule: Schedule

    affine: ClassVar[bool] = True
    bounded: ClassVar[bool] = False

    def precompute(self) -> LevelTables:
        """Return the tables a and b, T + 1 entries each."""
        return LevelTables(*self.schedule(self.T))

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (a_t, b_t), each (B, 1, 1, 1), on the device and in the compute precision of `like`."""
        a_t, b_t = self.tables.gather(t, like)
        return a_t, b_t

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t x0 + b_t z."""
        a_t, b_t = self.coefficients(t, x0)
        return a_t * x0 + b_t * check_image_params(self.name, x0, z)

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t."""
        return self.coefficients(t, x)[0]

    def estimate(self, x_t: Tensor, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return (x_t - a_t x0) / b_t, for t >= 1; the z passed in is not looked at."""
        a_t, b_t = self.coefficients(t, x_t)
        return (x_t - a_t * x0) / b_t

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (a_s - a_t) x0 + (b_s - b_t) z."""
        (a_t, b_t), (a_s, b_s) = self.coefficients(t, x0), self.coefficients(s, x0)
        return (a_s - a_t) * x0 + (b_s - b_t) * check_image_params(self.name, x0, z)


@register("gaussian_noise")
class GaussianNoise(AffinePath):
    """Noise takes over: x_t = a_t x0 + b_t eps, eps ~ N(0, I).

    >>> import torch
    >>> D = GaussianNoise(T=10)
    >>> x0 = torch.zeros(2, 3, 8, 8)
    >>> eps = D.draw(x0, torch.Generator().manual_seed(0))
    >>> D(x0, torch.tensor([0, 10]), eps).std(dim=(1, 2, 3)).gt(0).tolist()
    [False, True]
    """

    T: NumLevels = 1000
    schedule: Schedule = LinearBeta()

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return eps ~ N(0, I), shaped like `x0`."""
        return randn_like(x0, generator)


@register("interpolation")
class Interpolation(AffinePath):
    """One image turns into another: x_t = a_t x0 + b_t z, z from another set.

    `source(n, generator)` returns n images in [-1, 1]; it is live, so it is not among the arguments that are saved.
    `coupling` says which partner goes to which image of a batch: `independent` (as drawn) or `optimal` (the
    one-to-one pairing of the batch with the least total squared distance). What an image with a generator of its own
    draws does not depend on its batch, so there the partner stays as drawn.

    >>> import torch
    >>> D = Interpolation(T=4, schedule="rectified", source=lambda n, generator: torch.ones(n, 1, 2, 2))
    >>> x0 = -torch.ones(1, 1, 2, 2)
    >>> [D(x0, torch.tensor([t]), D.draw(x0)).mean().item() for t in range(5)]
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """

    T: NumLevels = 200
    schedule: Schedule = Cosine()
    coupling: Coupling = "independent"
    source: Source | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        a, b = self.schedule(self.T)
        object.__setattr__(self, "bounded", bool((a + b <= 1 + 1e-6).all()))  # |a_t x0 + b_t z| <= a_t + b_t
        super().__post_init__()

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return one partner image for each image of `x0`.

        Raises:
            ValueError: if no source was given, or if its images are not shaped like x0.
        """
        if self.source is None:
            raise ValueError(
                "interpolation has no source to draw partners from; give it one: "
                "make('interpolation', source=...) or dataclasses.replace(D, source=...)"
            )
        z = sample_source(self.source, len(x0), generator).to(x0)
        if z.shape != x0.shape:
            raise ValueError(f"interpolation: its source gave images {tuple(z.shape)} for x0 {tuple(x0.shape)}")
        # Images that have a generator each are batches of one, which leave nothing to pair.
        alone = isinstance(generator, Sequence)
        return z if alone else pair(self.coupling, x0, z)
