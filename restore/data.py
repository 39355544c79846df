"""Training data: what is handed to a training, made into images by number or a source of them, and checked.

    handed in                                            read as
    an `MapDataset` set                                     itself
    a tensor or an array of images (N, C, H, W)          images by number
    a pair (images, labels)                              its images by number; the labels are not used
    a map-style data set of images or (image, ...)       its images by number, put together into batches here
    a source, (n, generator) -> images (n, C, H, W)      itself

Images are floating point numbers in [-1, 1], of any precision; training converts them to that of the network. What a
data set draws from torch's global generator of the CPU while it fetches an image (the transforms of torchvision do) is
keyed by the micro-batch, so that a resumed training sees the same images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, IterableDataset

from restore.data_order import Batches, Data, MapDataset

__all__ = ["MapStyle", "TrainingData", "checked", "readable"]

IN_RANGE = "use v / 127.5 - 1 for v in 0..255"
SLACK = 1e-3  # what rounding in half precision may add to 1
KINDS = (
    "a tensor or array of images (N, C, H, W), a pair (images, labels), a data set with len(data) and data[i],"
    " or a function (n, generator) -> images"
)


@runtime_checkable
class MapStyle(Protocol):
    """A data set as those of torch and torchvision: data[i] is an image (C, H, W), or a tuple that begins with one."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def __getitem__(self, number: int) -> Any:
        """Return image `number` in 0..N-1."""


Array = Tensor | np.ndarray[Any, Any]
TrainingData = Data | MapStyle | Array | tuple[Array, Any]


class _Stack:
    """The images (N, C, H, W) of a tensor or an array, by number."""

    def __init__(self, images: Array) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def at(self, index: Tensor, generator: Generator | None = None) -> Tensor:
        if isinstance(self.images, Tensor):
            return self.images[index.to(self.images.device, non_blocking=True)]
        return torch.from_numpy(self.images[index.numpy()])


class _Items:
    """The images of a map-style data set, by number."""

    def __init__(self, items: MapStyle) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: Tensor, generator: Generator | None = None) -> Tensor:
        with torch.random.fork_rng([]):
            if generator is not None:  # its seed is known to the host, even where the generator lives on a device
                torch.default_generator.manual_seed(generator.initial_seed())
            images = [self._image(number) for number in index.tolist()]
        shapes = sorted({tuple(image.shape) for image in images})
        if len(shapes) != 1:
            raise ValueError(
                f"the data set has images of shapes {shapes[0]} and {shapes[1]}; crop or resize them to one"
            )
        return torch.stack(images)

    def _image(self, number: int) -> Tensor:
        item = self.items[number]
        image = item[0] if isinstance(item, Sequence) and not isinstance(item, str) and len(item) else item
        image = torch.tensor(image) if isinstance(image, np.ndarray) else image
        if not isinstance(image, Tensor) or image.ndim != 3:
            raise TypeError(
                f"data[{number}] is {_described(item)}; training needs a tensor (C, H, W) in [-1, 1], or a tuple that"
                " begins with one: give the data set such a transform"
            )
        return image


def readable(data: TrainingData) -> Data:
    """Return what is handed in as images by number, or as the source that it is.

    Raises:
        TypeError: for a data loader, an iterable without numbers, or anything else that gives no images.
        ValueError: for a tensor or an array that is not (N, C, H, W), or labels of another number than images.

    >>> numbered = readable((torch.zeros(5, 3, 8, 8), torch.arange(5)))
    >>> len(numbered), numbered.at(torch.tensor([4, 0])).shape
    (5, torch.Size([2, 3, 8, 8]))
    """
    if isinstance(data, MapDataset):
        return data
    if isinstance(data, DataLoader):
        raise TypeError(
            "the training data is a DataLoader, whose order cannot be resumed; give its data set, loader.dataset:"
            " TrainConfig.batch says how many images a batch has, and every epoch is shuffled"
        )
    if isinstance(data, tuple) and len(data) == 2 and _is_array(data[0]) and data[0].ndim == 4:
        images, labels = data
        if hasattr(labels, "__len__") and len(labels) != len(images):
            raise ValueError(f"the training data has {len(images)} images and {len(labels)} labels; it needs one each")
        data = images
    if _is_array(data):
        if data.ndim != 4:
            raise ValueError(f"the training data is {_described(data)}; a stack of images is (N, C, H, W)")
        return _Stack(data)
    if isinstance(data, MapStyle) and not isinstance(data, str | bytes | dict | type | IterableDataset):
        return _Items(data)
    if callable(data) and not isinstance(data, type):
        return data
    hint = "; stack the images that it iterates over" if isinstance(data, Iterable) else ""
    raise TypeError(f"the training data is {_described(data)}; it must be {KINDS}{hint}")


def checked(at: Batches) -> Batches:
    """Return `at` with a look at every batch: it must be n floating point images (n, C, H, W) in [-1, 1].

    The values of images on the CPU are always looked at, and those of images on a device in the first batch only: the
    host would wait for the device.

    >>> at = checked(lambda position, n, generator: torch.full((n, 1, 2, 2), 255.0))
    >>> at(0, 2, None)
    Traceback (most recent call last):
    ValueError: the training data spans 255..255; images lie in [-1, 1]: use v / 127.5 - 1 for v in 0..255
    """
    first = True

    def fetch(position: int, n: int, generator: Generator | None) -> Tensor:
        nonlocal first
        x0 = at(position, n, generator)
        _expect(x0, n)
        if first or x0.device.type == "cpu":
            low, high = (float(v) for v in torch.aminmax(x0.detach()))
            if not (low >= -1 - SLACK and high <= 1 + SLACK):  # nor if one is not a number
                raise ValueError(f"the training data spans {low:g}..{high:g}; images lie in [-1, 1]: {IN_RANGE}")
        first = False
        return x0

    return fetch


def _expect(x0: Any, n: int) -> None:
    """Raise an error if a batch is not n floating point images."""
    if not isinstance(x0, Tensor):
        raise TypeError(f"the training data gave {_described(x0)}; asked for {n} images it must give a tensor")
    if x0.ndim != 4 or len(x0) != n:
        raise ValueError(f"the training data gave {_described(x0)}; asked for {n} images it must give ({n}, C, H, W)")
    if not x0.is_floating_point():
        raise ValueError(f"the training data gave {_described(x0)}; images are floating point in [-1, 1]: {IN_RANGE}")


def _is_array(value: Any) -> TypeGuard[Array]:
    return isinstance(value, Tensor | np.ndarray)


def _described(value: Any) -> str:
    if _is_array(value):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
