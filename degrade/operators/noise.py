"""Gaussian noise, and the affine path x_t = a_t x0 + b_t z, which interpolation uses, too.

`AffinePath` implements both; they differ only in how z is drawn. In `gaussian_noise` z = eps ~ N(0, I), the forward
process of DDPM (Ho et al., arXiv 2006.11239, 2020, eq. 4). If x0 is known, the equation can be solved for z, so
`estimate` is exact: z = (x_t - a_t x0) / b_t for t >= 1, where b_t > 0 in every schedule.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from degrade.base import Degradation, NumLevels, Params, check_image_params
from degrade.frozen import frozen
from degrade.functional.levels import LevelTables
from degrade.functional.schedules import AnySchedule, LinearBeta
from degrade.random import Generators, randn_like
from degrade.registry import register

__all__ = ["AffinePath", "GaussianNoise"]


@frozen
class AffinePath(Degradation):
    """The base of x_t = a_t x0 + b_t z, with the tables (a, b) of a schedule; a subclass defines `draw`.

    Args:
        T: number of levels, at least 1.
        schedule: the weights (a_t, b_t) of image and z: a name such as `cosine`, an object, or
            {"name": ..., "arguments": {...}}; see `degrade.functional.schedules`.
    """

    schedule: AnySchedule

    affine: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    identifiable: ClassVar[bool] = True
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
        """Return (x_t - a_t x0) / b_t, for t >= 1; the z passed in is not used."""
        a_t, b_t = self.coefficients(t, x_t)
        return (x_t - a_t * x0) / b_t

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (a_s - a_t) x0 + (b_s - b_t) z."""
        (a_t, b_t), (a_s, b_s) = self.coefficients(t, x0), self.coefficients(s, x0)
        return (a_s - a_t) * x0 + (b_s - b_t) * check_image_params(self.name, x0, z)


@register("gaussian_noise")
class GaussianNoise(AffinePath):
    """Gaussian noise: x_t = a_t x0 + b_t eps, eps ~ N(0, I).

    z is eps, shaped like x0.

    Args:
        T: number of levels, at least 1.
        schedule: the weights (a_t, b_t) of image and noise: a name such as `cosine`, an object, or
            {"name": ..., "arguments": {...}}; see `degrade.functional.schedules`.

    >>> import torch
    >>> D = GaussianNoise(T=10)
    >>> x0 = torch.zeros(2, 3, 8, 8)
    >>> eps = D.draw(x0, torch.Generator().manual_seed(0))
    >>> D(x0, torch.tensor([0, 10]), eps).std(dim=(1, 2, 3)).gt(0).tolist()
    [False, True]
    """

    T: NumLevels = 1000
    schedule: AnySchedule = LinearBeta()

    gaussian: ClassVar[bool] = True
    without_z: ClassVar[str] = (
        "leave it out, since a model of noise needs no degradation named, and beside another one it is the error of the"
        " picture, noise (--noise on the command line)"
    )

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return eps ~ N(0, I), shaped like `x0`."""
        return randn_like(x0, generator)
