"""The data of an experiment: what `--data` names, as a training set and a held-out one.

`drawn` (faces) and `drawn-animals` are drawn by this project, endlessly, and need no files. `mnist`, `cifar10` and so
on are sets of torchvision, in --data-dir or fetched into it with --download. Everything else is a zip or a folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from degrade import Source
from degrade.command_line import Options, UsageError
from degrade.operators.color import luma
from degrade.random import Generators, seeded_generator
from experiments.data.archives import TORCHVISION, Split, from_path, from_torchvision
from experiments.data.decoding import MARGIN, DecodedSet, ResizePolicy, decode_set
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.examples import Examples
from experiments.data.images import InMemoryImages, WindowedImages
from experiments.data.labels import class_names, read_labels, to_numbers
from experiments.data.packed import PackedImages
from experiments.data.store import Store, StoredImages, is_store
from experiments.data.variable_size import VariableSizeImages
from restore import DatasetInfo
from restore.conditions import Cond
from restore.value_range import ValueRange

__all__ = ["DataOptions", "Datasets", "ExampleOptions", "LabelOptions", "load_data", "load_examples", "load_labeled"]

DRAWN: dict[str, type[DrawnFaces | DrawnAnimals]] = {"drawn": DrawnFaces, "drawn-animals": DrawnAnimals}


class DataOptions(Options):
    """Data."""

    data: str = Field(
        "drawn",
        description=f"drawn, drawn-animals, a folder, a zip, a store (store.py), or one of {', '.join(TORCHVISION)}",
    )
    download: bool = Field(False, description="let torchvision fetch the data")
    data_dir: str = Field("data", description="folder of torchvision's data")
    resize: Literal["crop", "pad", "none"] = Field(
        "crop",
        description="crop: pictures are scaled and cropped; pad: padded with black; none: random windows of --size of"
        " the pictures at their own resolution",
    )
    margin: Annotated[float, Field(ge=1)] = Field(
        MARGIN, description="side of cropped pictures over --size, for random windows; 1 for none"
    )
    flip: bool | None = Field(None, description="mirror half of the training images (default: those of color sets)")
    rotate: bool = Field(False, description="turn training images by a random multiple of 90 degrees")
    channels: str = Field(
        "auto", pattern=r"^(auto|[1-9]\d*)$", description="1, 3, or auto: 1 if every picture is gray; any with a range"
    )
    value_range: tuple[float, ...] = Field(
        (), description="LOW,HIGH: keep the values of the files (16 bits, float, any channels); none for 8-bit pictures"
    )
    data_device: Literal["auto", "device", "host"] = Field(
        "auto", description="where images are kept: device, host (and streamed), or auto: device if they fit"
    )

    @field_validator("value_range")
    @classmethod
    def _check_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, 2):
            raise ValueError("give two values, LOW,HIGH, or none")
        if value:
            ValueRange(*value)
        return value

    @model_validator(mode="after")
    def _check_channels(self) -> DataOptions:
        if not self.value_range and self.channels not in ("auto", "1", "3"):
            raise ValueError(f"--channels {self.channels} needs --value-range LOW,HIGH; 8-bit pictures have 1 or 3")
        return self

    def resize_policy(self, size: int) -> ResizePolicy:
        """Return what becomes of every picture."""
        values = ValueRange(*self.value_range) if self.value_range else None
        channels = None if self.channels == "auto" else int(self.channels)
        return ResizePolicy(size, self.resize, self.margin, channels, values)


class LabelOptions(DataOptions):
    """Classes."""

    labels: str | None = Field(None, description="classes that the network is told: folders, or a CSV of name,label")


class ExampleOptions(LabelOptions):
    """What belongs to each image."""

    pairs: tuple[str, str] | None = Field(
        None, description="folders or zips of clean and of degraded images of the same names; replaces --data"
    )
    cond_images: str | None = Field(
        None, description="folder or zip of second images of the same names as those of --data, which the network sees"
    )


class Datasets(NamedTuple):
    """A set to train on, and one to measure on that training never sees; both of images (n, channels, S, S).

    Args:
        name: of the data.
        training: called, it draws images (n, channels, S, S); finite sets are also read by number.
        validation: the same, of images that training never sees.
        channels: of an image.
        value_range: of the values that became -1 and 1; None for 8-bit pictures.
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
        return DatasetInfo(self.name, len(data), data.sha256, self.value_range, self.classes)

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
        options: how pictures are read.
        size: side S of the images.
        seed: of what is held out.
        device: where batches go.
        name: what the option `option` says.
        option: for messages.

    Raises:
        UsageError: if there is no such data, or none of it can be used.
    """
    if name in DRAWN:
        drawn: Source = DRAWN[name](size, device)
        source = gray(drawn) if options.channels == "1" else drawn
        return Datasets(name, source, source, 1 if options.channels == "1" else 3)
    if is_store(Path(name)):
        return _stored(options, size, seed, device, name, option)
    sets = _read_sets(options, size, read_split(options, name, seed, option), option, name)
    training, validation = (_windows(options, size, part, device, i) for i, part in enumerate(sets))
    return Datasets(name, training, validation, sets[0].channels, options.resize_policy(size).value_range)


def _stored(options: DataOptions, size: int, seed: int, device: torch.device, name: str, option: str) -> Datasets:
    """Return a store of images, one in eight of which is held out; they are read from disk when they are needed."""
    try:
        store = Store(name)
        order = torch.randperm(len(store), generator=seeded_generator("cpu", seed, "held out"))
        channels, held_out = store.index.shape[-1], max(1, len(store) // 8)
        flip = channels == 3 if options.flip is None else options.flip
        parts = order[held_out:] if len(store) > 1 else order, order[:held_out]
        training, validation = (
            StoredImages(store, size, flip and i == 0, device, part, options.rotate and i == 0)
            for i, part in enumerate(parts)
        )
    except (ValueError, OSError) as error:
        raise UsageError(f"{option} {name}: {error}") from None
    return Datasets(name, training, validation, channels, store.index.value_range)


def load_examples(options: ExampleOptions, size: int, seed: int, device: torch.device) -> Datasets:
    """Return the data of a run: those of --pairs or --data, with what belongs to each image.

    Args:
        options: which data, and how pictures are read.
        size: side S of the images.
        seed: of what is held out.
        device: where batches go.

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
    if name in DRAWN or is_store(Path(name)) or (second and _in_torchvision(name)):
        raise UsageError(f"{option} {name}: labels and second images need a folder or zip of pictures")
    split = read_split(options, name, seed, option, place)
    sets = _read_sets(options, size, split, option, name)
    conds, classes = _labels(options.labels, name, split, sets) if options.labels else (({}, {}), ())
    training, validation = (
        Examples(_windows(options, size, part, device, i), kind, conds[i]) for i, part in enumerate(sets)
    )
    return Datasets(name, training, validation, sets[0].channels, options.resize_policy(size).value_range, classes)


