"""The content of one file as a picture of 8 bits, or as an array of values in the units of the file.

| file                          | as a picture | as values                                             |
|-------------------------------|--------------|-------------------------------------------------------|
| what Pillow reads             | yes          | (H, W, C), C = 1 or 3; gray of 16 or 32 bits as it is |
| PNG of 16 bits in color       | in 8 bits    | 0..65535                                              |
| TIFF that Pillow cannot read  | no           | by tifffile, if it is installed                       |
| .npy, .npz with one array     | no           | (H, W) or (H, W, C), any C                            |

Values of more than 8 bits need a stated range (`--value-range`), since a file does not say which value is white.
"""

from __future__ import annotations

import functools
import io
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from degrade.optional import require

__all__ = ["ARRAYS", "open_picture", "open_values", "readable_suffixes", "to_values"]

ARRAYS = frozenset({".npy", ".npz"})
TIFF = frozenset({".tif", ".tiff"})
# Formats that Pillow recognizes without being able to decode their pixels.
UNDECODED = {"BUFR", "GRIB", "HDF5", "MPEG"}


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Return the suffixes, such as `.png`, of the formats that Pillow decodes on this machine."""
    known = Image.registered_extensions()  # loads all of Pillow's formats, which fills Image.OPEN
    return frozenset(suffix for suffix, kind in known.items() if kind in Image.OPEN and kind not in UNDECODED)


def open_picture(data: bytes, name: str) -> Image.Image:
    """Return the picture that a file holds."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def open_values(data: bytes, name: str) -> np.ndarray[Any, Any]:
    """Return the values (H, W, C) that a file holds, in its own type.

    Raises:
        ValueError: for an array of another shape or of other entries than numbers.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in ARRAYS:
        return to_values(_array(data))
    if suffix == ".png" and data[24:26] in (b"\x10\x02", b"\x10\x06"):  # bit depth 16 in color, which Pillow halves
        from torchvision.io import ImageReadMode, decode_png  # slow to import

        values = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
        return to_values(values[:3].permute(1, 2, 0).numpy())
    try:
        return to_values(open_picture(data, name))
    except UnidentifiedImageError:
        if suffix not in TIFF:
            raise
        return to_values(require("tifffile", "reading a TIFF of this kind").imread(io.BytesIO(data)))


def to_values(opened: Any) -> np.ndarray[Any, Any]:
    """Return a Pillow image, upright and without its transparency, or an array as values (H, W, C)."""
    if not isinstance(opened, np.ndarray):
        opened = ImageOps.exif_transpose(opened)
        if not opened.mode.startswith(("I", "F")):
            opened = opened.convert("L" if opened.mode in ("1", "L", "LA", "La") else "RGB")
        opened = np.asarray(opened)
    values: np.ndarray[Any, Any] = opened[..., None] if opened.ndim == 2 else opened
    if values.ndim != 3 or not values.size or values.dtype.kind not in "buif":
        raise ValueError(f"it is an array {opened.shape} of {opened.dtype}; it needs numbers (H, W) or (H, W, C)")
    return values


def _array(data: bytes) -> np.ndarray[Any, Any]:
    loaded = np.load(io.BytesIO(data))  # which refuses pickled objects
    if isinstance(loaded, np.ndarray):
        return loaded
    names = list(loaded.files)
    if len(names) != 1:
        raise ValueError(f"it has {len(names)} arrays; an image is one array (H, W) or (H, W, C)")
    array: np.ndarray[Any, Any] = loaded[names[0]]
    return array
