"""Masks: a hole with a soft edge grows around one center; it hides the image, or a color replaces the image there.

    M_t(d_h, d_w) = prod_{i < t} (1 - exp(-(d_h^2 + d_w^2) / 2 s_i^2)),    M_0 = 1

at d_h rows and d_w columns from the center, which is lost in the first step. The widths s_i in pixels, i = 0..T-1,
follow a rule (`degrade.functional.sigmas`). Two degradations multiply the pixels by a_t in [0, 1]:

* `inpaint`         x_t = a_t x0,                    a_t = M_t: a hole of mid-gray, in the middle or at another place
* `mask_to_color`   x_t = a_t x0 + (1 - a_t) c,      1 - a_t = M_{T - t} from the outside in, or a_t = M_t

M is not a product of a function of d_h and one of d_w. It depends on distances only, so that one table serves every
center: pixel (r, c) has M_t(|r - center_h|, |c - center_w|). Bansal et al. (arXiv 2208.09392,
2022) use widths that grow by `step` pixels: `inpaint` with T = 100, step 0.2 at the middle for CelebA (the defaults),
with T = 50, step 0.1 at random places for MNIST and CIFAR-10, and `mask_to_color` with its defaults to generate faces.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params, check_param_tuple, check_params
from degrade.frozen import frozen
from degrade.functional.levels import LevelTables, SizedLevelTables
from degrade.functional.sigmas import AnySigmas, Incremental, sigma_table
from degrade.random import Generators, rand, randint
from degrade.registry import register

__all__ = ["Inpaint", "Mask", "MaskToColor", "center_index"]

Index = Annotated[int, Field(ge=0)]


def center_index(N: int) -> int:
    """Return the index of the center pixel of N: the one before the center line if N is even.

    >>> center_index(8), center_index(9)
    (3, 4)
    """
    return (N - 1) // 2


@frozen
class Mask(Degradation):
    """The base of both masks: a_t in [0, 1] for each pixel; see the module.

    Args:
        T: number of levels, at least 1.
        sigmas: the widths of the T factors of the mask in pixels, a rule or a list of T numbers.
    """

    sigmas: AnySigmas = Incremental(step=0.2)

    affine: ClassVar[bool] = True
    position_dependent: ClassVar[bool] = True

    def precompute(self) -> SizedLevelTables:
        """Return one quadrant of a_t for each size of image: (T + 1, max_distance_h + 1, max_distance_w + 1)."""
        self._sigma_table()  # refuses a list of another length, before any image is seen
        return SizedLevelTables(self._at_size)

    def max_distance(self, N: int) -> int:
        """Return the largest distance in pixels of any of N pixels from a center."""
        return N // 2

    def to_alpha(self, M: Tensor) -> Tensor:
        """Return the table of a_t from the table of M_t, both (T + 1, ...)."""
        return M

    def center_of(self, x0: Tensor, z: Params) -> tuple[Tensor, Tensor] | None:
        """Return the rows (B,) and the columns (B,) of the mask's center in each image, or None for the middle."""
        return None

    def alpha_map(self, t: Tensor, x: Tensor, center: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return a_t (B, 1, H, W) for images like `x` around `center`, rows (B,) and columns (B,), or the middle."""
        (quadrants,) = self.tables.gather(t, x)
        return _around(quadrants, x, center)

    def alpha_change(self, t: Tensor, s: Tensor, x: Tensor, center: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return a_s - a_t, as `alpha_map` returns a_t."""
        (at_s,), (at_t,) = self.tables.gather(s, x), self.tables.gather(t, x)
        return _around(at_s - at_t, x, center)

    def missing(self, x: Tensor, t: Tensor, z: Params = None) -> Tensor:
        """Return where less than half of the image is left at level t, (B, 1, H, W) bool."""
        return self._gain(x, t, z) < 0.5

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t."""
        return self.alpha_map(t, x, self.center_of(x, z))

    def _sigma_table(self) -> Tensor:
        return sigma_table("sigmas", self.sigmas, self.T)

    def _at_size(self, height: int, width: int, dtype: torch.dtype) -> LevelTables:
        d_h, d_w = (torch.arange(self.max_distance(N) + 1, dtype=torch.float64) for N in (height, width))
        distance = torch.hypot(d_h[:, None], d_w[None, :])
        kept = -torch.expm1(-((distance / self._sigma_table().view(-1, 1, 1)) ** 2) / 2)
        M = torch.cat([torch.ones_like(kept[:1]), kept.cumprod(0)])
        return LevelTables(self.to_alpha(M))


@register("inpaint")
class Inpaint(Mask):
    """A mid-gray hole with a soft edge, in the middle of the image, at a given place or at a random one.

    z is None unless the place is random. For random places it is (row offsets in 0..H, column offsets in 0..W), each
    (B,) int64: the image is a window (H, W) at that offset in a mask of (2 H, 2 W) whose center is row H - 1, column
    W - 1. The place is the same at every level.

    Args:
        T: number of levels, at least 1.
        sigmas: the widths of the T factors of the mask in pixels: a rule, such as "incremental:step=0.2", or a list of
            T positive numbers; see `degrade.functional.sigmas`.
        center: place of the hole: `middle`, `random` for each image, or (row, column), counted from 0.

    >>> import torch
    >>> D = Inpaint(T=2, sigmas=(1.0, 1.0))
    >>> x0 = torch.ones(1, 1, 1, 5)
    >>> D(x0, torch.tensor([2])).mul(100).round().flatten().tolist()
    [75.0, 15.0, 0.0, 15.0, 75.0]
    """

    without_z: ClassVar[str] = "give its place, such as center=[20,30] for row 20 and column 30, or z"

    T: NumLevels = 100
    center: Literal["middle", "random"] | tuple[Index, Index] = "middle"

    @property
    def random(self) -> bool:
        """Whether the place is drawn."""
        return self.center == "random"

    def max_distance(self, N: int) -> int:
        """Return the largest distance in pixels of any of N pixels from a center."""
        return super().max_distance(N) if self.center == "middle" else N

    def draw(self, x0: Tensor, generator: Generators = None) -> tuple[Tensor, Tensor] | None:
        """Return row offsets in 0..H and column offsets in 0..W, each (B,) int64, for random places; else None."""
        if not self.random:
            return None
        B, _, H, W = x0.shape
        return randint(H + 1, (B,), x0, generator), randint(W + 1, (B,), x0, generator)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t x0.

        Raises:
            ValueError: if the place is random and z is not two offsets for each image, or a given one is not inside.
        """
        return self._gain(x0, t, z) * x0

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (a_s - a_t) x0."""
        return self.alpha_change(t, s, x0, self.center_of(x0, z)) * x0

    def center_of(self, x0: Tensor, z: Params) -> tuple[Tensor, Tensor] | None:
        """Return the rows (B,) and the columns (B,) of the mask's center in each image, or None for the middle."""
        if self.center == "middle":
            return None
        B, _, H, W = x0.shape
        if isinstance(self.center, tuple):
            row, column = self.center
            if row >= H or column >= W:
                raise ValueError(f"{self.name}: center is {self.center} and x0 {H} x {W}; it must lie inside")
            return torch.full((B,), row, device=x0.device), torch.full((B,), column, device=x0.device)
        row_offset, col_offset = check_param_tuple(self.name, z, (B,), (B,))
        return H - 1 - row_offset, W - 1 - col_offset


@register("mask_to_color")
class MaskToColor(Mask):
    """A plain color replaces the image, from the outside in or from the inside out.

    From the outside in, x_T is exactly the color c, so that an image can be generated from a color. z is the color
    (B, C), uniform in [-0.5, 0.5] per channel, or None if `color` is given.

    Args:
        T: number of levels, at least 1.
        sigmas: the widths of the T factors of the mask in pixels: a rule, such as "incremental:step=0.05", or a list of
            T positive numbers; see `degrade.functional.sigmas`.
        color: the color, one number in [-1, 1] for each channel; None draws one color for each image.
        outside_in: whether the color starts at the borders; otherwise it starts in the middle.

    >>> D = MaskToColor(T=3, sigmas=(1.0, 2.0, 3.0), color=(0.25,))
    >>> x0 = torch.ones(1, 1, 1, 5)
    >>> D(x0, torch.tensor([0])).flatten().tolist(), D(x0, torch.tensor([3])).flatten().tolist()
    ([1.0, 1.0, 1.0, 1.0, 1.0], [0.25, 0.25, 0.25, 0.25, 0.25])
    """

    without_z: ClassVar[str] = "give its color, such as color=[0.5,0,-0.5], or z"

    T: NumLevels = 750
    sigmas: AnySigmas = Incremental(step=0.05)
    color: tuple[Annotated[float, Field(ge=-1, le=1)], ...] | None = None
    outside_in: bool = True

    @property
    def random(self) -> bool:
        """Whether the color is drawn."""
        return self.color is None

    def to_alpha(self, M: Tensor) -> Tensor:
        """Return the table of a_t from the table of M_t, both (T + 1, ...)."""
        return torch.cat([M[:1], 1 - M.flip(0)[1:]]) if self.outside_in else M

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor | None:
        """Return one color (B, C) for each image, uniform in [-0.5, 0.5]; None if the color is given."""
        return rand(tuple(x0.shape[:2]), x0, generator) - 0.5 if self.color is None else None

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return a_t x0 + (1 - a_t) c.

        Raises:
            ValueError: if the given color has another number of channels than x0, or z is not one color per image.
        """
        return torch.lerp(self._color(x0, z), x0, self.alpha_map(t, x0))

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (a_s - a_t) (x0 - c)."""
        return self.alpha_change(t, s, x0) * (x0 - self._color(x0, z))

    def _color(self, x0: Tensor, z: Params) -> Tensor:
        """Return the colors, (B, C, 1, 1) or (C, 1, 1)."""
        B, C = x0.shape[:2]
        if self.color is None:
            return check_params(self.name, z, (B, C)).to(x0)[..., None, None]
        if len(self.color) != C:
            raise ValueError(f"{self.name}: x0 has {C} channels and color {len(self.color)}: give it {C} numbers")
        # Filled, not copied from the host, which would wait for the device.
        return torch.stack([x0.new_full((1, 1), value) for value in self.color])


def _around(quadrants: Tensor, x: Tensor, center: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return (B, 1, H, W), the entries of the quadrants (B, ...) at the distances of pixels of x from the centers."""
    sides = x.shape[2:]
    if center is None:  # copied in four pieces, which is faster than to look up each pixel
        for dim, N in ((1, sides[0]), (2, sides[1])):
            c = center_index(N)
            before = quadrants.narrow(dim, 1, c).flip(dim)
            quadrants = torch.cat([before, quadrants.narrow(dim, 0, N - c)], dim)
        return quadrants[:, None]
    d_h, d_w = ((torch.arange(N, device=x.device) - c[:, None]).abs() for N, c in zip(sides, center))
    image = torch.arange(len(x), device=x.device).view(-1, 1, 1)
    return quadrants[image, d_h[:, :, None], d_w[:, None, :]][:, None]
