"""A restorer on whole pictures: in tiles where it may work in tiles, in the precision of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from restore.base_restorer import BaseRestorer, WrappedRestorer
from restore.tiling import TiledRestorer
from samplers.applications.picture_sampling import grows_with_picture, image_size

__all__ = ["OwnPrecision", "in_tiles"]


class OwnPrecision(WrappedRestorer):
    """R in the precision of its own parameters, on images in theirs."""

    def __init__(self, R: BaseRestorer) -> None:
        super().__init__(R)
        self.net = getattr(R, "net", R)
        self.dtype = next((p.dtype for p in R.parameters() if p.is_floating_point()), None)

    @property
    def cond(self) -> dict[str, Tensor]:
        """The conditions that are bound to R, which tiles cut."""
        return self.R.cond

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean images."""
        return self.restore_prepared(self.prepare(x_t, t), t, **cond)

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return what R needs of whole images."""
        return self.R.prepare(self._cast(x_t), t).to(x_t)

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat from what `prepare` returned."""
        return self.R.restore_prepared(self._cast(prepared), t, **cond).to(prepared)

    def _cast(self, x: Tensor) -> Tensor:
        return x if self.dtype is None else x.to(self.dtype)


def in_tiles(
    R: BaseRestorer, x: Tensor, size: int | None, progress: Callable[[int, int], None] | None
) -> TiledRestorer:
    """Return R in tiles for pictures like x (B, C, H, W).

    Args:
        R: the restorer.
        x: the pictures.
        size: side of a tile; None for what suits the pictures.
        progress: called with (tiles done, tiles in all) after every batch of tiles.
    """
    tiled = TiledRestorer(R, _tile_size(R, x) if size is None else size)
    tiled.progress = progress
    return tiled


def _tile_size(R: BaseRestorer, x: Tensor) -> int | None:
    """Return a size that holds the whole picture where a piece of it cannot stand for it; else None."""
    D, (H, W) = R.degradation, x.shape[2:]
    if not (D.position_dependent and grows_with_picture(D, x, image_size(R, min(256, H, W)))):
        return None
    return math.ceil(max(H, W) / R.size_divisor) * R.size_divisor
