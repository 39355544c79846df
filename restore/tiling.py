"""Tiles: restore images of any size with a network that takes small ones.

    R(x) = blend of R(tile_i),   tile_i = x[p_i : p_i + tile_size]

What needs the whole image, such as the linear inverse that a network sees, is computed first (`R.prepare`). The image
is continued by reflection until `size_divisor` divides its sides, and cut into tiles that share at least `overlap`
pixels with their neighbors. A few tiles at a time are restored and blended: on the middle half of an overlap, 0 <= u <=
1, the result goes from the first tile to the second,

    w(u) = (1 - cos pi u) / 2,    out = first + w (second - first)

so the weights sum to one, and where two tiles agree, the result is bit for bit theirs. The quarters of the overlap next
to a cut have weight 0: the output of the network near an edge that is not an edge of the image is not used. Tiles start
at multiples of `size_divisor`. Therefore an R whose output depends on no pixel further away than overlap / 4 gives the
same as for the whole image, without seams. The tiles of an R that looks further (attention, group norms) are blended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype
from restore.base_restorer import BaseRestorer, WrappedRestorer

__all__ = ["TiledRestorer", "reflect_pad"]

MIN_TILE = 128  # pixels; the default tile is at least this large


class TiledRestorer(WrappedRestorer):
    """R on images of any size, with the memory for one batch of tiles.

    An image that is not larger than a tile is restored in one piece, and unpadded if `size_divisor` divides its sides.
    Conditions with the height and width of the images, such as a second image, are cut as the images are; other
    conditions, such as classes, are the same for every tile. They are bound as usual:
    `TiledRestorer(R).with_cond(image=y)`; conditions that are bound to R itself are cut, too.

    Args:
        R: the restorer.
        tile_size: side of a tile in pixels; by default the smallest multiple of `R.image_size` that is at least 128.
        overlap: number of pixels that neighboring tiles share at least; by default a quarter of a tile.
        size_divisor: the number by which the sides of R's images must be divisible; by default `R.size_divisor`.
        batch_size: number of tiles in one call of R.

    `progress`, None at first, may be set to a function: it is called with (tiles done, tiles in all) after every batch
    of the tiles of an image.

    Raises:
        ValueError: unless `size_divisor` divides `tile_size` and `overlap`, and `overlap` is at most half of
            `tile_size`; or if R is not a restorer.

    >>> import degrade
    >>> from restore import FunctionRestorer
    >>> D = degrade.make("blur", T=3)
    >>> R = FunctionRestorer(lambda x, t: torch.nn.functional.avg_pool2d(x, 3, 1, 1), D)
    >>> x, t = torch.rand(1, 3, 45, 70, dtype=torch.float64), torch.tensor([1])
    >>> torch.equal(TiledRestorer(R, tile_size=16, overlap=8)(x, t), R(x, t))
    True
    """

    def __init__(
        self,
        R: BaseRestorer,
        tile_size: int | None = None,
        overlap: int | None = None,
        size_divisor: int | None = None,
        batch_size: int = 8,
    ) -> None:
        if not isinstance(R, BaseRestorer):
            raise ValueError(f"R is {R!r:.80}; pass a restorer, for a function restore.FunctionRestorer(function, D)")
        super().__init__(R)
        self.tile_divisor = divisor = R.size_divisor if size_divisor is None else size_divisor
        trained = R.image_size or MIN_TILE // 2
        self.tile_size: int = trained * math.ceil(MIN_TILE / trained) if tile_size is None else tile_size
        self.overlap: int = divisor * round(self.tile_size / 4 / divisor) if overlap is None else overlap
        self.batch_size = batch_size
        self.progress: Callable[[int, int], None] | None = None
        if self.tile_size < 1 or self.tile_size % divisor:
            below = max(divisor, self.tile_size // divisor * divisor)
            raise ValueError(f"tile_size is {self.tile_size}; it must be a multiple of {divisor}: take {below}")
        if not 0 <= self.overlap <= self.tile_size // 2 or self.overlap % divisor:
            raise ValueError(
                f"overlap is {self.overlap}; for tile_size {self.tile_size} it must be a multiple of {divisor} in"
                f" 0..{self.tile_size // 2}"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")

    @property
    def size_divisor(self) -> int:
        """1: images of any size are padded."""
        return 1

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean images.

        Args:
            x_t: (B, C, H, W) degraded images of any size.
            t: (B,) int64 severities in 1..T.
            **cond: conditions, each of B entries.

        Returns:
            x0_hat (B, C, H, W), in the precision of `x_t`.
        """
        height, width = x_t.shape[2:]
        cond = {name: value.expand(len(x_t), *value.shape[1:]) for name, value in self.R.cond.items()} | cond
        images = {name for name, value in cond.items() if value.ndim == 4 and value.shape[2:] == x_t.shape[2:]}
        more = [-side % self.tile_divisor for side in (height, width)]
        padded = reflect_pad(self.R.prepare(x_t, t), *more)
        cond = {name: reflect_pad(value, *more) if name in images else value for name, value in cond.items()}
        if max(padded.shape[2:]) <= self.tile_size:
            return self.R.restore_prepared(padded, t, **cond)[:, :, :height, :width]
        pieces = []
        for i in range(len(padded)):
            own = {name: value[i : i + 1] for name, value in cond.items()}
            pieces.append(self._restore_one(padded[i : i + 1], t[i : i + 1], own, images))
        return torch.cat(pieces)[:, :, :height, :width]

    def offsets(self, side: int) -> list[int]:
        """Return where the tiles begin along a side: as evenly as multiples of the divisor can lie.

        Args:
            side: height or width of the padded image in pixels.

        >>> import degrade
        >>> from restore import FunctionRestorer
        >>> R = FunctionRestorer(lambda x, t: x, degrade.make("blur", T=3))
        >>> TiledRestorer(R, tile_size=16, overlap=4, size_divisor=4).offsets(36)
        [0, 8, 20]
        """
        divisor = self.tile_divisor
        free = max(0, side - self.tile_size) // divisor
        gaps = math.ceil(free * divisor / (self.tile_size - self.overlap))
        return [divisor * (free * i // gaps) for i in range(gaps)] + [divisor * free] if gaps else [0]

    def _restore_one(self, x: Tensor, t: Tensor, cond: dict[str, Tensor], images: set[str]) -> Tensor:
        """Return R of one prepared image (1, C', H, W), tile by tile, row of tiles by row of tiles."""
        rows, columns = self.offsets(x.shape[2]), self.offsets(x.shape[3])
        restored = self._restore_tiles(x, t, cond, images, [(top, left) for top in rows for left in columns])
        out = strip = x
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                tile = next(restored)
                if not j:
                    strip = tile.new_empty(*tile.shape[:3], x.shape[3])
                _blend(strip, tile, left, columns[j - 1] + self.tile_size - left if j else 0)
            if not i:
                out = strip.new_empty(*strip.shape[:2], *x.shape[2:])
            _blend(out.mT, strip.mT, top, rows[i - 1] + self.tile_size - top if i else 0)
        return out

    def _restore_tiles(
        self, x: Tensor, t: Tensor, cond: dict[str, Tensor], images: set[str], corners: list[tuple[int, int]]
    ) -> Iterator[Tensor]:
        """Yield R of the tiles at `corners`, each (1, C, h, w); the conditions `images` are cut as x is."""
        for first, last in pairwise([*range(0, len(corners), self.batch_size), len(corners)]):
            chosen, n = corners[first:last], last - first
            parts = {
                name: self._cut(value, chosen) if name in images else value.expand(n, *value.shape[1:])
                for name, value in cond.items()
            }
            restored = self.R.restore_prepared(self._cut(x, chosen), t.expand(n), **parts)
            if self.progress is not None:
                self.progress(last, len(corners))
            yield from restored.chunk(n)

    def _cut(self, x: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """Return the tiles (n, C, h, w) of one image at `corners`."""
        size = self.tile_size
        return torch.cat([x[..., top : top + size, left : left + size] for top, left in corners])


def _blend(out: Tensor, piece: Tensor, start: int, shared: int) -> None:
    """Write `piece` into `out` from column `start` on, blended with what is there along its first `shared` columns."""
    quarter, width = shared // 4, piece.shape[-1]
    ramp = shared - 2 * quarter
    # In float32 at least, and not in float64 for all: not every device knows it.
    u = (torch.arange(ramp, device=out.device, dtype=compute_dtype(out.dtype)) + 0.5) / max(ramp, 1)
    there = out[..., start + quarter : start + quarter + ramp]
    there.lerp_(piece[..., quarter : quarter + ramp], ((1 - torch.cos(math.pi * u)) / 2).to(out.dtype))
    out[..., start + quarter + ramp : start + width] = piece[..., quarter + ramp :]


def reflect_pad(x: Tensor, bottom: int, right: int) -> Tensor:
    """Return images (..., H, W) continued by reflection at their last row and column, however small they are.

    >>> reflect_pad(torch.tensor([[0, 1, 2]]), 0, 4).tolist()
    [[0, 1, 2, 1, 0, 1, 2]]
    """
    for axis, more in ((-2, bottom), (-1, right)):
        if more:
            side = x.shape[axis]
            index = torch.arange(side + more, device=x.device) % max(1, 2 * side - 2)
            x = x.index_select(axis, torch.minimum(index, 2 * side - 2 - index).clamp(min=0))
    return x
