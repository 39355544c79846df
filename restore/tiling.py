"""Tiles: a restorer for images of any size, from a network that sees small ones.

    R(x) = blend of R(tile_i),   tile_i = x[p_i : p_i + size]

What needs whole images, such as the linear inverse that a network sees, is computed before they are cut (`R.prepare`).
The image is continued by reflection to sides that divide by the network's `stride`, cut into tiles that share at least
`overlap` pixels with their neighbors, restored a few tiles at a time, and joined: before the overlap of two tiles
counts the one, behind it the other, and in between, on the middle half of the overlap, the weight of the second rises

    w(u) = (1 - cos pi u) / 2,    out = first + w (second - first)

so the weights sum to one, and where two tiles agree the result is bit for bit what they say. The quarters of the
overlap next to a cut have weight 0: what the network makes of an edge that is no edge of the image is not used. Tiles
start at multiples of the stride. So an R whose output depends on no pixel further away than overlap / 4 gives what it
would give for the whole image, and there is no seam; one that looks further (attention, group norms) is blended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from degrade.functional.levels import compute_dtype
from restore.base_restorer import BaseRestorer

__all__ = ["TiledRestorer", "reflect_pad"]


class TiledRestorer(nn.Module):
    """R on images of any size: (x_t (B, C, H, W), t (B,)) -> x0_hat (B, C, H, W), one tile's memory at a time.

    An image no larger than a tile goes through in one piece, and unchanged if its sides divide by the stride.

    Args:
        R: restores images whose sides divide by `stride`.
        size: side of a tile; by default the multiple of the side the network was trained on that reaches 128.
        overlap: pixels that neighboring tiles share at least; by default a quarter of a tile.
        stride: what the sides of R's images must divide by; by default what the network says, else 1.
        batch: tiles in one call of R.

    `progress`, None at first, may be set to a function: it is called with (tiles done, tiles in all) after every batch
    of the tiles of an image.

    Raises:
        ValueError: unless stride divides size and overlap, and overlap is at most half of size.

    >>> blurred = TiledRestorer(lambda x, t: torch.nn.functional.avg_pool2d(x, 3, 1, 1), size=16, overlap=8)
    >>> x, t = torch.rand(1, 3, 45, 70, dtype=torch.float64), torch.tensor([1])
    >>> torch.equal(blurred(x, t), blurred.R(x, t))
    True
    """

    def __init__(
        self,
        R: Callable[[Tensor, Tensor], Tensor],
        size: int | None = None,
        overlap: int | None = None,
        stride: int | None = None,
        batch: int = 8,
    ) -> None:
        super().__init__()
        self.R = R
        net = getattr(R, "net", R)
        own: int = getattr(net, "size_divisor", 1)
        self.stride = own if stride is None else stride
        trained: int = getattr(getattr(net, "config", None), "image_size", 64)
        self.size: int = trained * math.ceil(128 / trained) if size is None else size
        self.overlap: int = self.stride * round(self.size / 4 / self.stride) if overlap is None else overlap
        self.batch = batch
        self.progress: Callable[[int, int], None] | None = None
        if self.size < 1 or self.size % self.stride:
            below = max(self.stride, self.size // self.stride * self.stride)
            raise ValueError(f"a tile of {self.size} pixels: it must be a multiple of {self.stride}: take {below}")
        if not 0 <= self.overlap <= self.size // 2 or self.overlap % self.stride or batch < 1:
            raise ValueError(
                f"tiles of {self.size} that overlap by {self.overlap}, {batch} at a time: the overlap must be a"
                f" multiple of {self.stride} in 0..{self.size // 2}, and at least one tile goes at a time"
            )

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Guess the clean images."""
        height, width = x_t.shape[2:]
        prepared = self.R.prepare(x_t, t) if isinstance(self.R, BaseRestorer) else x_t
        padded = reflect_pad(prepared, *(-side % self.stride for side in (height, width)))
        if max(padded.shape[2:]) <= self.size:
            return self._restore(padded, t)[:, :, :height, :width]
        return torch.cat([self._joined(x[None], t[i : i + 1]) for i, x in enumerate(padded)])[:, :, :height, :width]

    def _restore(self, prepared: Tensor, t: Tensor) -> Tensor:
        return self.R.restore_prepared(prepared, t) if isinstance(self.R, BaseRestorer) else self.R(prepared, t)

    def starts(self, side: int) -> list[int]:
        """Return where the tiles begin along a side: as evenly as multiples of the stride can lie.

        >>> TiledRestorer(lambda x, t: x, size=16, overlap=4, stride=4).starts(36)
        [0, 8, 20]
        """
        free = max(0, side - self.size) // self.stride
        gaps = math.ceil(free * self.stride / (self.size - self.overlap))
        return [self.stride * (free * i // gaps) for i in range(gaps)] + [self.stride * free] if gaps else [0]

    def _joined(self, x: Tensor, t: Tensor) -> Tensor:
        """Return R of one prepared image (1, C', H, W), tile by tile, row of tiles by row of tiles."""
        rows, columns = self.starts(x.shape[2]), self.starts(x.shape[3])
        restored = self._restored(x, t, [(top, left) for top in rows for left in columns])
        out = strip = x
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                tile = next(restored)
                if not j:
                    strip = tile.new_empty(*tile.shape[:3], x.shape[3])
                _join(strip, tile, left, columns[j - 1] + self.size - left if j else 0)
            if not i:
                out = strip.new_empty(*strip.shape[:2], *x.shape[2:])
            _join(out.mT, strip.mT, top, rows[i - 1] + self.size - top if i else 0)
        return out

    def _restored(self, x: Tensor, t: Tensor, corners: list[tuple[int, int]]) -> Iterator[Tensor]:
        """Yield R of the tiles at `corners`, each (1, C, h, w)."""
        cuts = [*range(0, len(corners), self.batch), len(corners)]
        for first, last in pairwise(cuts):
            tiles = [x[..., top : top + self.size, left : left + self.size] for top, left in corners[first:last]]
            restored = self._restore(torch.cat(tiles), t.expand(len(tiles)))
            if self.progress is not None:
                self.progress(last, len(corners))
            yield from restored.chunk(len(tiles))


def _join(out: Tensor, piece: Tensor, start: int, shared: int) -> None:
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
