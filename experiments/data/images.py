"""Sets of images in memory: decoded once, handed out as windows in [-1, 1], by number or at random."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from degrade.random import Generators, rand, randint
from restore.value_range import ValueRange

__all__ = ["InMemoryImages", "WindowedImages"]


class WindowedImages:
    """Images (N, C, M, M) of which S x S windows are handed out, float32 in [-1, 1], at random places if M > S.

    It is a `Source` (random images) and a `MapDataset` (images by number). A subclass says where the pixels are.

    Args:
        shape: (N, C, M, M), M >= size.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: where the windows go.
        value_range: of the pixels; what becomes -1 and 1.

    Raises:
        ValueError: for images of another shape, none at all, or smaller ones than the windows.
    """

    def __init__(
        self, shape: tuple[int, ...], size: int, flip: bool, device: torch.device, value_range: ValueRange
    ) -> None:
        if not shape[0] or not 1 <= size <= shape[-1]:
            raise ValueError(f"size is {size} for images {tuple(shape)}; it must be 1..M, of at least one image")
        self.shape, self.size, self.flip, self.device, self.value_range = tuple(shape), size, flip, device, value_range
        self._here = torch.empty(0, device=device)  # where random numbers go

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (K, C, M, M) on the device, and the places (n,) of those numbered `index` among them."""
        raise NotImplementedError(f"{type(self).__name__} does not define fetch(index)")

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels and their order."""
        raise NotImplementedError(f"{type(self).__name__} does not define sha256")

    def __len__(self) -> int:
        """Return the number of images."""
        return self.shape[0]

    def __call__(self, n: int, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of n images, drawn with replacement."""
        return self.at(randint(len(self), (n,), self._here, generator), generator)

    def at(self, index: Tensor, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of the images that are numbered `index` (n,) int64."""
        images, index = self.fetch(index)
        margin = images.shape[-1] - self.size
        if not (margin or self.flip):
            return self.value_range.normalize(images[index])
        n, pixel = len(index), torch.arange(self.size, device=self.device)
        top, left = randint(margin + 1, (n, 2, 1), self._here, generator).unbind(1)
        reflect_pad = rand((n, 1), self._here, generator) < (0.5 if self.flip else 0.0)
        if self.device.type == "cpu":
            return self.value_range.normalize(self._sliced(images[index], top.flatten(), left.flatten(), reflect_pad))
        columns = torch.where(reflect_pad, self.size - 1 - pixel, pixel) + left
        rows = top + pixel
        window = images[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return self.value_range.normalize(window.permute(0, 3, 1, 2))

    def _sliced(self, images: Tensor, top: Tensor, left: Tensor, mirror: Tensor) -> Tensor:
        """Return the windows by slices, which on the host is ten times faster than by indices."""
        S, windows = self.size, []
        for image, y, x, flip in zip(images, top.tolist(), left.tolist(), mirror.flatten().tolist(), strict=True):
            window = image[:, y : y + S, x : x + S]
            windows.append(window.flip(-1) if flip else window)
        return torch.stack(windows)


class InMemoryImages(WindowedImages):
    """Images that are kept in the memory of the host or of a device; see `WindowedImages`.

    Kept on another device than the one it serves, it streams: what a batch needs is copied over.

    Args:
        images: (N, C, M, M) uint8 or floating point, M >= size.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: where the windows go; that of the images by default.
        value_range: of the pixels.

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
    ) -> None:
        right = images.dtype == torch.uint8 or images.is_floating_point()
        if not right or images.ndim != 4 or images.shape[2] != images.shape[3]:
            found = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"images are {found}; InMemoryImages needs (N, C, M, M), uint8 or floating point")
        place = images.device if device is None else torch.device(device)
        super().__init__(tuple(images.shape), size, flip, place, value_range)
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
