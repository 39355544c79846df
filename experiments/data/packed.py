"""Images of different sizes in one tensor, one after the other.

Channel c, row y and column x of image i is `pixels[offset_i + (c H_i + y) W_i + x]`. So pixels of many images are
gathered by one index, on any device and without a loop over images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["PackedImages"]


@dataclass(frozen=True, eq=False)
class PackedImages:
    """Images (C, H_i, W_i), i = 0..N-1.

    Args:
        pixels: (P,) the values of all images, in the order of channels, rows and columns.
        sizes: (N, 2) int64 height and width of each, on the device of `pixels`.
        channels: C.

    >>> wide, high = torch.arange(6).view(1, 2, 3), torch.arange(2).view(1, 2, 1)
    >>> both = PackedImages.pack([wide, high])
    >>> len(both), both[0].shape, both[1].flatten().tolist()
    (2, torch.Size([1, 2, 3]), [0, 1])
    """

    pixels: Tensor
    sizes: Tensor
    channels: int

    @classmethod
    def pack(cls, images: Sequence[Tensor]) -> PackedImages:
        """Return images (C, H_i, W_i), at least one, of one type and number of channels.

        Raises:
            ValueError: for none, or images with different numbers of dimensions, channels or types.
        """
        kinds = sorted({(str(image.dtype).removeprefix("torch."), *image.shape[:-2]) for image in images})
        if len(kinds) != 1 or len(kinds[0]) != 2:
            found = ", ".join(map(str, kinds)) or "none"
            raise ValueError(f"images of type and channels {found}; give (C, H, W) images of one type and one C")
        sizes = torch.tensor([image.shape[-2:] for image in images])
        return cls(torch.cat([image.reshape(-1) for image in images]), sizes, images[0].shape[0])

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self.sizes)

    def __getitem__(self, number: int) -> Tensor:
        """Return image `number` (C, H, W), a view; on a device the host waits for its size."""
        height, width = self.sizes[number].tolist()
        first = int(self.offsets[number])
        return self.pixels[first : first + self.channels * height * width].view(self.channels, height, width)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the images."""
        return (self[number] for number in range(len(self)))

    @cached_property
    def offsets(self) -> Tensor:
        """The place (N,) in `pixels` at which each image begins."""
        lengths = self.channels * self.sizes.prod(1)
        return lengths.cumsum(0) - lengths

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels, the sizes and the order of the images."""
        digest = hashlib.sha256(f"{self.channels} {self.sizes.tolist()}".encode())
        digest.update(self.pixels.cpu().numpy().data)
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """The bytes of all pixels."""
        return self.pixels.nbytes

    def to(self, device: torch.device, non_blocking: bool = False) -> PackedImages:
        """Return the images on a device."""
        pixels, sizes = (v.to(device, non_blocking=non_blocking) for v in (self.pixels, self.sizes))
        return PackedImages(pixels, sizes, self.channels)

    def pin_memory(self) -> PackedImages:
        """Return the images in pinned memory, from which a copy to a GPU does not make the host wait."""
        return PackedImages(self.pixels.pin_memory(), self.sizes.pin_memory(), self.channels)

    def gather(self, numbers: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return pixels (n, C, ...) of the images `numbers` (n,) at rows and columns (n, ...), without a wait."""
        more = [1] * (rows.ndim - 1)
        height, width = (side.view(-1, 1, *more) for side in self.sizes[numbers].unbind(1))
        channel = torch.arange(self.channels, device=rows.device).view(1, -1, *more)
        first = self.offsets[numbers].view(-1, 1, *more)
        return self.pixels[first + (channel * height + rows[:, None]) * width + columns[:, None]]
