"""Images with what belongs to each of them: a label, a second image, or the z of a degradation.

A second image lies in further channels of the same array, so that both are cropped and mirrored alike. What follows the
image goes into training under the names that `restore.conditions` knows: `label` and `image` are conditions of the
network, `z` is what is random about the degradation, such as the degraded photograph of a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from degrade import Source
from degrade.random import Generators, randint
from experiments.data.images import WindowedImages
from restore.conditions import Cond
from restore.data_order import MapDataset

__all__ = ["Examples", "draw_examples", "take_examples"]


class Examples:
    """Images by number, each with conditions; called as a source, it gives images alone, at random.

    Args:
        images: images with C channels, or with 2 C where each comes with a second image.
        second: the name of the second image; None for images without one.
        cond: tensors of N entries by name.

    Raises:
        ValueError: for an odd number of channels with a second image, or conditions of another number.

    >>> from experiments.data.images import InMemoryImages
    >>> both = InMemoryImages(torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1), 1, flip=False)
    >>> x0, cond = Examples(both, "z", {"label": torch.tensor([3])}).at(torch.tensor([0]))
    >>> x0.item(), cond["z"].item(), cond["label"].item()
    (-1.0, 1.0, 3)
    """

    def __init__(self, images: WindowedImages, second: str | None, cond: Mapping[str, Tensor] = {}) -> None:
        if second and images.shape[1] % 2:
            raise ValueError(f"images have {images.shape[1]} channels; with a second image their number is even")
        for name, values in cond.items():
            if len(values) != len(images):
                raise ValueError(f"there are {len(values)} values of {name} for {len(images)} images; give one each")
        self.images, self.second, self.device = images, second, images.device
        self.cond = {name: values.to(images.device) for name, values in cond.items()}
        self.channels = images.shape[1] // (2 if second else 1)
        if hasattr(images, "prefetch"):  # images that are read ahead stay so
            self.prefetch = images.prefetch

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self.images)

    def __call__(self, n: int, generator: Generators = None) -> Tensor:
        """Return n images (n, C, S, S), drawn with replacement, without what belongs to them."""
        return self.images(n, generator)[:, : self.channels]

    def draw(self, n: int, generator: Generators = None) -> tuple[Tensor, Cond]:
        """Return n images (n, C, S, S), drawn with replacement, and what belongs to them by name."""
        here = torch.empty(0, device=self.device)
        return self.at(randint(len(self), (n,), here, generator).cpu(), generator)

    def partners(self, n: int, generator: Generators = None) -> Tensor:
        """Return n second images (n, C, S, S), drawn with replacement."""
        return self.images(n, generator)[:, self.channels :]

    def at(self, index: Tensor, generator: Generators = None) -> tuple[Tensor, Cond]:
        """Return the images (n, C, S, S) numbered `index` (n,), and what belongs to them by name."""
        both, here = self.images.at(index, generator), index.to(self.device, non_blocking=True)
        cond = {name: values[here] for name, values in self.cond.items()}
        if self.second:
            cond[self.second] = both[:, self.channels :]
        return both[:, : self.channels], cond

    @property
    def sha256(self) -> str:
        """The fingerprint of the images and of what belongs to them."""
        digest = hashlib.sha256(f"{self.images.sha256} {self.second}".encode())
        for name, values in sorted(self.cond.items()):
            digest.update(name.encode() + values.cpu().numpy().tobytes())
        return digest.hexdigest()


def draw_examples(data: Source, n: int, generator: torch.Generator | None = None) -> Tensor | tuple[Tensor, Cond]:
    """Return n images drawn from a source, with what belongs to them if it is of `Examples`."""
    return data.draw(n, generator) if isinstance(data, Examples) else data(n, generator)


def take_examples(data: Source, n: int, generator: Generators = None) -> Tensor | tuple[Tensor, Cond]:
    """Return the first n images of a finite set, or all if it has fewer, with what belongs to them; n of a source.

    Args:
        data: a source, which may also be a `MapDataset`.
        n: number of images, at least 1.
        generator: source of randomness of augmentation and of drawn images.
    """
    if isinstance(data, MapDataset):
        examples: Tensor | tuple[Tensor, Cond] = data.at(torch.arange(min(n, len(data))), generator)
        return examples
    return data(n, generator)  # type: ignore[arg-type]
