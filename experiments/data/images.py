"""Sets of images in memory: decoded once, handed out as windows in [-1, 1], by number or at random.

Images of one size are `InMemoryImages`; for pictures of different sizes see `experiments.data.variable_size`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from degrade.random import Generators, rand, randint
from restore.value_range import ValueRange

__all__ = ["InMemoryImages", "WindowedImages"]


class WindowedImages:
    """Images (N, C, M, M) of which S x S windows are handed out, float32 in [-1, 1], at random places if M > S.

    It is a `Source` (random images) and a `MapDataset` (images by number). A subclass says where the pixels are, and
    for images of another shape, where windows may begin and how they are cut out.

    Args:
        shape: (N, C, M, M), M >= size.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: device of the windows.
        value_range: the two pixel values that become -1 and 1.
        rotate: whether every window is turned by 0, 90, 180 or 270 degrees, at random.

    Raises:
        ValueError: for images of another shape, none at all, or smaller ones than the windows.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        size: int,
        flip: bool,
        device: torch.device,
        value_range: ValueRange,
        rotate: bool = False,
    ) -> None:
        if not shape[0] or not 1 <= size <= shape[-1]:
            raise ValueError(f"size is {size} for images {tuple(shape)}; it must be 1..M, of at least one image")
        self.shape, self.size, self.device, self.value_range = tuple(shape), size, device, value_range
        self.flip, self.rotate = flip, rotate
        self._here = torch.empty(0, device=device)  # where random numbers go

    def fetch(self, index: Tensor) -> tuple[Any, Tensor]:
        """Return images (K, C, M, M) on the device, and the places (n,) of those numbered `index` among them."""
        raise NotImplementedError(f"{type(self).__name__} does not define fetch(index)")

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels and their order."""
        raise NotImplementedError(f"{type(self).__name__} does not define sha256")

    @property
    def varies(self) -> bool:
        """Whether the window of an image depends on random numbers."""
        return self.flip or self.rotate or self.shape[2:] != (self.size, self.size)

    def __len__(self) -> int:
        """Return the number of images."""
        return self.shape[0]

    def __call__(self, n: int, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of n images, drawn with replacement."""
        return self.at(randint(len(self), (n,), self._here, generator), generator)

    def at(self, index: Tensor, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of the images that are numbered `index` (n,) int64."""
        images, places = self.fetch(index)
        if not self.varies:
            return self.value_range.normalize(images[places])
        top, left = self._corners(index, generator)
        n = len(index)
        mirror = rand((n,), self._here, generator) < (0.5 if self.flip else 0.0)
        turns = randint(4, (n,), self._here, generator) if self.rotate else torch.zeros_like(top)
        if self.device.type == "cpu":  # by slices, which on the host is ten times faster than by indices
            drawn = zip(places.tolist(), top.tolist(), left.tolist(), mirror.tolist(), turns.tolist(), strict=True)
            windows = [_turned(self._slice(images, place, y, x), flip, k) for place, y, x, flip, k in drawn]
            return self.value_range.normalize(torch.stack(windows))
        rows, columns = _turned_grid(self.size, mirror, turns)
        rows, columns = rows + top.view(-1, 1, 1), columns + left.view(-1, 1, 1)
        return self.value_range.normalize(self._gather(images, places, rows, columns))

    def _corners(self, index: Tensor, generator: Generators) -> tuple[Tensor, Tensor]:
        """Return the row and the column at which each window of the images numbered `index` begins, (n,) each."""
        excess = self.shape[-1] - self.size
        top, left = randint(excess + 1, (len(index), 2), self._here, generator).unbind(1)
        return top, left

    def _slice(self, images: Any, place: int, top: int, left: int) -> Tensor:
        """Return one window (C, S, S) of what `fetch` returned."""
        window: Tensor = images[place][:, top : top + self.size, left : left + self.size]
        return window

    def _gather(self, images: Any, places: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the pixels (n, C, S, S) at rows and columns (n, S, S) of what `fetch` returned."""
        pixels: Tensor = images[places[:, None, None], :, rows, columns]
        return pixels.permute(0, 3, 1, 2)


def _turned(window: Tensor, flip: bool, turns: int) -> Tensor:
    """Return a window (C, S, S) mirrored, and then turned counterclockwise by so many right angles."""
    return torch.rot90(window.flip(-1) if flip else window, turns, (1, 2))


def _turned_grid(size: int, mirror: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns (n, S, S) from which `_turned` takes its pixels."""
    pixel = torch.arange(size, device=turns.device)
    row, column, back = pixel.view(1, size, 1), pixel.view(1, 1, size), size - 1
    turns, mirror = turns.view(-1, 1, 1), mirror.view(-1, 1, 1)
    odd = turns % 2 == 1
    rows, columns = torch.where(odd, column, row), torch.where(odd, row, column)
    rows = torch.where(turns >= 2, back - rows, rows)
    columns = torch.where(((turns == 1) | (turns == 2)) != mirror, back - columns, columns)
    return rows, columns


class InMemoryImages(WindowedImages):
    """Images that are kept in the memory of the host or of a device; see `WindowedImages`.

    Kept on another device than the one it serves, it streams: what a batch needs is copied over.

    Args:
        images: (N, C, M, M) uint8 or floating point, M >= size.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: device of the windows; that of the images by default.
        value_range: the two pixel values that become -1 and 1.
        rotate: whether every window is turned by 0, 90, 180 or 270 degrees, at random.

    Raises:
        ValueError: for images of another type or shape, none at all, or smaller ones than the windows.

    >>> faces = InMemoryImages(torch.full((5, 3, 9, 9), 255, dtype=torch.uint8), 8)
    >>> faces(2, torch.Generator().manual_seed(0)).shape, faces.at(torch.tensor([4])).max().item()
    (torch.Size([2, 3, 8, 8]), 1.0)
    """

    def __init__(
        self,
        images: Tensor,
        size: int,
        flip: bool = True,
        device: torch.device | str | None = None,
        value_range: ValueRange = ValueRange(),
        rotate: bool = False,
    ) -> None:
        right = images.dtype == torch.uint8 or images.is_floating_point()
        if not right or images.ndim != 4 or images.shape[2] != images.shape[3]:
            found = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"images are {found}; InMemoryImages needs (N, C, M, M), uint8 or floating point")
        place = images.device if device is None else torch.device(device)
        super().__init__(tuple(images.shape), size, flip, place, value_range, rotate)
        self.images = images
        self.streams = images.device.type != self.device.type

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels and their order."""
        images = self.images.cpu().contiguous()
        digest = hashlib.sha256(str(tuple(images.shape)).encode())
        digest.update(images.view(-1).numpy().data)
        return digest.hexdigest()

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return all images, or of those on another device the wanted ones, and where they are among them."""
        if not self.streams:
            return self.images, index.to(self.device, non_blocking=True)
        part = self.images[index.to(self.images.device)]
        if self.device.type == "cuda":
            part = part.pin_memory()  # without which the copy would make the host wait
        return part.to(self.device, non_blocking=True), torch.arange(len(index), device=self.device)
