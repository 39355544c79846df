"""Missing pixels: more and more single pixels are lost, or those of a mask of one's own.

    x_t = 0 where z < s_t, else x0,    s_t = share_at_T t / T,    z (B, 1, H, W)

z is drawn uniformly from [0, 1), so a share s_t of the pixels is missing at level t, in all channels, and what is
missing at a level is missing at all later ones. A mask of one's own is z = 0 where a pixel is missing and z = 1
elsewhere: it is the same at every level from 1 on.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params, check_params
from degrade.functional.levels import LevelTables
from degrade.random import Generators, rand
from degrade.registry import register

__all__ = ["MissingPixels"]


@register("missing_pixels")
class MissingPixels(Degradation):
    """Single pixels are lost and become mid-gray, or the pixels of a mask.

    z is one number in [0, 1] for each pixel, (B, 1, H, W): the smaller it is, the sooner the pixel is lost. 0 is lost
    from level 1 on, 1 is never lost; so a bool mask, true where a pixel is known, is a z, too.

    Args:
        T: number of levels, at least 1.
        share_at_T: the share of pixels that is missing at T, above 0 and at most 1.

    >>> D, known = MissingPixels(T=1), torch.tensor([[[[False, True]]]])
    >>> D(torch.ones(1, 3, 1, 2), torch.tensor([1]), known)[0, 0].tolist()
    [[0.0, 1.0]]
    """

    affine: ClassVar[bool] = True
    without_z: ClassVar[str] = "give a mask of what is missing (--mask on the command line), or z"

    T: NumLevels = 100
    share_at_T: Annotated[float, Field(gt=0, le=1)] = 1.0

    def precompute(self) -> LevelTables:
        """Return the share of missing pixels at every level, (T + 1,)."""
        return LevelTables(self.share_at_T * torch.arange(self.T + 1, dtype=torch.float64) / self.T)

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return one number for each pixel, (B, 1, H, W), uniform in [0, 1)."""
        return rand((len(x0), 1, *x0.shape[2:]), x0, generator)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return x0, with 0 where it is missing.

        Raises:
            ValueError: if z is not one number for each pixel.
        """
        return torch.where(self.missing(x0, t, z), 0, x0)

    def missing(self, x: Tensor, t: Tensor, z: Params = None) -> Tensor:
        """Return where pixels are missing at level t, (B, 1, H, W) bool."""
        (share,) = self.tables.gather(t, x)
        return check_params(self.name, z, (len(x), 1, *x.shape[2:])).to(share) < share

    def mask_params(self, missing: Tensor) -> Tensor:
        """Return the mask itself, true where a pixel is known."""
        return ~missing

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return 0 where pixels are missing, else 1."""
        return (~self.missing(x, t, z)).to(x.dtype)
