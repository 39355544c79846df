"""The data of an experiment: what `--data` names, as a training set and a held-out one.

`drawn` (faces) and `drawn-animals` are drawn by this project, endlessly, and need no files. `mnist`, `cifar10` and so
on are sets of torchvision, in --data-dir or fetched into it with --download; `hf:NAME_OR_FOLDER` is a set of the
library `datasets`. Everything else is a zip, a folder or a store.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from degrade import Source
from degrade.command_line import UsageError
from degrade.functional.luma import luma
from degrade.random import Generators, seeded_generator
from experiments.data.archives import Split, from_path, from_torchvision
from experiments.data.constants import TORCHVISION
from experiments.data.decoding import DecodedSet, Entry, decode_set
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.examples import Examples
from experiments.data.hf import PREFIX, from_datasets
from experiments.data.images import InMemoryImages, WindowedImages
from experiments.data.labels import class_names, read_labels, to_numbers
from experiments.data.options import DataOptions, ExampleOptions, LabelOptions, PictureOptions
from experiments.data.packed import PackedImages
from experiments.data.store import StoredImages, is_store
from experiments.data.stored import open_stores
from experiments.data.variable_size import VariableSizeImages
from restore import DatasetInfo
from restore.conditions import Cond
from restore.value_range import ValueRange

__all__ = ["Datasets", "load_data", "load_examples", "load_labeled", "read_split"]

DRAWN: dict[str, type[DrawnFaces | DrawnAnimals]] = {"drawn": DrawnFaces, "drawn-animals": DrawnAnimals}


class Datasets(NamedTuple):
    """A set to train on, and one to measure on that training never sees; both of images (n, channels, S, S).

    Args:
        name: name of the data.
        training: called, it draws images (n, channels, S, S); finite sets are also read by number.
        validation: the same, of images that training never sees.
        channels: number of channels of an image.
        value_range: the two values that became -1 and 1; None for 8-bit pictures.
        classes: names of the classes of the condition `label`.
    """

    name: str
    training: Source
    validation: Source
    channels: int
    value_range: ValueRange | None = None
    classes: tuple[str, ...] = ()

    @property
    def spec(self) -> DatasetInfo:
        """What the training set is, with its fingerprint if it is finite."""
        data = self.training
        if not isinstance(data, WindowedImages | Examples):
            return DatasetInfo(self.name)
        windows = isinstance(data.images if isinstance(data, Examples) else data, VariableSizeImages)
        return DatasetInfo(self.name, len(data), data.sha256, self.value_range, self.classes, windows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of measurements and pictures has to know of data that are not 8-bit pictures in gray or RGB."""
        found = []
        if self.value_range is not None:
            low, high = self.value_range.low, self.value_range.high
            found.append(f"An RMSE of 1 is the range of the values, {low:g}..{high:g}: 0.01 is {(high - low) / 100:g}.")
        if self.channels not in (1, 3):
            shown = "first 3" if self.channels > 3 else "first"
            found.append(f"Pictures show the {shown} of {self.channels} channels.")
        return tuple(found)

    @property
    def partners(self) -> Datasets | None:
        """The degraded images of pairs as a data set of their own; None for other data."""
        training, validation = self.training, self.validation
        if not isinstance(training, Examples) or not isinstance(validation, Examples) or training.second != "z":
            return None
        return Datasets(self.name, training.partners, validation.partners, self.channels, self.value_range)

    @property
    def network_arguments(self) -> dict[str, int]:
        """The arguments of a network that sees what belongs to the images: a class, a second image."""
        seen = {"num_classes": len(self.classes)} if self.classes else {}
        second = isinstance(self.training, Examples) and self.training.second == "image"
        return {**seen, **({"cond_channels": self.channels} if second else {})}


