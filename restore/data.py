"""Training data: what a user passes to `Trainer.run`, made readable by position, and checked.

    data                                                 read as
    a `MapDataset`                                       itself
    a tensor or an array of images (N, C, H, W)          images by number
    a tuple (images, labels, ...)                        images by number, with the rest as conditions if they are named
    a map-style data set of images or (image, ...)       images by number, collated here, with the rest as conditions
    a source, (n, generator) -> images (n, C, H, W)      itself

Images are floating-point numbers in [-1, 1], of any precision; training converts them to that of the network.

A network that takes conditions is called as net(x_t, t, **cond). The conditions come from the data: a dict as second
element, (image, {"label": 3}), is used as it stands. Elements of other types, as in the pairs (image, label) of
torchvision, are named by `cond="label"`; without a name they are *not used*. Sources and `MapDataset` return pairs
(images, dict).

Random numbers that a data set draws from torch's global CPU generator while it reads an image (the transforms of
torchvision do) are keyed by the micro-batch, so that a resumed training sees the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, IterableDataset

from restore.conditions import Cond
from restore.data_order import BatchFetcher, Data, MapDataset

__all__ = ["CheckedFetcher", "MapStyle", "TrainingData", "check_batches", "to_readable"]

IN_RANGE = "use v / 127.5 - 1 for v in 0..255"
SLACK = 1e-3  # what rounding in half precision may add to 1
CheckedFetcher = Callable[[int, int, Generator | None], tuple[Tensor, Cond]]
KINDS = (
    "a tensor or array of images (N, C, H, W), a tuple (images, labels), a data set with len(data) and data[i],"
    " or a function (n, generator) -> images"
)


@runtime_checkable
class MapStyle(Protocol):
    """A data set as in torch and torchvision: data[i] is an image (C, H, W), or a tuple that begins with one."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def __getitem__(self, number: int) -> Any:
        """Return image `number` in 0..N-1."""


Array = Tensor | np.ndarray[Any, Any]
TrainingData = Data | MapStyle | Array | tuple[Any, ...]


class _Stack:
    """The images (N, C, H, W) of a tensor or an array, and conditions of N entries each, by number."""

    def __init__(self, images: Array, cond: Mapping[str, Array]) -> None:
        self.images, self.cond = images, cond

    def __len__(self) -> int:
        return len(self.images)

    def at(self, index: Tensor, generator: Generator | None = None) -> tuple[Tensor, Cond]:
        return _rows(self.images, index), {name: _rows(values, index) for name, values in self.cond.items()}


def _rows(values: Array, index: Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values[index.to(values.device, non_blocking=True)]
    return torch.from_numpy(values[index.numpy()])


class _Items:
    """The images of a map-style data set, and their conditions, by number."""

    def __init__(self, items: MapStyle, names: tuple[str, ...]) -> None:
        self.items, self.names = items, names

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: Tensor, generator: Generator | None = None) -> tuple[Tensor, Cond]:
        with torch.random.fork_rng([]):
            if generator is not None:  # its seed is known to the host, even where the generator lives on a device
                torch.default_generator.manual_seed(generator.initial_seed())
            images, conds = zip(*map(self._example, index.tolist()), strict=True)
        names = conds[0].keys()
        if any(cond.keys() != names for cond in conds):
            raise ValueError("the data set has images with different conditions; every image needs the same names")
        cond = {name: _collate([torch.as_tensor(cond[name]) for cond in conds], f"conditions {name}") for name in names}
        return _collate(images, "images"), cond

    def _example(self, number: int) -> tuple[Tensor, Mapping[str, Any]]:
        item = self.items[number]
        parts = tuple(item) if isinstance(item, Sequence) and not isinstance(item, str) and len(item) else (item,)
        image = torch.tensor(parts[0]) if isinstance(parts[0], np.ndarray) else parts[0]
        if not isinstance(image, Tensor) or image.ndim != 3:
            raise TypeError(
                f"data[{number}] is {_describe(item)}; training needs a tensor (C, H, W) in [-1, 1], or a tuple that"
                " begins with one: give the data set such a transform"
            )
        return image, _named(parts[1:], self.names, f"data[{number}]")


def _collate(values: Sequence[Tensor], what: str) -> Tensor:
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) != 1:
        raise ValueError(f"the data set has {what} of shapes {shapes[0]} and {shapes[1]}; crop or resize them to one")
    return torch.stack(list(values))


def _named(parts: tuple[Any, ...], names: tuple[str, ...], where: str) -> Mapping[str, Any]:
    """Return the conditions among the elements that follow an image.

    Raises:
        ValueError: if there are fewer elements than names, or names for a dict, which has its own.
    """
    if len(parts) == 1 and isinstance(parts[0], Mapping):
        if names:
            raise ValueError(f"{where} names its conditions itself, {', '.join(parts[0])}; leave out cond={names!r}")
        return parts[0]
    if len(parts) < len(names):
        raise ValueError(f"cond={names!r} names {len(names)} conditions, and {where} has {len(parts)} after the image")
    return dict(zip(names, parts))


