"""Random windows of pictures of different sizes at their own resolution, as torchvision's `RandomCrop` cuts them.

The corner of a window is uniform in 0..H_i - S and 0..W_i - S. It is u (H_i - S + 1) / 2^31 rounded down, with a random
integer u in 0..2^31 - 1: every picture takes the same random numbers, whatever its size, and every device computes the
same corner from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.random import Generators, randint
from experiments.data.images import WindowedImages
from experiments.data.packed import PackedImages
from restore.value_range import ValueRange

__all__ = ["VariableSizeImages"]

BITS = 31


class VariableSizeImages(WindowedImages):
    """Pictures of different sizes that are kept in the memory of the host or of a device; see `WindowedImages`.

    Kept on another device than the one it serves, it streams: the pictures that a batch needs are copied over.

    Args:
        images: the pictures, uint8 or floating point, none smaller than the windows.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: device of the windows; that of the pictures by default.
        value_range: the two pixel values that become -1 and 1.
        rotate: whether every window is turned by 0, 90, 180 or 270 degrees, at random.

    Raises:
        ValueError: for pictures of another type, or smaller than the windows.

    >>> wide, high = torch.zeros(3, 8, 12, dtype=torch.uint8), torch.zeros(3, 9, 8, dtype=torch.uint8)
    >>> photographs = VariableSizeImages(PackedImages.pack([wide, high]), 8)
    >>> len(photographs), photographs(5, torch.Generator().manual_seed(0)).shape
    (2, torch.Size([5, 3, 8, 8]))
    """

    def __init__(
        self,
        images: PackedImages,
        size: int,
        flip: bool = True,
        device: torch.device | str | None = None,
        value_range: ValueRange = ValueRange(),
        rotate: bool = False,
    ) -> None:
        if images.pixels.dtype != torch.uint8 and not images.pixels.is_floating_point():
            found = str(images.pixels.dtype).removeprefix("torch.")
            raise ValueError(f"images are {found}; VariableSizeImages needs uint8 or floating point")
        here = images.pixels.device
        place = here if device is None else torch.device(device)
        smallest = int(images.sizes.min())
        super().__init__((len(images), images.channels, smallest, smallest), size, flip, place, value_range, rotate)
        self.images = images
        self.streams = here.type != place.type
        self._corner_count = (images.sizes - size + 1).to(place)  # (N, 2)

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels, the sizes and the order of the pictures."""
        return self.images.sha256

    @property
    def varies(self) -> bool:
        """True: a window lies at random within its picture."""
        return True

    def fetch(self, index: Tensor) -> tuple[PackedImages, Tensor]:
        """Return all pictures, or of those on another device the wanted ones, and where they are among them."""
        if not self.streams:
            return self.images, index.to(self.device, non_blocking=True)
        part = PackedImages.pack([self.images[i] for i in index.tolist()])
        if self.device.type == "cuda":
            part = part.pin_memory()
        return part.to(self.device, non_blocking=True), torch.arange(len(index), device=self.device)

    def _corners(self, index: Tensor, generator: Generators) -> tuple[Tensor, Tensor]:
        """Return the row and the column at which each window of the pictures numbered `index` begins, (n,) each."""
        u = randint(1 << BITS, (len(index), 2), self._here, generator)
        top, left = (u * self._corner_count[index.to(self.device, non_blocking=True)] >> BITS).unbind(1)
        return top, left

    def _gather(self, images: PackedImages, places: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the pixels (n, C, S, S) at rows and columns (n, S, S) of what `fetch` returned."""
        return images.gather(places, rows, columns)
