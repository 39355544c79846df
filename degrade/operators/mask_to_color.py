"""Mask to color: the image gives way to one plain color, from the outside in or from the inside out.

    x_t = a_t x0 + (1 - a_t) c,    1 - a_t = M_{T - t} outside in,    a_t = M_t inside out,    a_0 = 1

with the centered mask M_t of `degrade.operators.mask` and one color c per image. Outside in, x_T is exactly c, so that
an image can be generated from a color. Free are the widths of the mask and the color, which is given or drawn (z, (B,
C)), uniform in [-0.5, 0.5] per channel. Bansal et al. (arXiv 2208.09392, 2022) use the defaults.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import NumLevels, Params, check_params
from degrade.functional.sigmas import Sigma
from degrade.operators.mask import Mask
from degrade.random import Generators, rand
from degrade.registry import register

__all__ = ["MaskToColor"]


@register("mask_to_color")
class MaskToColor(Mask):
    """The image gives way to a plain color, `color` if it is given (one number per channel), else drawn.

    `outside_in` goes from the outside in. The mask's arguments are those of `inpaint`.

    >>> D = MaskToColor(T=3, growth=1.0, color=(0.25,))
    >>> x0 = torch.ones(1, 1, 1, 5)
    >>> D(x0, torch.tensor([0])).flatten().tolist(), D(x0, torch.tensor([3])).flatten().tolist()
    ([1.0, 1.0, 1.0, 1.0, 1.0], [0.25, 0.25, 0.25, 0.25, 0.25])
    """

    T: NumLevels = 750
    growth: Sigma = 0.05
    color: tuple[Annotated[float, Field(ge=-1, le=1)], ...] | None = None
    outside_in: bool = True

    def to_alpha(self, M: Tensor) -> Tensor:
        """Return the table a from the table M, both (T + 1, ...)."""
        return torch.cat([M[:1], 1 - M.flip(0)[1:]]) if self.outside_in else M

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor | None:
        """Return one color (B, C) for each image, uniform in [-0.5, 0.5]; None if the color is given."""
        return rand(tuple(x0.shape[:2]), x0, generator) - 0.5 if self.color is None else None

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t x0 + (1 - a_t) c.

        Raises:
            ValueError: if the given color has another number of channels than x0, or z is not one color per image.
        """
        a_t = self.alpha_map(t, x0)
        return a_t * x0 + (1 - a_t) * self._color(x0, z)

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t."""
        return self.alpha_map(t, x)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (a_s - a_t) (x0 - c)."""
        return (self.alpha_map(s, x0) - self.alpha_map(t, x0)) * (x0 - self._color(x0, z))

    def _color(self, x0: Tensor, z: Params) -> Tensor:
        """Return the colors, (B, C, 1, 1) or (C, 1, 1)."""
        B, C = x0.shape[:2]
        if self.color is None:
            return check_params(self.name, z, (B, C)).to(x0)[..., None, None]
        if len(self.color) != C:
            raise ValueError(f"{self.name}: x0 has {C} channels and color {len(self.color)}: give it {C} numbers")
        # Filled, not copied from the host, which would wait for the device.
        return torch.stack([x0.new_full((1, 1), value) for value in self.color])
