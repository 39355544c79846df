"""Pairs of pictures from two folders or zips, matched by name (`degrade.pairing`).

Pictures are not scaled, which would change what a degradation has done; they are cropped in the middle if that is asked
for. Pairs of the first names are taken, in alphabetical order.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from degrade.image_io import open_image, picture_files, pil_to_tensor
from degrade.optional import require
from degrade.options import UsageError
from degrade.pairing import pair_names, picture_names

__all__ = ["read_pairs"]


def read_pairs(clean: Path, degraded: Path, most: int, crop: int | None = None) -> tuple[Tensor, Tensor]:
    """Return pictures (m, C, H, W) in [-1, 1] of two folders or zips, float32: the clean ones and the degraded ones.

    Names without a partner are left out, and printed on standard error. Gray pictures beside colored ones get three
    equal channels.

    Args:
        clean: folder or zip.
        degraded: folder or zip of the same pictures, degraded, of the same names.
        most: largest number m of pairs.
        crop: side of the square in the middle of each picture that is read; None for whole pictures.

    Raises:
        UsageError: if there is no pair, pictures are too small, or those of a pair or whole ones differ in size.
        ValueError: if a file is no picture.
    """
    sets = _pictures(clean), _pictures(degraded)
    names = picture_names(*([parts for parts, _ in pictures] for pictures in sets))
    first, second = ({name: read for name, (_, read) in zip(some, own)} for some, own in zip(names, sets))
    both = pair_names("--pairs", (clean, first), (degraded, second))
    pairs = []
    for name in both[:most]:
        x0, y = (pil_to_tensor(found[name]()) for found in (first, second))
        if x0.shape[1:] != y.shape[1:]:
            raise UsageError(f"--pairs: {name} is {_size(x0)} and {_size(y)} pixels; the pictures of a pair are equal")
        pairs.append([_cropped(name, x, crop) for x in (x0, y)])
    sizes = {_size(x0): name for (x0, _), name in zip(pairs, both)}
    if len(sizes) > 1:
        shown = " and ".join(f"{size} ({name})" for size, name in list(sizes.items())[:2])
        raise UsageError(f"--pairs: pictures have different sizes, {shown}; --crop takes the middle of each")
    channels = max(len(x) for pair in pairs for x in pair)
    x0, y = (torch.stack([pair[i].expand(channels, -1, -1) for pair in pairs]) for i in (0, 1))
    return x0, y


def _pictures(path: Path) -> list[tuple[tuple[str, ...], Callable[[], Any]]]:
    """Return the path of each picture in a folder or zip, in alphabetical order, and what opens it."""
    if zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        known = require("PIL.Image", "reading pictures").registered_extensions()
        members = sorted(name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in known)
        return [(PurePosixPath(member).parts, partial(_unpacked, archive, member)) for member in members]
    return [(file.relative_to(path).parts, partial(open_image, file)) for file in picture_files(path)]


def _unpacked(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(name) as file:
        return open_image(file)


def _size(x: Tensor) -> str:
    return f"{x.shape[2]} x {x.shape[1]}"


def _cropped(name: str, x: Tensor, crop: int | None) -> Tensor:
    if crop is None:
        return x
    top, left = ((side - crop) // 2 for side in x.shape[1:])
    if min(top, left) < 0:
        raise UsageError(f"--crop {crop}: {name} is {_size(x)} pixels; take a smaller crop")
    return x[:, top : top + crop, left : left + crop]
