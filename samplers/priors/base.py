"""Priors: where a trajectory starts.

A prior gives (x_T, z): images at the last severity and the parameters of the degradation in them. It is not a property
of the degradation: for a restoration it is the degraded images themselves, for interpolation another data set, for
generation a distribution that can be drawn from without images. There are two kinds:

    x_T = z                      z is drawn: `StandardNormal`, `DatasetPrior`
    x_T = D(x0, T, z)            x0 is drawn, and z as D draws it: a `DegradedPrior`

and x0 is an image of a set (`DegradedData`), an empty image where D leaves nothing of x0 (`DegradedZero`: masks to a
color, noise), one color (`UniformColor`), or a low-resolution picture (`samplers.priors.low_resolution`). Since x_T is
what D makes of an image, the restorer meets what it was trained on, and z is the true one.

Each may add a Gaussian jitter of standard deviation sigma to x_T, the "broken symmetry" of Bansal et al. (arXiv
2208.09392, 2022, section 5), who take 0.002. z knows about it: it is estimated again from the jittered x_T, so wherever
the degradation can be solved for z (noise, interpolation) Algorithm 2 with fixed z starts on its own trajectory; where
it cannot, only x_T carries the jitter.

A prior is saved with a model by its name and JSON arguments, and rebuilt from them together with runtime objects: D, a
source of images, a device.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, InstanceOf
from torch import Tensor

from degrade import Degradation, Params, Source, expand_level
from degrade.frozen import frozen
from degrade.random import Generators, rand, randn_like, sample_source
from degrade.registry import Registry
from degrade.serializable import Serializable, runtime_field

__all__ = [
    "PRIORS",
    "DatasetPrior",
    "DegradedData",
    "DegradedPrior",
    "DegradedZero",
    "Prior",
    "PriorSample",
    "StandardNormal",
    "UniformColor",
    "register_prior",
]

SPREAD = 0.5  # assumed standard deviation of images
MAX_RMS = 2 / 255  # largest rms difference of starting points from what D makes of images: one step of 8 bits
Jitter = Annotated[float, Field(ge=0, description="standard deviation of what is added to x_T")]
Side = Annotated[int, Field(ge=1)]
Shape = tuple[Side, Side, Side]  # (C, H, W)
Device = InstanceOf[torch.device] | str


class PriorSample(NamedTuple):
    """Images (B, C, H, W) at severity T and the z in them."""

    x_T: Tensor
    z: Params


@frozen
class Prior(Serializable):
    """What every prior is: (n, generator) -> (x_T, z).

    A subclass implements `__call__`, and is registered under a name:

    >>> @register_prior("checkerboard_example")
    ... class Checkerboard(Prior):
    ...     '''The same board every time, with jitter.'''
    ...
    ...     side: int
    ...
    ...     def __call__(self, n, generator=None):
    ...         board = (torch.arange(self.side)[:, None] + torch.arange(self.side)) % 2 * 2.0 - 1
    ...         x_T = add_noise(board.expand(n, 1, -1, -1), self.jitter, generator)
    ...         return PriorSample(x_T, None)
    >>> PRIORS.make("checkerboard_example", side=2)(1).x_T.tolist()
    [[[[-1.0, 1.0], [1.0, -1.0]]]]

    Args:
        jitter: standard deviation of what is added to x_T.
    """

    jitter: Jitter = dataclasses.field(default=0.0, kw_only=True)

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if `D` cannot start here, and warn if x_T is far from what `D` makes of images.

        By default every degradation is accepted; `fit_prior` compares with images.
        """

    def __call__(self, n: int, generator: Generators = None) -> PriorSample:
        """Draw n starts; the generator is one for all images, or one for each."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(n, generator)")


PRIORS = Registry(Prior, "prior", "samplers.prior_plugins", "samplers.priors")
register_prior = PRIORS.register


@register_prior("standard_normal")
class StandardNormal(Prior):
    """x_T = z ~ N(0, 1 + jitter^2), for `gaussian_noise`.

    Args:
        shape: (C, H, W) of one image.
        device: device of the images; a runtime field, not saved.

    >>> x_T, z = StandardNormal((3, 8, 8))(2, torch.Generator().manual_seed(0))
    >>> x_T.shape, x_T is z
    (torch.Size([2, 3, 8, 8]), True)
    """

    shape: Shape
    device: Device = runtime_field(default="cpu", compare=False)

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless z is an image, and warn if `D` leaves a part of x0 beside it at T."""
        _need_nothing_left(self.name, D)

    def __call__(self, n: int, generator: Generators = None) -> PriorSample:
        """Draw n starts."""
        noise = randn_like(torch.empty(n, *self.shape, device=self.device), generator)
        x_T = add_noise(noise, self.jitter, generator)
        return PriorSample(x_T, x_T)


