"""Masks: how much of each pixel is left when Gaussian holes have been cut around one center, one per level.

    M_t(d_h, d_w) = prod_{i < t} (1 - exp(-(d_h^2 + d_w^2) / 2 s_i^2)),    M_0 = 1

at d_h rows and d_w columns from the center, which loses everything in the first step. The widths s_i are free: with
i = 0..T-1 they are growth (i + offset), or growth, or a list. A factor is one minus a product over the axes, so M
itself does not separate; but it knows distances only, and one quadrant serves every center: image pixel (r, c) reads
M_t(|r - center_h|, |c - center_w|). The masks are those of Bansal et al. (arXiv 2208.09392, 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from degrade.base import Degradation
from degrade.frozen import frozen
from degrade.functional.levels import LevelTables, SizedLevelTables
from degrade.functional.sigmas import Sigma, sigma_table

__all__ = ["Mask", "center_index"]


def center_index(N: int) -> int:
    """Return the pixel taken for the middle of N: the one before the center line if N is even.

    >>> center_index(8), center_index(9)
    (3, 4)
    """
    return (N - 1) // 2


@frozen
class Mask(Degradation):
    """A degradation that keeps a_t of each pixel, a_t a function of the mask."""

    sigmas: Literal["incremental", "constant"] | tuple[Sigma, ...] = "incremental"
    growth: Sigma = 0.2
    offset: Sigma = 1.0

    affine: ClassVar[bool] = True

    def precompute(self) -> SizedLevelTables:
        """Return one quadrant of a for each size of image: (T + 1, reach_h + 1, reach_w + 1)."""
        self._sigmas()  # refuses a list of another length, before any image is seen
        return SizedLevelTables(self._at_size)

    def max_distance(self, N: int) -> int:
        """Return the largest distance of any of N pixels from a center."""
        return N // 2

    def to_alpha(self, M: Tensor) -> Tensor:
        """Return the table a from the table M, both (T + 1, ...)."""
        return M

    def alpha_map(self, t: Tensor, x: Tensor, center: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return a_t (B, 1, H, W) of images like `x` around `center`, rows (B,) and columns (B,), or the middle."""
        (quadrants,) = self.tables.gather(t, x)
        H, W = x.shape[2:]
        center_h, center_w = center if center is not None else (t.new_full((1,), center_index(N)) for N in (H, W))
        d_h = (torch.arange(H, device=x.device) - center_h[:, None]).abs()
        d_w = (torch.arange(W, device=x.device) - center_w[:, None]).abs()
        image = torch.arange(len(x), device=x.device).view(-1, 1, 1)
        return quadrants[image, d_h[:, :, None], d_w[:, None, :]][:, None]

    def _sigmas(self) -> Tensor:
        return sigma_table(self.sigmas, self.T, self.growth, self.offset)

    def _at_size(self, height: int, width: int, dtype: torch.dtype) -> LevelTables:
        d_h, d_w = (torch.arange(self.max_distance(N) + 1, dtype=torch.float64) for N in (height, width))
        distance = torch.hypot(d_h[:, None], d_w[None, :])
        kept = -torch.expm1(-((distance / self._sigmas().view(-1, 1, 1)) ** 2) / 2)
        M = torch.cat([torch.ones_like(kept[:1]), kept.cumprod(0)])
        return LevelTables(self.to_alpha(M))
