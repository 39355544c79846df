"""Clean pictures of a folder, as images of the size of a model: by them severities are estimated and priors fitted.

A model that was trained on whole pictures is given the middle square of each, scaled to its size; one that was trained
on windows of pictures at their own resolution is given such windows, since a picture that is made smaller is sharper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from degrade.command_line import UsageError
from degrade.image_io import as_rgb, load_image, open_image, picture_files, pil_to_tensor
from restore import BaseRestorer
from restore.value_range import ValueRange
from samplers.applications.pictures import ARRAY_SUFFIX, read_pictures

__all__ = ["clean_pictures", "image_shape", "squares_of", "windows_of"]

Read = TypeVar("Read")


def clean_pictures(R: BaseRestorer, data: str | None, most: int, surrounded: bool = False) -> Tensor | None:
    """Return at most `most` pictures (n, C, S, S) of the folder that --data names, of the size of R; None without it.

    Args:
        R: the model.
        data: the folder, or None.
        most: largest number of pictures.
        surrounded: whether windows are (n, C, 2 S, 2 S), with what lies around them in the picture.

    Raises:
        UsageError: if the folder holds no two pictures, or one of other channels, or the size of R's images is not
            known.
    """
    if data is None:
        return None
    shape = image_shape(R)
    if shape is None:
        raise UsageError(f"--data {data}: the size of the model's images is not known; leave --data out")
    channels, side, _ = shape
    read, length = (windows_of, 2 * side if surrounded else side) if R.own_resolution else (squares_of, side)
    found = read(Path(data), length, most, R.value_range)
    other = [x.shape[0] for x in found if R.value_range and x.shape[0] != channels]
    if other:
        raise UsageError(f"--data {data} holds a picture of {other[0]} channels; the model's have {channels}")
    if len(found) < 2:
        raise UsageError(f"--data {data} holds {len(found)} pictures; name a folder with two or more")
    x0 = torch.stack(found).to(R.device)
    return x0.mean(1, keepdim=True) if channels == 1 else x0


def image_shape(R: BaseRestorer) -> tuple[int, int, int] | None:
    """Return (C, H, W) of the images that a model was trained on; None if their size is not known."""
    config = getattr(getattr(R, "net", None), "config", None)
    side = R.image_size or getattr(config, "size", None)
    return None if side is None else (R.image_channels or 3, side, side)


def squares_of(folder: Path, side: int, most: int, value_range: ValueRange | None = None) -> list[Tensor]:
    """Return the middle squares of at most `most` pictures of a folder, scaled to `side`; what is none is skipped.

    Args:
        folder: the folder.
        side: side of the squares in pixels.
        most: largest number of pictures.
        value_range: the values that become -1 and 1, in arrays (.npy) as well; None for 8-bit pictures.

    Returns:
        Images (C, side, side) in [-1, 1], of 3 channels without a range.
    """

    def read(file: Path) -> Tensor:
        if value_range is None:
            return load_image(file, side)
        x = _values(file, value_range)
        least = min(x.shape[1:])
        top, left = ((length - least) // 2 for length in x.shape[1:])
        return interpolate(x[None, :, top : top + least, left : left + least], [side, side], mode="area")[0]

    return list(islice(_readable(_files(folder, value_range), read), most))


def windows_of(folder: Path, side: int, most: int, value_range: ValueRange | None = None) -> list[Tensor]:
    """Return windows of the pictures of a folder at their own resolution, as many of each, at most `most`.

    Arguments and images are those of `squares_of`; what is smaller than a window is skipped.
    """
    files = _files(folder, value_range)
    share = math.ceil(most / max(1, len(files)))

    def read(file: Path) -> list[Tensor]:
        x = pil_to_tensor(as_rgb(open_image(file))) if value_range is None else _values(file, value_range)
        tiles = (
            x.unfold(1, side, side).unfold(2, side, side).flatten(1, 2).unbind(1) if min(x.shape[1:]) >= side else ()
        )
        chosen = {round((i + 0.5) * len(tiles) / share - 0.5) for i in range(share)} if tiles else set()
        return [tiles[i] for i in sorted(chosen)]

    return list(islice(chain.from_iterable(_readable(files, read)), most))


def _files(folder: Path, value_range: ValueRange | None) -> list[Path]:
    return list(picture_files(folder, [ARRAY_SUFFIX] if value_range else []))


def _values(file: Path, value_range: ValueRange) -> Tensor:
    return read_pictures(file, value_range).x[0].float()


def _readable(files: Iterable[Path], read: Callable[[Path], Read]) -> Iterator[Read]:
    """Yield what is read of each file, except of those that are no pictures."""
    for file in files:
        try:
            yield read(file)
        except ValueError:
            continue