def load_data(options: DataOptions, size: int, seed: int, device: torch.device, name: str, option: str) -> Datasets:
    """Return the data called `name`.

    Args:
        options: options that say how pictures are read.
        size: side S of the images.
        seed: seed of what is held out.
        device: device of the batches.
        name: value of the option `option`.
        option: name of the option, for messages.

    Raises:
        UsageError: if there is no such data, or none of it can be used.
    """
    if name in DRAWN:
        drawn: Source = DRAWN[name](size, device)
        source = gray(drawn) if options.channels == "1" else drawn
        return Datasets(name, source, source, 1 if options.channels == "1" else 3)
    parts = _parts(options, size, seed, device, (name, option))
    return Datasets(name, *parts.windows, parts.channels, parts.value_range)


class _Parts(NamedTuple):
    """A set to train on and one to measure on: images, for each its name and what opens it, and what they are.

    Args:
        windows: the images of both.
        entries: the pictures that they are of.
        channels: number of channels of a picture; images of pairs have twice as many.
        value_range: the two values that became -1 and 1; None for 8-bit pictures.
        root: beginning of all names.
    """

    windows: tuple[WindowedImages, WindowedImages]
    entries: tuple[list[Entry], list[Entry]]
    channels: int
    value_range: ValueRange | None
    root: str


def _parts(
    options: DataOptions, size: int, seed: int, device: torch.device, named: tuple[str, str], second: str | None = None
) -> _Parts:
    """Return the data that an option names, `named` = (its value, the option); with second images if these are named.

    Raises:
        UsageError: if there is no such data, or none of it can be used.
    """
    name, option = named
    if is_store(Path(name)):
        try:
            return _stored(options, size, seed, device, named, second)
        except (ValueError, OSError) as error:
            raise UsageError(f"{option} {name}: {error}") from None
    split = read_split(options, name, seed, option, second)
    sets = _read_sets(options, size, split, option, name)
    training, validation = (_windows(options, size, part, device, i) for i, part in enumerate(sets))
    kept = ([entries[i] for i in part.kept] for entries, part in zip(split, sets, strict=True))
    values = options.resize_policy(size).value_range
    return _Parts((training, validation), (next(kept), next(kept)), sets[0].channels, values, name)


def _stored(
    options: DataOptions, size: int, seed: int, device: torch.device, named: tuple[str, str], second: str | None
) -> _Parts:
    """Return a store of images, one in eight of which is held out; they are read from disk when they are needed."""
    store, entries, root = open_stores(Path(named[0]), None if second is None else Path(second), named[1])
    order = torch.randperm(len(store), generator=seeded_generator("cpu", seed, "held out"))
    channels, count = store.index.shape[-1] // (1 if second is None else 2), max(1, len(store) // 8)
    numbers = (order[count:] if len(store) > 1 else order, order[:count])
    flip = channels == 3 if options.flip is None else options.flip
    training, validation = (
        StoredImages(store, size, flip and i == 0, device, part, options.rotate and i == 0)
        for i, part in enumerate(numbers)
    )
    own = ([entries[i] for i in part.tolist()] for part in numbers)
    return _Parts((training, validation), (next(own), next(own)), channels, store.index.value_range, root)


def load_examples(options: ExampleOptions, size: int, seed: int, device: torch.device) -> Datasets:
    """Return the data of a run: those of --pairs or --data, with what belongs to each image.

    Args:
        options: options that say which data are read, and how.
        size: side S of the images.
        seed: seed of what is held out.
        device: device of the batches.

    Raises:
        UsageError: if there is no such data, none of it can be used, or nothing can belong to it.
    """
    if options.pairs and options.cond_images:
        raise UsageError("--pairs and --cond-images both name second images; give one of them")
    if options.pairs:
        return _with_belongings(options, size, seed, device, options.pairs[0], ("z", options.pairs[1]))
    second = None if options.cond_images is None else ("image", options.cond_images)
    return _with_belongings(options, size, seed, device, options.data, second)


