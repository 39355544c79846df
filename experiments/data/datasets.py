"""The data of an experiment: what `--data` names, as a training set and a held-out one.

`drawn` (faces) and `drawn-animals` are drawn by this project, endlessly, and need no files. `mnist`, `cifar10` and so
on are sets of torchvision, in --data-dir or fetched into it with --download. Everything else is a zip or a folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from degrade import Source
from degrade.command_line import Options
from degrade.operators.color import luma
from degrade.random import Generators
from experiments.data.archives import TORCHVISION, from_path, from_torchvision
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.images import MARGIN, InMemoryImages, ResizePolicy, decode
from restore import DatasetInfo

__all__ = ["DataOptions", "Datasets", "load_data"]

DRAWN: dict[str, type[DrawnFaces | DrawnAnimals]] = {"drawn": DrawnFaces, "drawn-animals": DrawnAnimals}


class DataOptions(Options):
    """Data."""

    data: str = Field("drawn", description=f"drawn, drawn-animals, a folder, a zip, or one of {', '.join(TORCHVISION)}")
    download: bool = Field(False, description="let torchvision fetch the data")
    data_dir: str = Field("data", description="folder of torchvision's data")
    resize: Literal["crop", "pad"] = Field("crop", description="pictures are scaled and cropped, or padded with black")
    margin: Annotated[float, Field(ge=1)] = Field(
        MARGIN, description="side of cropped pictures over --size, for random windows; 1 for none"
    )
    flip: bool | None = Field(None, description="mirror half of the training images (default: those of color sets)")
    channels: Literal["auto", "1", "3"] = Field("auto", description="1, 3, or auto: 1 if every picture is gray")
    data_device: Literal["auto", "device", "host"] = Field(
        "auto", description="where images are kept: device, host (and streamed), or auto: device if they fit"
    )

    def resize_policy(self, size: int) -> ResizePolicy:
        """Return what becomes of every picture."""
        channels: Literal[1, 3] | None = {"auto": None, "1": 1, "3": 3}[self.channels]
        return ResizePolicy(size, self.resize, self.margin, channels)


class Datasets(NamedTuple):
    """A set to train on, and one to measure on that training never sees; both of images (n, channels, S, S)."""

    name: str
    training: Source
    validation: Source
    channels: int

    @property
    def spec(self) -> DatasetInfo:
        """What the training set is, with its fingerprint if it is finite."""
        data = self.training
        return (
            DatasetInfo(self.name, len(data), data.sha256)
            if isinstance(data, InMemoryImages)
            else DatasetInfo(self.name)
        )


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
    if name in TORCHVISION and not Path(name).exists():
        pictures = from_torchvision(name, Path(options.data_dir), options.download, option)
    else:
        pictures = from_path(Path(name), seed, option)
    policy = options.resize_policy(size)
    images = decode(pictures.training, policy, option, name)
    channels: Literal[1, 3] = 1 if images.shape[1] == 1 else 3
    if pictures.validation is pictures.training:
        print(f"{option} {name}: its only image is trained on and measured on", file=sys.stderr)
    flip = channels == 3 if options.flip is None else options.flip
    unseen = decode(pictures.validation, policy.for_validation(channels), option, name)
    training, validation = (to_data_device(part, options.data_device, device) for part in (images, unseen))
    return Datasets(
        name, InMemoryImages(training, size, flip, device), InMemoryImages(validation, size, False, device), channels
    )


def gray(source: Source) -> Source:
    """Return the source of the same images without their colors, in one channel."""

    def without_color(n: int, generator: Generators = None) -> Tensor:
        return luma(source(n, generator))  # type: ignore[arg-type]

    return without_color


def to_data_device(images: Tensor, store: str, device: torch.device) -> Tensor:
    """Return the images where they shall be kept; half of a device's free memory is left to the training."""
    if store == "auto":
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        store = "device" if free is None or images.nbytes < free / 2 else "host"
    return images.to(device) if store == "device" else images
