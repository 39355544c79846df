"""Inpainting: a hole with a soft rim opens in the image.

    x_t = M_t x0

with the mask M_t of `degrade.operators.mask` around the middle of the image, or around a center of each image's own.
What is hidden becomes 0, mid-gray. z is the place of the image as a window (H, W) in a mask of (2 H, 2 W) whose center
is row H - 1, column W - 1: its row and column offsets, in 0..H and 0..W, one and the same for all t.

Bansal et al. (arXiv 2208.09392, 2022) use T = 100, growth 0.2, offset 1, center "middle" for CelebA (the defaults) and
T = 50, growth 0.1, center "random" for MNIST and CIFAR-10. The image is never wholly destroyed there.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from degrade.base import NumLevels, Params, check_param_tuple
from degrade.operators.mask import Mask
from degrade.random import Generators, randint
from degrade.registry import register

__all__ = ["Inpaint"]


@register("inpaint")
class Inpaint(Mask):
    """A soft hole opens in the middle of the image or at a random place.

    `sigmas` are `incremental`, growth (i + offset), or `constant`, growth, or a list of T widths in pixels.

    >>> import torch
    >>> D = Inpaint(T=2, sigmas="constant", growth=1.0)
    >>> x0 = torch.ones(1, 1, 1, 5)
    >>> D(x0, torch.tensor([2])).mul(100).round().flatten().tolist()
    [75.0, 15.0, 0.0, 15.0, 75.0]
    """

    T: NumLevels = 100
    center: Literal["middle", "random"] = "middle"

    def max_distance(self, N: int) -> int:
        """Return the largest distance of any of N pixels from a center."""
        return N if self.center == "random" else super().max_distance(N)

    def draw(self, x0: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor] | None:
        """Return row offsets in 0..H and column offsets in 0..W, each (B,) int64, for random centers; else None."""
        if self.center == "middle":
            return None
        B, _, H, W = x0.shape
        return randint(H + 1, (B,), x0, generator), randint(W + 1, (B,), x0, generator)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return M_t x0.

        Raises:
            ValueError: if the center is random and z is not two offsets for each image.
        """
        return self._gain(x0, t, z) * x0

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return M_t."""
        return self.alpha_map(t, x, self._center(x, z))

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (M_s - M_t) x0."""
        center = self._center(x0, z)
        return (self.alpha_map(s, x0, center) - self.alpha_map(t, x0, center)) * x0

    def _center(self, x0: Tensor, z: Params) -> tuple[Tensor, Tensor] | None:
        """Return the row and the column of the mask's center in each image, None for the middle."""
        if self.center == "middle":
            return None
        B, _, H, W = x0.shape
        row_offset, col_offset = check_param_tuple(self.name, z, (B,), (B,))
        return H - 1 - row_offset, W - 1 - col_offset