def load_labeled(options: LabelOptions, size: int, seed: int, device: torch.device) -> Datasets:
    """Return the data of --data, with the class of each image if there are --labels; arguments as `load_examples`.

    Raises:
        UsageError: if there is no such data, none of it can be used, or it has no labels.
    """
    return _with_belongings(options, size, seed, device, options.data, None)


def _with_belongings(
    options: LabelOptions, size: int, seed: int, device: torch.device, name: str, second: tuple[str, str] | None
) -> Datasets:
    """Return data with labels, if the options name them, and with `second`: name and place of the second images."""
    kind, place = second or (None, None)
    option = "--pairs" if kind == "z" else "--data"
    if not second and not options.labels:
        return load_data(options, size, seed, device, name, option)
    if name in DRAWN or (second and (_in_torchvision(name) or name.startswith(PREFIX))):
        raise UsageError(f"{option} {name}: labels and second images need a folder, a zip or a store of pictures")
    parts = _parts(options, size, seed, device, (name, option), place)
    conds, classes = _labels(options.labels, parts) if options.labels else (({}, {}), ())
    training, validation = (Examples(part, kind, cond) for part, cond in zip(parts.windows, conds, strict=True))
    return Datasets(name, training, validation, parts.channels, parts.value_range, classes)


def _labels(source: str, parts: _Parts) -> tuple[tuple[Cond, ...], tuple[str, ...]]:
    """Return the labels of both parts as conditions, and the names of the classes of the first."""
    labels = [read_labels(entries, source, parts.root) for entries in parts.entries]
    classes = class_names(labels[0])
    return tuple({"label": to_numbers(own, classes)} for own in labels), classes


def _in_torchvision(name: str) -> bool:
    return name in TORCHVISION and not Path(name).exists()


def read_split(options: PictureOptions, name: str, seed: int, option: str, second: str | None = None) -> Split:
    """Return the pictures of a folder, a zip or a set of a library, with a second picture each if `second` is given.

    Raises:
        UsageError: if there are none.
    """
    if name.startswith(PREFIX):
        return from_datasets(name, seed, option)
    if _in_torchvision(name):
        return from_torchvision(name, Path(options.data_dir), options.download, option)
    partner = None if second is None else Path(second)
    return from_path(Path(name), seed, option, partner, values=bool(options.value_range))


def _read_sets(options: DataOptions, size: int, split: Split, option: str, name: str) -> tuple[DecodedSet, DecodedSet]:
    """Return the images to train on and those to measure on, decoded; the latter of exactly --size."""
    policy = options.resize_policy(size)
    images = decode_set(split.training, policy, option, name)
    if split.validation is split.training:
        print(f"{option} {name}: its only image is trained on and measured on", file=sys.stderr)
    return images, decode_set(split.validation, policy.for_validation(images.channels), option, name)


def _windows(options: DataOptions, size: int, part: DecodedSet, device: torch.device, number: int) -> WindowedImages:
    """Return images as windows: part 0 for training, mirrored and turned if the options say so, part 1 as they are."""
    flip = number == 0 and (part.channels == 3 if options.flip is None else options.flip)
    rotate = number == 0 and options.rotate
    values = options.resize_policy(size).value_range or ValueRange()
    images = to_data_device(part.images, options.data_device, device)
    if isinstance(images, PackedImages):
        return VariableSizeImages(images, size, flip, device, values, rotate)
    return InMemoryImages(images, size, flip, device, values, rotate)


def gray(source: Source) -> Source:
    """Return the source of the same images without their colors, in one channel."""

    def without_color(n: int, generator: Generators = None) -> Tensor:
        return luma(source(n, generator))  # type: ignore[arg-type]

    return without_color


Images = TypeVar("Images", bound=Tensor | PackedImages)


def to_data_device(images: Images, store: str, device: torch.device) -> Images:
    """Return the images where they shall be kept; half of a device's free memory is left to the training."""
    if store == "auto":
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        store = "device" if free is None or images.nbytes < free / 2 else "host"
    return images.to(device) if store == "device" else images  # type: ignore[return-value]
