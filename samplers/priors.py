"""Priors: where a trajectory starts.

A prior gives (x_T, z): images at the last severity and what is random about the degradation in them. It is no property
of the degradation: for noise it is the normal distribution, for interpolation another data set, for a restoration the
degraded images themselves. Each may add a small Gaussian jitter, the "broken symmetry" of Bansal et al. (arXiv
2208.09392, 2022, section 5). Wherever the degradation can be solved for z (noise, interpolation), z knows about the
jitter, so that a walk with fixed z stays on its own trajectory; where z is None, only x_T carries it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from degrade import Degradation, Latent, Source, full
from degrade.draws import Chance, from_source, randn_like

__all__ = ["Degraded", "OtherSet", "Prior", "PureNoise", "Start"]


class Start(NamedTuple):
    """Images (B, C, H, W) at severity T and the z in them."""

    x_T: Tensor
    z: Latent


class Prior(Protocol):
    """What every prior is: (n, generator) -> (x_T, z); the generator is one for all images, or one for each."""

    def __call__(self, n: int, generator: Chance = None) -> Start:
        """Draw n starts."""


def _check_jitter(jitter: float) -> None:
    if not jitter >= 0:
        raise ValueError(f"jitter is {jitter}; it is a standard deviation, 0 or more")


@dataclasses.dataclass(frozen=True)
class PureNoise:
    """x_T = z ~ N(0, 1 + jitter^2), for `gaussian_noise`.

    Args:
        shape: (C, H, W) of one image.
        device: where to put them.
        jitter: standard deviation of what is added.

    >>> from torch import Generator
    >>> x_T, z = PureNoise((3, 8, 8))(2, Generator().manual_seed(0))
    >>> x_T.shape, x_T is z
    (torch.Size([2, 3, 8, 8]), True)
    """

    shape: tuple[int, int, int]
    device: torch.device | str = "cpu"
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_jitter(self.jitter)

    def __call__(self, n: int, generator: Chance = None) -> Start:
        """Draw n starts."""
        noise = randn_like(torch.empty(n, *self.shape, device=self.device), generator)
        x_T = jittered(noise, self.jitter, generator)
        return Start(x_T, x_T)


@dataclasses.dataclass(frozen=True)
class OtherSet:
    """x_T = z, an image of another data set, for `interpolation`.

    Args:
        source: (n, generator) -> images (n, C, H, W) in [-1, 1].
        jitter: standard deviation of what is added to them.
    """

    source: Source
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_jitter(self.jitter)

    def __call__(self, n: int, generator: Chance = None) -> Start:
        """Draw n starts."""
        x_T = jittered(from_source(self.source, n, generator), self.jitter, generator)
        return Start(x_T, x_T)


@dataclasses.dataclass(frozen=True)
class Degraded:
    """x_T = D(x0, T, z) of clean images x0, for a restoration whose truth is known.

    Args:
        D: the degradation.
        source: (n, generator) -> clean images (n, C, H, W) in [-1, 1].
        jitter: standard deviation of what is added to x_T; z is re-estimated, to explain it where D can.
    """

    D: Degradation
    source: Source
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_jitter(self.jitter)

    def __call__(self, n: int, generator: Chance = None) -> Start:
        """Draw n starts."""
        x0 = from_source(self.source, n, generator)
        t = full(self.D.T, x0)
        z = self.D.draw(x0, generator)
        x_T = jittered(self.D(x0, t, z), self.jitter, generator)
        return Start(x_T, self.D.estimate(x_T, x0, t, z))


def jittered(x: Tensor, jitter: float, generator: Chance) -> Tensor:
    """Return x + jitter N(0, I)."""
    return x + jitter * randn_like(x, generator) if jitter else x