def _labels(
    source: str, root: str, split: Split, sets: tuple[DecodedSet, DecodedSet]
) -> tuple[tuple[Cond, ...], tuple[str, ...]]:
    """Return the labels of both parts as conditions, and the names of the classes of the first."""
    kept = [[entries[i] for i in part.kept] for entries, part in zip(split, sets, strict=True)]
    labels = [read_labels(entries, source, root) for entries in kept]
    classes = class_names(labels[0])
    return tuple({"label": to_numbers(own, classes)} for own in labels), classes


def _in_torchvision(name: str) -> bool:
    return name in TORCHVISION and not Path(name).exists()


def read_split(options: DataOptions, name: str, seed: int, option: str, second: str | None = None) -> Split:
    """Return the pictures of a folder, a zip or a torchvision set, with a second picture each if `second` is given.

    Raises:
        UsageError: if there are none.
    """
    if _in_torchvision(name):
        return from_torchvision(name, Path(options.data_dir), options.download, option)
    partner = None if second is None else Path(second)
    return from_path(Path(name), seed, option, partner, values=bool(options.value_range))


def _read_sets(options: DataOptions, size: int, split: Split, option: str, name: str) -> tuple[DecodedSet, DecodedSet]:
    """Return the images to train on and those to measure on, decoded; the latter without a margin."""
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
