"""Snow: flakes, smeared along rows or columns by the wind, fall on an image that may get brighter and paler.

    x_t = clip(b_t(x0) + L_t + rot180(L_t), 0, 1)    for x0 in [0, 1];    x_0 = x0

L_t keeps the flakes of a noise plane above a threshold and smears them with a Gaussian of k taps along one axis:

    L_t = G(sigma_t) * clip(base [base >= thr_t], 0, 1),    zero beyond the border

and b_t(x) = br_t x + (1 - br_t) max(x, 1.5 luma(x) + 0.5), or x itself where the brightness is fixed. A plane is normal
noise whose middle is enlarged `zoom` times. threshold, sigma and brightness run on straight lines over t = 1..T. z
holds each image's plane (B, H, W) and whether its wind blows along the columns (B,). The steps are not cumulative, so
no level costs more than another. The operator is that of ImageNet-C (Hendrycks and Dietterich, arXiv 1903.12261, 2019)
with the four strengths of Bansal et al. (arXiv 2208.09392, 2022), who use T = 200, strength 3 for CIFAR-10 and 4 for
CelebA.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from degrade.base import Degradation, NumLevels, Params, check_param_tuple
from degrade.functional.levels import LevelTables
from degrade.operators.color import luma
from degrade.random import Generators, rand, randn
from degrade.registry import register

__all__ = ["STRENGTHS", "Snow", "Strength"]


class Strength(NamedTuple):
    """The numbers of one strength of snow; pairs are values at t = 1 and t = T."""

    mean: float
    std: float
    zoom: float
    kernel_size: int
    threshold: tuple[float, float]
    sigma: tuple[float, float]
    brightness: tuple[float, float]


STRENGTHS = {
    1: Strength(0.1, 0.3, 3.0, 5, (0.7, 0.3), (0.5, 5.0), (0.95, 0.7)),
    2: Strength(0.55, 0.3, 2.5, 11, (1.15, 0.7), (0.05, 12.0), (0.95, 0.55)),
    3: Strength(0.55, 0.3, 2.5, 11, (1.15, 0.7), (0.05, 16.0), (0.95, 0.4)),
    4: Strength(0.55, 0.3, 2.5, 11, (1.15, 0.55), (0.05, 20.0), (0.95, 0.3)),
}


@register("snow")
class Snow(Degradation):
    """Snow of `strength` 1 to 4 on images in [-1, 1]; `fix_brightness` leaves the image under it as it is.

    A falling brightness needs 1 or 3 channels.

    >>> D = Snow(T=10, strength=3)
    >>> x0 = torch.zeros(2, 3, 16, 16)
    >>> z = D.draw(x0, torch.Generator().manual_seed(0))
    >>> D(x0, torch.tensor([0, 10]), z).mean((1, 2, 3)).gt(0.2).tolist()
    [False, True]
    """

    T: NumLevels = 200
    strength: Literal[1, 2, 3, 4] = 4
    fix_brightness: bool = False

    position_dependent: ClassVar[bool] = True  # a flake falls at its place and at the place opposite to it

    def precompute(self) -> LevelTables:
        """Return thr, the kernels (T + 1, k) and br; row 0 is not used."""
        strength = STRENGTHS[self.strength]
        threshold, sigma, brightness = (
            torch.cat([torch.ones(1).double(), torch.linspace(*ends, self.T, dtype=torch.float64)])
            for ends in (strength.threshold, strength.sigma, strength.brightness)
        )
        d = torch.arange(strength.kernel_size, dtype=torch.float64) - strength.kernel_size // 2
        kernels = torch.exp(-((d / sigma[:, None]) ** 2) / 2)
        return LevelTables(threshold, kernels / kernels.sum(1, keepdim=True), brightness)

    def draw(self, x0: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor]:
        """Return the planes (B, H, W) in the compute precision of x0, and the directions (B,), true for vertical."""
        strength = STRENGTHS[self.strength]
        B, _, H, W = x0.shape
        crop = [math.ceil(N / strength.zoom) for N in (H, W)]
        noise = strength.mean + strength.std * randn((B, *crop), x0, generator)
        return _zoom_center(noise, strength.zoom, H, W), rand((B,), x0, generator) < 0.5

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return the image with snow, and x0 itself at t = 0.

        Raises:
            ValueError: if z is not a plane and a direction for each image, or for a falling brightness of an image with
                neither 1 nor 3 channels.
        """
        B, C, H, W = x0.shape
        base, vertical = check_param_tuple(self.name, z, (B, H, W), (B,))
        threshold, kernel, brightness = self.tables.gather(t, x0)
        x = (x0 + 1) / 2
        if not self.fix_brightness:
            if C not in (1, 3):
                raise ValueError(f"{self.name}: x0 has {C} channels; brightness is that of 1 or 3: fix_brightness=True")
            gray = luma(x) if C == 3 else x
            x = brightness * x + (1 - brightness) * torch.maximum(x, 1.5 * gray + 0.5)
        base = base.to(x0)
        flakes = torch.where(base < threshold[:, 0], 0, base).clamp(0, 1)
        along_rows, along_columns = _directional_blur(flakes, kernel), _directional_blur(flakes.mT, kernel).mT
        layer = torch.where(vertical.view(-1, 1, 1) > 0, along_columns, along_rows)[:, None]
        snowed = 2 * (x + layer + layer.flip(-2, -1)).clamp(0, 1) - 1
        return torch.where(t.view(-1, 1, 1, 1) > 0, snowed, x0)


def _zoom_center(noise: Tensor, zoom: float, H: int, W: int) -> Tensor:
    """Return the middle H x W of planes (B, h, w) enlarged `zoom` times by linear interpolation, corner to corner."""
    size = [round(n * zoom) for n in noise.shape[1:]]
    large = interpolate(noise[:, None], size, mode="bilinear", align_corners=True)[:, 0]
    top, left = (size[0] - H) // 2, (size[1] - W) // 2
    return large[:, top : top + H, left : left + W]


def _directional_blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Return the rows of x (B, H, W), each image convolved with its own symmetric kernel (B, k), zero outside."""
    k, W = kernel.shape[1], x.shape[2]
    padded = pad(x, (k // 2, k // 2))
    # A sum over taps: a convolution may round to ten bits on a GPU, and has no kernel per image but by groups.
    smeared = torch.zeros_like(x)
    for tap in range(k):
        smeared = torch.addcmul(smeared, kernel[:, tap, None, None], padded[:, :, tap : tap + W])
    return smeared