@register_prior("dataset")
class DatasetPrior(Prior):
    """x_T = z, an image of another data set, for `interpolation`.

    Args:
        source: (n, generator) -> images (n, C, H, W) in [-1, 1]; a runtime field, not saved.
    """

    source: Source = runtime_field()

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless z is an image, and warn if `D` leaves a part of x0 beside it at T."""
        _need_nothing_left(self.name, D)

    def __call__(self, n: int, generator: Generators = None) -> PriorSample:
        """Draw n starts."""
        x_T = add_noise(sample_source(self.source, n, generator), self.jitter, generator)
        return PriorSample(x_T, x_T)


@frozen
class DegradedPrior(Prior):
    """x_T = D(x0, T, z) of an image x0 that a subclass says how to draw, and z as D draws it.

    Args:
        D: the degradation; a runtime field, not saved.
    """

    D: Degradation = runtime_field()

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Draw x0 (n, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} does not define images(n, generator)")

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless `D` is the degradation that x_T is made with."""
        if self.D != D:
            raise ValueError(
                f"prior {self.name!r} is made with {self.D}, and R undoes {D}; use fit_prior(R.degradation, images)"
            )

    def __call__(self, n: int, generator: Generators = None) -> PriorSample:
        """Draw n starts."""
        x0 = self.images(n, generator)
        t = expand_level(self.D.T, x0)
        z = self.D.draw(x0, generator)
        x_T = add_noise(self.D(x0, t, z), self.jitter, generator)
        return PriorSample(x_T, self.D.estimate(x_T, x0, t, z))


@register_prior("degraded_data")
class DegradedData(DegradedPrior):
    """x_T = D(x0, T, z) of clean images x0: for restoration, and for generation where T leaves much of an image.

    Args:
        D: the degradation; a runtime field, not saved.
        source: (n, generator) -> clean images (n, C, H, W) in [-1, 1]; a runtime field, not saved.
    """

    source: Source = runtime_field()

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Draw images of the set."""
        return sample_source(self.source, n, generator)


@register_prior("degraded_zero")
class DegradedZero(DegradedPrior):
    """x_T = D(0, T, z), for a degradation that leaves nothing of an image at T but its own z: masks to a color, noise.

    Args:
        D: the degradation; a runtime field, not saved.
        shape: (C, H, W) of one image.
        device: device of the images; a runtime field, not saved.

    >>> import degrade
    >>> D = degrade.make("mask_to_color", T=3, sigmas="incremental:step=1")
    >>> x_T, color = DegradedZero(D, (3, 8, 8))(2)
    >>> torch.equal(x_T, color[:, :, None, None].expand(2, 3, 8, 8))
    True
    """

    shape: Shape
    device: Device = runtime_field(default="cpu", compare=False)

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Return empty images, mid-gray."""
        return torch.zeros(n, *self.shape, device=self.device)


@register_prior("uniform_color")
class UniformColor(DegradedPrior):
    """x_T = D(x0, T, z) of plain colors x0, uniform between `low` and `high` in each channel.

    Args:
        D: the degradation; a runtime field, not saved.
        shape: (C, H, W) of one image.
        low: (C,) least values.
        high: (C,) greatest values.
        device: device of the images; a runtime field, not saved.

    >>> import degrade
    >>> D = degrade.make("blur", T=3, mean_at_T=True, kernel_size=3)
    >>> x_T, _ = UniformColor(D, (1, 8, 8), (0.25,), (0.5,))(100)
    >>> bool((x_T >= 0.25).all() and (x_T < 0.5001).all() and x_T.std() > 0.05)
    True
    """

    shape: Shape
    low: tuple[float, ...]
    high: tuple[float, ...]
    device: Device = runtime_field(default="cpu", compare=False)

    def __post_init__(self) -> None:
        if not len(self.low) == len(self.high) == self.shape[0]:
            raise ValueError(
                f"low = {self.low} and high = {self.high} need a number for each of {self.shape[0]} channels"
            )
        if any(low > high for low, high in zip(self.low, self.high)):
            raise ValueError(f"low = {self.low} lies above high = {self.high}; swap them")

    def images(self, n: int, generator: Generators = None) -> Tensor:
        """Draw plain colors."""
        empty = torch.empty(n, *self.shape, device=self.device)
        u = rand((n, self.shape[0]), empty, generator)
        color = torch.stack([low + (high - low) * u[:, c] for c, (low, high) in enumerate(zip(self.low, self.high))], 1)
        return color[:, :, None, None].expand(empty.shape)


def add_noise(x: Tensor, jitter: float, generator: Generators) -> Tensor:
    """Return x + jitter N(0, I)."""
    return x + jitter * randn_like(x, generator) if jitter else x


def _need_nothing_left(prior: str, D: Degradation) -> None:
    """Raise ValueError unless D is additive, and warn where D(x0, T, z) is not z."""
    if not D.additive:
        raise ValueError(f"{prior} starts from x_T = z, which is no image of {D.name!r}: use fit_prior(D, images)")
    like = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    a, b = (float(v) for v in D.coefficients(expand_level(D.T, like), like))
    error = ((SPREAD * a) ** 2 + (b - 1) ** 2) ** 0.5
    if error > MAX_RMS:
        warnings.warn(
            f"{prior} starts from x_T = z, but {D.name} leaves x_T = {a:.3f} x0 + {b:.3f} z at T = {D.T}: off by"
            f" {error:.3f} (rms), more than {MAX_RMS:.3f}; take a schedule that ends at z, or DegradedData",
            stacklevel=3,
        )
