"""From the files of a set to its images in memory.

A `ResizePolicy` says what becomes of a picture of any size, kind and shape:

    crop     it is scaled and cropped to a square of oversize S pixels; a training batch is random S x S windows of it
    pad      it is put in the middle of a black S x S square, made smaller first if it is larger
    none     it stays as it is; a training batch is random S x S windows of it
    center   the S x S pixels in its middle are kept: what `none` measures on

Without a value range, pictures of all kinds (RGBA, palette, 16-bit) become 8-bit RGB, and a set that is gray throughout
keeps one channel. With one, the values of the files are kept, in any number of channels. A picture that cannot be
decoded, is too small to crop or leaves the range is named, skipped and counted.
"""

from __future__ import annotations

import dataclasses
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
from experiments.data.constants import OVERSIZE
from experiments.data.formats import to_values
from experiments.data.packed import PackedImages
from restore.value_range import ValueRange

__all__ = ["Decoded", "DecodedSet", "Entry", "ResizePolicy", "decode", "decode_picture", "decode_set"]


Entry = tuple[str, Callable[[], Any]]  # a name, for messages, and what opens the picture, or a tuple of pictures


@frozen
class ResizePolicy:
    """What becomes of every picture of a set.

    Args:
        size: side S of the images to come.
        fit: `crop`, `pad`, `none` or `center`.
        oversize: ratio of the side of the square that `crop` keeps to S, at least 1; not used by the others.
        channels: 1 or 3, or with a value range any number; None keeps one if every picture is gray.
        value_range: smallest and largest value in the files, which are then kept as float32; None for 8-bit pictures.
    """

    size: Annotated[int, Field(ge=1)]
    fit: Literal["crop", "pad", "none", "center"] = "crop"
    oversize: Annotated[float, Field(ge=1)] = OVERSIZE
    channels: Annotated[int, Field(ge=1)] | None = None
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        if self.value_range is None and self.channels not in (None, 1, 3):
            raise ValueError(f"channels is {self.channels}; 8-bit pictures have 1 or 3, others need a value range")

    @property
    def side(self) -> int:
        """The side of what is kept, unless `fit` is `none`, which keeps every picture at its own size."""
        return round(self.oversize * self.size) if self.fit == "crop" else self.size

    def for_validation(self, channels: int) -> ResizePolicy:
        """Return the policy for images to measure on: nothing random, as many channels as the training set has."""
        fit = "center" if self.fit == "none" else self.fit
        return dataclasses.replace(self, fit=fit, oversize=1.0, channels=channels)

    def frame(self, picture: Image.Image) -> Image.Image:
        """Return what is kept of a picture.

        Raises:
            ValueError: if it is too small.
        """
        square = (self.side, self.side)
        if self.fit != "pad" and min(picture.size) < self.size:
            found = f"{picture.width} x {picture.height} pixels, fewer than --size {self.size}"
            raise ValueError(f"it has {found}; --resize pad puts it in a black square")
        if self.fit == "none":
            return picture
        if self.fit == "center":
            left, top = ((side - self.size) // 2 for side in picture.size)
            return picture.crop((left, top, left + self.size, top + self.size))
        if self.fit == "crop":
            return ImageOps.fit(picture, square, Image.Resampling.LANCZOS)
        if max(picture.size) > self.side:
            picture = ImageOps.contain(picture, square, Image.Resampling.LANCZOS)
        page = Image.new(picture.mode, square, self.value_range.low if self.value_range else 0)
        page.paste(picture, ((self.side - picture.width) // 2, (self.side - picture.height) // 2))
        return page


class Decoded(NamedTuple):
    """What is kept of an entry: (K, c, H, W) of K pictures, usually one, and whether it has more frames or pages."""

    pixels: np.ndarray[Any, Any]
    several: bool


class DecodedSet(NamedTuple):
    """The images, the place of each among the entries that were given, and the channels C of a picture.

    Images of one size are a tensor (N, K C, M, M); those of `fit="none"`, (K C, H_i, W_i) each, are packed.
    """

    images: Tensor | PackedImages
    kept: list[int]
    channels: int


def decode(entries: Sequence[Entry], policy: ResizePolicy, option: str, name: str) -> Tensor:
    """Return the images (N, K C, M, M) of `decode_set`, for a policy that gives all of them one size."""
    images = decode_set(entries, policy, option, name).images
    assert isinstance(images, Tensor)
    return images


def decode_set(entries: Sequence[Entry], policy: ResizePolicy, option: str, name: str) -> DecodedSet:
    """Read pictures into memory.

    Args:
        entries: files, at least one, each with one picture or with K pictures of one size.
        policy: how each picture is resized.
        option: the option that named the set, for messages.
        name: its value.

    Returns:
        The images on the host, uint8 or, with a value range, float32.

    Raises:
        UsageError: if no picture can be used.
    """
    # Around the pool, since filters of warnings are the process's: threads would restore them in the wrong order.
    # What is ignored are oddities of metadata, not of pixels.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as pool:
        decoded = pool.map(partial(decode_picture, policy=policy), (read for _, read in entries))
        results = list(tqdm(decoded, f"reading {name}", len(entries), disable=None, unit=" images", leave=False))
    channels = policy.channels or max((r.pixels.shape[1] for r in results if isinstance(r, Decoded)), default=1)
    results = [_expect_channels(result, channels) for result in results]
    kept = [i for i, result in enumerate(results) if isinstance(result, Decoded)]
    _report([entry for entry, _ in entries], results, option, name)
    return DecodedSet(_joined(results, channels, policy), kept, channels)


def _joined(results: list[Decoded | str], channels: int, policy: ResizePolicy) -> Tensor | PackedImages:
    """Return the decoded images as one, a gray one in all channels; `results` is emptied, so that memory is freed."""
    parts = [result.pixels for result in results if isinstance(result, Decoded)]
    results.clear()
    if policy.fit == "none":
        filled = (np.broadcast_to(part, (len(part), channels, *part.shape[2:])) for part in parts)
        return PackedImages.pack([torch.from_numpy(np.ascontiguousarray(part)).flatten(0, 1) for part in filled])
    images = np.empty((len(parts), len(parts[0]), channels, policy.side, policy.side), parts[0].dtype)
    parts.reverse()
    for image in images:
        image[...] = parts.pop()
    return torch.from_numpy(images).flatten(1, 2)


def _expect_channels(result: Decoded | str, channels: int) -> Decoded | str:
    found = 1 if isinstance(result, str) else result.pixels.shape[1]
    return result if found in (1, channels) else f"it has {found} channels, and the set has {channels}"


def _report(names: Sequence[str], results: Sequence[Decoded | str], option: str, name: str) -> None:
    """Say on standard error what is skipped; raise UsageError if everything is."""
    faults = [(entry, fault) for entry, fault in zip(names, results, strict=True) if isinstance(fault, str)]
    for entry, fault in faults[:5]:
        print(f"skipped {entry}: {fault}", file=sys.stderr)
    if len(faults) == len(names):
        raise UsageError(f"{option} {name}: none of its {len(names)} images can be used ({faults[0][1]})")
    if faults:
        print(f"skipped {len(faults)} of {len(names)} images of {name}", file=sys.stderr)
    several = [entry for entry, r in zip(names, results, strict=True) if isinstance(r, Decoded) and r.several]
    if several:
        found = f"{len(several)} of {len(names)} images of {name} have several frames or pages"
        print(f"{found} (such as {several[0]}); the first of each is used", file=sys.stderr)


def decode_picture(read: Callable[[], Any], policy: ResizePolicy) -> Decoded | str:
    """Return what is kept of a picture, or what is wrong with it in one line."""
    try:
        opened = read()
        several = bool(getattr(opened, "is_animated", False))
        pictures = opened if isinstance(opened, tuple) else (opened,)
        planes = [_values(picture, policy) for picture in pictures]
        _expect_one_size(planes)
        framed = [_framed(plane, policy) for plane in planes]
    except Exception as error:  # decoders and archives raise all kinds of errors on broken files
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    most = max(pixels.shape[0] for pixels in framed)
    return Decoded(np.stack([np.broadcast_to(p, (most, *p.shape[1:])) for p in framed]), several)


def _values(opened: Any, policy: ResizePolicy) -> list[Image.Image]:
    """Return a picture as one Pillow image of 8 bits or, with a value range, as one of floating point per channel."""
    if policy.value_range is None:
        return [as_rgb(ImageOps.exif_transpose(opened))]
    values = to_values(opened).astype(np.float32)
    low, high = policy.value_range.low, policy.value_range.high
    if not (values.min() >= low and values.max() <= high):  # also for a value that is not a number
        raise ValueError(f"its values span {values.min():g}..{values.max():g}, and --value-range is {low:g},{high:g}")
    return [Image.fromarray(np.ascontiguousarray(values[..., c])) for c in range(values.shape[-1])]


def _framed(planes: list[Image.Image], policy: ResizePolicy) -> np.ndarray[Any, Any]:
    """Return what is kept of the planes of a picture, (c, H, W)."""
    framed = [policy.frame(plane) for plane in planes]
    if policy.value_range is not None:  # beside an edge the filter leaves the range
        values = np.stack([np.asarray(plane) for plane in framed])
        return values.clip(policy.value_range.low, policy.value_range.high).astype(np.float32)
    if policy.channels == 1:
        return np.asarray(framed[0].convert("L"))[None]
    pixels = np.asarray(framed[0]).transpose(2, 0, 1)
    gray = policy.channels is None and (pixels == pixels[:1]).all()
    return pixels[:1] if gray else pixels


def _expect_one_size(pictures: Sequence[Sequence[Image.Image]]) -> None:
    sizes = list(dict.fromkeys(planes[0].size for planes in pictures))
    if len(sizes) > 1:
        (w, h), (v, g) = sizes[:2]
        raise ValueError(f"its two pictures have {w} x {h} and {v} x {g} pixels; scale them to one size")