def to_readable(data: TrainingData, cond: str | Sequence[str] = ()) -> Data:
    """Return training data as a `MapDataset` or a source.

    Args:
        data: see the module.
        cond: names of the elements that follow the image in the tuples of `data`: the keyword arguments with which the
            network gets them. Elements without a name are not used.

    Raises:
        TypeError: for a data loader, an iterable without numbers, or anything else that gives no images.
        ValueError: for a tensor or an array that is not (N, C, H, W), conditions of another number than images, or
            names for data that names its conditions itself.

    >>> faces = to_readable((torch.zeros(5, 3, 8, 8), torch.arange(5)), cond="label")
    >>> images, cond = faces.at(torch.tensor([4, 0]))
    >>> images.shape, cond
    (torch.Size([2, 3, 8, 8]), {'label': tensor([4, 0])})
    """
    names = (cond,) if isinstance(cond, str) else tuple(cond)
    if isinstance(data, DataLoader):
        raise TypeError(
            "the training data is a DataLoader, whose order cannot be resumed; give its data set, loader.dataset:"
            " TrainConfig.batch_size says how many images a step has, and every epoch is shuffled"
        )
    if isinstance(data, MapDataset):
        return _without_names(data, names)
    if isinstance(data, tuple) and len(data) > 1 and _is_array(data[0]) and data[0].ndim == 4:
        return _stack(data[0], data[1:], names)
    if _is_array(data):
        return _stack(data, (), names)
    if isinstance(data, MapStyle) and not isinstance(data, str | bytes | dict | type | IterableDataset):
        return _Items(data, names)
    if callable(data) and not isinstance(data, type):
        return _without_names(data, names)
    hint = "; stack the images that it iterates over" if isinstance(data, Iterable) else ""
    raise TypeError(f"the training data is {_describe(data)}; it must be {KINDS}{hint}")


def _without_names(data: Data, names: tuple[str, ...]) -> Data:
    if names:
        raise ValueError(
            f"cond={names!r} names elements of tuples (image, ...), and the training data is {_describe(data)}; let it"
            " return (images, {name: tensor})"
        )
    return data


def _stack(images: Array, parts: tuple[Any, ...], names: tuple[str, ...]) -> _Stack:
    if images.ndim != 4:
        raise ValueError(f"the training data is {_describe(images)}; a stack of images is (N, C, H, W)")
    cond = _named(parts, names, "the training data")
    for part in (
        *(part for part in parts if hasattr(part, "__len__") and not isinstance(part, Mapping)),
        *cond.values(),
    ):
        if hasattr(part, "__len__") and len(part) != len(images):
            raise ValueError(f"the training data has {len(images)} images and {len(part)} labels; it needs one each")
    return _Stack(images, {name: v if _is_array(v) else torch.as_tensor(v) for name, v in cond.items()})


def check_batches(at: BatchFetcher) -> CheckedFetcher:
    """Return `at` with a check of every batch, and with the conditions as a dict, empty if there are none.

    A batch must have n floating-point images (n, C, H, W) in [-1, 1] and conditions of n entries. Values are checked in
    every batch on the CPU, and on a device in the first batch only, since the host has to wait for them.

    >>> at = check_batches(lambda position, n, generator: torch.full((n, 1, 2, 2), 255.0))
    >>> at(0, 2, None)
    Traceback (most recent call last):
    ValueError: the training data spans 255..255; images lie in [-1, 1]: use v / 127.5 - 1 for v in 0..255
    """
    first = True

    def fetch(position: int, n: int, generator: Generator | None) -> tuple[Tensor, Cond]:
        nonlocal first
        given = at(position, n, generator)
        pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict)
        x0, cond = cast("tuple[Tensor, Cond]", given if pair else (given, {}))
        _expect_images(x0, n)
        _expect_cond(cond, n)
        if first or x0.device.type == "cpu":
            low, high = (float(v) for v in torch.aminmax(x0.detach()))
            if not (low >= -1 - SLACK and high <= 1 + SLACK):  # also for a value that is not a number
                raise ValueError(f"the training data spans {low:g}..{high:g}; images lie in [-1, 1]: {IN_RANGE}")
        first = False
        return x0, cond

    return fetch


def _expect_images(x0: Any, n: int) -> None:
    """Raise an error if a batch is not n floating-point images."""
    if not isinstance(x0, Tensor):
        raise TypeError(
            f"the training data gave {_describe(x0)}; asked for {n} images it must give a tensor, or a pair of a tensor"
            " and a dict of conditions"
        )
    if x0.ndim != 4 or len(x0) != n:
        raise ValueError(f"the training data gave {_describe(x0)}; asked for {n} images it must give ({n}, C, H, W)")
    if not x0.is_floating_point():
        raise ValueError(f"the training data gave {_describe(x0)}; images are floating point in [-1, 1]: {IN_RANGE}")


def _expect_cond(cond: Mapping[Any, Any], n: int) -> None:
    """Raise an error if conditions are not tensors of n entries by name."""
    for name, value in cond.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(f"the training data gave the condition {name!r}: {_describe(value)}; it must give a tensor")
        if not value.ndim or len(value) != n:
            raise ValueError(f"the training data gave the condition {name} {_describe(value)} for {n} images")


def _is_array(value: Any) -> TypeGuard[Array]:
    return isinstance(value, Tensor | np.ndarray)


def _describe(value: Any) -> str:
    if _is_array(value):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
