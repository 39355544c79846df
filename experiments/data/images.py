"""Sets of images: decoded once, kept as uint8, handed out as windows in [-1, 1].

A `ResizePolicy` says what becomes of a picture of any size, kind and shape:

    crop    it is scaled and cropped to a square of margin S pixels; a training batch is random S x S windows of it
    pad     it is put in the middle of a black S x S square, made smaller first if it is larger

RGBA, palette and 16-bit pictures become 8-bit RGB; a set that is gray throughout keeps one channel. A picture that
cannot be decoded, or is too small to crop, is named, skipped and counted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from degrade.command_line import UsageError
from degrade.frozen import frozen
from degrade.image_io import as_rgb
from degrade.random import Generators, rand, randint

__all__ = ["Entry", "InMemoryImages", "ResizePolicy", "decode"]

MARGIN = 1.12  # side of what is kept of a photograph, over the side of what is used

Entry = tuple[str, Callable[[], Any]]  # a name, for messages, and what opens the picture with Pillow


@frozen
class ResizePolicy:
    """What becomes of every picture of a set.

    Args:
        size: side S of the images to come.
        fit: `crop` or `pad`.
        margin: side of what is kept over S, at least 1, for random windows; without meaning for `pad`.
        channels: 1 or 3; None keeps one if every picture is gray, and three otherwise.
    """

    size: Annotated[int, Field(ge=1)]
    fit: Literal["crop", "pad"] = "crop"
    margin: Annotated[float, Field(ge=1)] = MARGIN
    channels: Literal[1, 3] | None = None

    @property
    def side(self) -> int:
        """The side of what is kept."""
        return round(self.margin * self.size) if self.fit == "crop" else self.size

    def for_validation(self, channels: Literal[1, 3]) -> ResizePolicy:
        """Return the policy for images to measure on: no margin, and as many channels as the training set has."""
        return dataclasses.replace(self, margin=1.0, channels=channels)

    def frame(self, picture: Image.Image) -> Image.Image:
        """Return the square that is kept of a picture.

        Raises:
            ValueError: if it is too small.
        """
        square = (self.side, self.side)
        if self.fit == "crop":
            if min(picture.size) < self.size:
                found = f"{picture.width} x {picture.height} pixels, fewer than --size {self.size}"
                raise ValueError(f"it has {found}; --resize pad puts it in a black square")
            return ImageOps.fit(picture, square, Image.Resampling.LANCZOS)
        if max(picture.size) > self.side:
            picture = ImageOps.contain(picture, square, Image.Resampling.LANCZOS)
        page = Image.new("RGB", square)
        page.paste(picture, ((self.side - picture.width) // 2, (self.side - picture.height) // 2))
        return page


class InMemoryImages:
    """Images (N, C, M, M) uint8; hands out S x S windows of them, float32 in [-1, 1], at random places if M > S.

    It is a `Source` (random images) and an `MapDataset` set (images by number). Kept on another device than the one it
    serves, it streams: what a batch needs is copied over.

    Args:
        images: (N, C, M, M) uint8, M >= size.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: where the windows go; that of the images by default.

    Raises:
        ValueError: for images of another type or shape, none at all, or smaller ones than the windows.

    >>> faces = InMemoryImages(torch.full((5, 3, 9, 9), 255, dtype=torch.uint8), 8)
    >>> faces(2, torch.Generator().manual_seed(0)).shape, faces.at(torch.tensor([4])).max().item()
    (torch.Size([2, 3, 8, 8]), 1.0)
    """

    def __init__(self, images: Tensor, size: int, flip: bool = True, device: torch.device | str | None = None) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
            found = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"images are {found}; InMemoryImages needs uint8 (N, C, M, M), values 0..255")
        if not len(images) or not 1 <= size <= images.shape[-1]:
            raise ValueError(f"size is {size} for images {tuple(images.shape)}; it must be 1..M, of at least one image")
        self.images, self.size, self.flip = images, size, flip
        self.device = images.device if device is None else torch.device(device)
        self.streams = images.device.type != self.device.type
        self._here = torch.empty(0, device=self.device)  # where random numbers go

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __call__(self, n: int, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of n images, drawn with replacement."""
        return self.at(randint(len(self), (n,), self._here, generator), generator)

    def at(self, index: Tensor, generator: Generators = None) -> Tensor:
        """Return windows (n, C, S, S) of the images that are numbered `index` (n,) int64."""
        images, index = self._fetched(index)
        margin = images.shape[-1] - self.size
        if not (margin or self.flip):
            return _unit(images[index])
        n, pixel = len(index), torch.arange(self.size, device=self.device)
        top, left = randint(margin + 1, (n, 2, 1), self._here, generator).unbind(1)
        reflect_pad = rand((n, 1), self._here, generator) < (0.5 if self.flip else 0.0)
        columns = torch.where(reflect_pad, self.size - 1 - pixel, pixel) + left
        rows = top + pixel
        window = images[index[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return _unit(window.permute(0, 3, 1, 2))

    @property
    def sha256(self) -> str:
        """The fingerprint of the pixels and their order."""
        images = self.images.cpu().contiguous()
        digest = hashlib.sha256(str(tuple(images.shape)).encode())
        digest.update(images.view(-1).numpy().data)
        return digest.hexdigest()

    def _fetched(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images on the device and the places of the wanted ones among them."""
        if not self.streams:
            return self.images, index.to(self.device, non_blocking=True)
        part = self.images[index.to(self.images.device)]
        if self.device.type == "cuda":
            part = part.pin_memory()  # without which the copy would make the host wait
        return part.to(self.device, non_blocking=True), torch.arange(len(index), device=self.device)


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def decode(entries: Sequence[Entry], policy: ResizePolicy, option: str, name: str) -> Tensor:
    """Read pictures into one tensor.

    Args:
        entries: at least one.
        policy: what becomes of each.
        option: the option that named the set, for messages.
        name: its value.

    Returns:
        (N, C, M, M) uint8 on the host.

    Raises:
        UsageError: if no picture can be used.
    """
    # Around the pool, since filters of warnings are the process's: threads would restore them in the wrong order.
    # What is ignored are oddities of metadata, not of pixels.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as pool:
        decoded = pool.map(partial(_decoded, policy=policy), (read for _, read in entries))
        results = list(tqdm(decoded, f"reading {name}", len(entries), disable=None, unit=" images", leave=False))
    faults = [(entry, fault) for (entry, _), fault in zip(entries, results) if isinstance(fault, str)]
    for entry, fault in faults[:5]:
        print(f"skipped {entry}: {fault}", file=sys.stderr)
    if len(faults) == len(entries):
        raise UsageError(f"{option} {name}: none of its {len(entries)} images can be used ({faults[0][1]})")
    if faults:
        print(f"skipped {len(faults)} of {len(entries)} images of {name}", file=sys.stderr)
    several = [entry for (entry, _), result in zip(entries, results) if isinstance(result, Decoded) and result.several]
    if several:
        found = f"{len(several)} of {len(entries)} images of {name} have several frames or pages"
        print(f"{found} (such as {several[0]}); the first of each is used", file=sys.stderr)
    kept = [result.pixels for result in results if isinstance(result, Decoded)]
    channels = policy.channels or max(image.shape[-1] for image in kept)
    images = np.empty((len(kept), channels, policy.side, policy.side), np.uint8)
    for i in range(len(kept)):
        images[i], kept[i] = kept[i].transpose(2, 0, 1), kept[i][:0]  # a gray image fills three channels
    return torch.from_numpy(images)


class Decoded(NamedTuple):
    """The pixels (M, M, 1 if they are gray, else 3) uint8 of a picture, and whether it has more frames or pages."""

    pixels: np.ndarray
    several: bool


def _decoded(read: Callable[[], Any], policy: ResizePolicy) -> Decoded | str:
    """Return what is kept of a picture, or what is wrong with it."""
    try:
        opened = read()
        several = bool(getattr(opened, "is_animated", False))
        picture = policy.frame(as_rgb(ImageOps.exif_transpose(opened)))
    except Exception as error:  # decoders and archives raise all kinds of errors on broken files
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if policy.channels == 1:
        return Decoded(np.asarray(picture.convert("L"))[..., None], several)
    pixels = np.asarray(picture)
    gray = policy.channels is None and (pixels == pixels[..., :1]).all()
    return Decoded(pixels[..., :1] if gray else pixels, several)
