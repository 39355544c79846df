"""JPEG compression: an image is coded with lower and lower quality, and decoded again.

    x_t = J(x0, q_t),    t = 1..T;    x_0 = x0

J codes an image with quality q and decodes it: conversion to YCbCr, color at half size, cosine transform of 8 x 8
blocks, division by a table of quantization steps, rounding, and the inverse of all of these. Quality q multiplies the
standard table by S(q) = 50 / q for q < 50 and 2 - q / 50 otherwise. Every level multiplies the steps by the same
factor:

    S(q_t) = S(start_quality)^(1 - u) S(end_quality)^u,    u = (t - 1) / (T - 1)

Equal differences of q would not be equal changes of the image: q = 10 and 20 differ much, q = 80 and 90 little. J is
the differentiable codec of kornia (Reich et al., arXiv 2309.06978, 2023, after Shin and Song, 2017), which replaces
rounding by a function with a derivative; it is not linear in x0. Images whose sides are not multiples of 16 are padded
and cropped by kornia. The cost does not depend on t.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.levels import LevelTables
from degrade.optional import require
from degrade.registry import register

__all__ = ["Jpeg"]

Quality = Annotated[float, Field(ge=1, le=99)]


def _steps(quality: Tensor) -> Tensor:
    """Return S(q), how much quality q stretches the standard table; 1 at q = 50."""
    return torch.where(quality < 50, 50 / quality, 2 - quality / 50)


def _quality(steps: Tensor) -> Tensor:
    """Return q with S(q) = steps."""
    return torch.where(steps > 1, 50 / steps, 100 - 50 * steps)


@register("jpeg")
class Jpeg(Degradation):
    """JPEG compression with quality `start_quality` at t = 1 down to `end_quality` at t = T; needs kornia.

    Images have 1 or 3 channels. z is None. kornia checks the values of the qualities on the host, so that a call waits
    for the GPU, and `torch.func.vmap` and the device `meta` are not supported.

    Args:
        T: number of levels, at least 1.
        start_quality: JPEG quality at t = 1, in [1, 99].
        end_quality: JPEG quality at t = T, in [1, 99].

    >>> D = Jpeg(T=3, start_quality=50, end_quality=2)
    >>> x0 = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> [round((D(x0, torch.tensor([t])) - x0).abs().mean().item(), 2) for t in (0, 1, 3)]
    [0.0, 0.01, 0.11]
    """

    T: NumLevels = 50
    start_quality: Quality = 75.0
    end_quality: Quality = 2.0

    def precompute(self) -> LevelTables:
        """Return the table of qualities, 100 at level 0, where it is not used."""
        require("kornia.enhance", self.name)
        u = torch.linspace(1, 0, self.T, dtype=torch.float64).flip(0)  # with T = 1 it is the last quality that counts
        first, last = _steps(torch.tensor([self.start_quality, self.end_quality], dtype=torch.float64))
        return LevelTables(torch.cat([torch.full_like(u[:1], 100), _quality(first ** (1 - u) * last**u)]))

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return the image coded and decoded with quality q_t, and x0 itself at t = 0.

        Raises:
            ValueError: if x0 has neither 1 nor 3 channels.
        """
        from kornia.enhance import jpeg_codec_differentiable

        if x0.shape[1] not in (1, 3):
            raise ValueError(f"{self.name}: x0 has {x0.shape[1]} channels; JPEG codes 1 or 3")
        if not len(x0):  # which kornia refuses
            return x0
        (quality,) = self.tables.gather(t, x0)
        coded = jpeg_codec_differentiable((x0.expand(-1, 3, -1, -1) + 1) / 2, quality.flatten())
        return torch.where(t.view(-1, 1, 1, 1) > 0, 2 * coded[:, : x0.shape[1]] - 1, x0)
