"""Snow: flakes, blurred along rows or columns, are added to an image that may become brighter and paler.

    x_t = clip(b_t(x0) + L_t + rot180(L_t), 0, 1)    for x0 in [0, 1];    x_0 = x0

L_t keeps the values of a noise plane at and above a threshold, the flakes, and blurs them along one axis with a
Gaussian of `kernel_size` taps:

    L_t = G(sigma_t) * clip(base [base >= threshold_t], 0, 1),    zero beyond the border

and b_t(x) = brightness_t x + (1 - brightness_t) max(x, 1.5 luma(x) + 0.5), or x itself with `fix_brightness`. The plane
`base` is the middle of normal noise that was enlarged `zoom` times. threshold_t, sigma_t and brightness_t are linear in
t for t = 1..T. The levels are not cumulative: each is computed from x0, at the same cost. The operator is that of
ImageNet-C (Hendrycks and Dietterich, arXiv 1903.12261, 2019) with the four strengths of Bansal et al. (arXiv
2208.09392, 2022), who use T = 200, strength 3 for CIFAR-10 and strength 4 for CelebA.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from degrade.base import Degradation, NumLevels, Params, check_param_tuple
from degrade.functional.levels import LevelTables
from degrade.functional.luma import luma
from degrade.random import Generators, rand, randn
from degrade.registry import register

__all__ = ["STRENGTHS", "Snow", "Strength"]


class Strength(NamedTuple):
    """The constants of one strength of snow; a pair holds the values at t = 1 and at t = T.

    Args:
        mean: mean of the noise.
        std: standard deviation of the noise.
        zoom: factor by which the noise is enlarged, which is the size of a flake in pixels.
        kernel_size: number of taps of the Gaussian that blurs the flakes.
        threshold: smallest value of the noise that is a flake.
        sigma: standard deviation of the Gaussian in pixels.
        brightness: weight of the image beside its paler version.
    """

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
    """Snow on images in [-1, 1], in four strengths.

    z is (planes, vertical): the noise of each image (B, H, W), and whether its flakes are blurred along the columns,
    (B,) bool.

    Args:
        T: number of levels, at least 1.
        strength: 1 (light) to 4 (heavy).
        fix_brightness: whether the image under the snow stays as it is; otherwise it becomes paler, which needs 1 or 3
            channels.

    >>> D = Snow(T=10, strength=3)
    >>> x0 = torch.zeros(2, 3, 16, 16)
    >>> z = D.draw(x0, torch.Generator().manual_seed(0))
    >>> D(x0, torch.tensor([0, 10]), z).mean((1, 2, 3)).gt(0.2).tolist()
    [False, True]
    """

    T: NumLevels = 200
    strength: Literal[1, 2, 3, 4] = 4
    fix_brightness: bool = False

    without_z: ClassVar[str] = "take a model that was trained on snow, since no picture tells where its flakes were"
    position_dependent: ClassVar[bool] = True  # a flake falls at its place and at the place opposite to it

    def precompute(self) -> LevelTables:
        """Return the thresholds, the kernels (T + 1, kernel_size) and the brightness; row 0 is not used."""
        strength = STRENGTHS[self.strength]
        threshold, sigma, brightness = (
            torch.cat([torch.ones(1).double(), torch.linspace(*ends, self.T, dtype=torch.float64)])
            for ends in (strength.threshold, strength.sigma, strength.brightness)
        )
        d = torch.arange(strength.kernel_size, dtype=torch.float64) - strength.kernel_size // 2
        kernels = torch.exp(-((d / sigma[:, None]) ** 2) / 2)
        return LevelTables(threshold, kernels / kernels.sum(1, keepdim=True), brightness)

    def draw(self, x0: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor]:
        """Return noise planes (B, H, W) in the compute precision of x0, and directions (B,) bool, true for columns."""
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
