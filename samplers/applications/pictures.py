"""Pictures of any kind: read into images (B, C, H, W), and converted back to the kind, mode and dtype given.

| given                                     | values                               | converted back to                |
|-------------------------------------------|--------------------------------------|----------------------------------|
| path, Pillow image                        | see `degrade.image_io`                | Pillow image in its own mode     |
| path of a .npy file                       | as those of a numpy array            | numpy array                      |
| tensor (H, W), (C, H, W) or (B, C, H, W)  | uint8 0..255, floating point [-1, 1] | tensor like it, on its device    |
| numpy array (H, W) or (H, W, C)           | uint8 0..255, floating point [-1, 1] | array of its shape and dtype     |

Degraded values may exceed [-1, 1], as those of a noisy picture do. Floating point numbers that are in another unit
(none below 0, some far above 1, as in 0..255) are refused, and so are values that are not finite.

For a model whose data has a value range (`restore.value_range`), numbers of any type are values in that unit, in files
too: low becomes -1 and high 1, and what is converted back is in the unit and of the type given. A Pillow image is then
read as training reads it, gray in up to 32 bits or 8-bit colors, without transparency.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype
from degrade.image_io import open_image, pil_to_tensor, to_pil_image, to_pil_like
from degrade.optional import require
from restore.value_range import ValueRange

__all__ = ["ARRAY_SUFFIX", "Pictures", "new_picture", "open_picture", "picture_size", "read_pictures"]

MAX_VALUE = 16.0  # nonnegative numbers above this are in another unit than [-1, 1]
ARRAY_SUFFIX = ".npy"


class Pictures(NamedTuple):
    """Pictures that were read.

    Args:
        x: (B, C, H, W) in [-1, 1], float32 or float64.
        given: the object that they were read from; for a path, the Pillow image or the array in the file.
        value_range: the values of `given` that became -1 and 1; None for the units in the table above.
    """

    x: Tensor
    given: Any
    value_range: ValueRange | None = None

    def to_given_type(self, x: Tensor) -> Any:
        """Return images `x`, shaped like `self.x`, in the kind, unit and dtype of `given`; integers are rounded."""
        if isinstance(self.given, Tensor):
            return self._in_dtype(x, self.given.dtype).reshape(self.given.shape).to(self.given.device)
        if not _is_array(self.given) and self.value_range is None:
            return to_pil_like(self.given, x[0])
        like = self.given if _is_array(self.given) else _pillow_values(self.given)
        array = self._in_dtype(x[0].permute(1, 2, 0).cpu(), _tensor(like[:0], self.value_range).dtype)
        values = array.numpy().reshape(like.shape)
        return values if _is_array(self.given) else require("PIL.Image", "writing a picture").fromarray(values)

    def _in_dtype(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        if self.value_range is None:
            return ((x.clamp(-1, 1) + 1) * 127.5).round().to(dtype) if dtype == torch.uint8 else x.to(dtype)
        values = self.value_range.denormalize(x)
        if dtype.is_floating_point:
            return values.to(dtype)
        limits = torch.iinfo(dtype)
        return values.double().round().clamp(limits.min, limits.max).to(dtype)


def read_pictures(image: Any, value_range: ValueRange | None = None) -> Pictures:
    """Return the picture, or the batch of pictures, as images.

    Args:
        image: a path, a Pillow image, a tensor or a numpy array; see the module.
        value_range: the values that become -1 and 1; None for the usual units.

    Raises:
        ValueError: for another kind, shape, dtype or unit, with the one expected.

    >>> pictures = read_pictures(torch.tensor([[0, 255]], dtype=torch.uint8))
    >>> pictures.x.tolist(), pictures.to_given_type(0.5 * pictures.x).tolist()
    ([[[[-1.0, 1.0]]]], [[64, 191]])
    >>> kelvin = read_pictures(torch.tensor([[200.0, 300.0]]), ValueRange(200.0, 300.0))
    >>> kelvin.x.tolist(), kelvin.to_given_type(0.5 * kelvin.x).tolist()
    ([[[[-1.0, 1.0]]]], [[225.0, 275.0]])
    """
    if isinstance(image, str | Path):
        image = open_picture(image)
    source = _pillow_values(image) if value_range is not None and hasattr(image, "getbands") else image
    if isinstance(source, Tensor):
        shaped = source if source.ndim == 4 else source[None] if source.ndim == 3 else source[None, None]
        needed = "(H, W), (C, H, W) or (B, C, H, W)"
    elif _is_array(source):
        plain = _tensor(source, value_range)
        shaped = plain.permute(2, 0, 1)[None] if plain.ndim == 3 else plain[None, None]
        needed = "(H, W) or (H, W, C)"
    elif hasattr(source, "getbands"):  # a Pillow image, without the need of Pillow
        shaped, needed = pil_to_tensor(source)[None], "a picture of one pixel or more"
    else:
        kind = type(source).__name__
        raise ValueError(f"image is of type {kind}; give a path, a Pillow image, a tensor or a numpy array")
    if shaped.ndim != 4 or not shaped.numel():
        raise ValueError(f"image has the shape {tuple(source.shape)}; it needs {needed}, none of them 0")
    return Pictures(_in_unit(shaped, value_range), image, value_range)


def new_picture(x: Tensor, value_range: ValueRange | None = None) -> Any:
    """Return an image that was made, in the unit of the data of its model.

    Args:
        x: (C, H, W) in [-1, 1].
        value_range: the values that -1 and 1 stand for; None for 8-bit pictures.

    Returns:
        A Pillow image in gray or RGB for 1 or 3 channels of 8-bit pictures. Else a numpy array (H, W), or (H, W, C) of
        several channels, in float32: the values of the range, or those of `x` without one.

    >>> new_picture(torch.zeros(1, 4, 4)).mode, new_picture(torch.zeros(3, 4, 4)).mode
    ('L', 'RGB')
    >>> new_picture(torch.zeros(2, 1, 1), ValueRange(200.0, 300.0)).tolist()
    [[[250.0, 250.0]]]
    """
    if value_range is None and len(x) in (1, 3):
        picture = to_pil_image(x)
        return picture.getchannel(0) if len(x) == 1 else picture
    like = require("numpy", "making an array").empty(x.shape[1:] if len(x) == 1 else (*x.shape[1:], len(x)), "float32")
    return Pictures(x[None], like, value_range).to_given_type(x[None])


def open_picture(path: str | Path) -> Any:
    """Return the Pillow image in a file, turned upright, or the numpy array in a .npy file.

    Raises:
        ValueError: if the file is none that can be read.
    """
    if Path(path).suffix.lower() != ARRAY_SUFFIX:
        return open_image(path)
    try:
        return require("numpy", "reading an array").load(path)  # which refuses pickled objects
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not an array that can be read: {error}") from None


def picture_size(picture: Any) -> tuple[int, int]:
    """Return the width and the height of a Pillow image or of a numpy array (H, W) or (H, W, C)."""
    if _is_array(picture):
        return picture.shape[1], picture.shape[0]
    width, height = picture.size
    return width, height


def _in_unit(x: Tensor, value_range: ValueRange | None) -> Tensor:
    """Return images in [-1, 1] and at least float32, if their unit is known or can be recognized."""
    if value_range is not None:
        x = value_range.normalize(x)
    elif x.dtype == torch.uint8:
        return x.float() / 127.5 - 1
    elif not x.is_floating_point():
        raise ValueError(f"image is {x.dtype}; it needs uint8 in 0..255 or floating point numbers in [-1, 1]")
    x = x.to(compute_dtype(x.dtype))
    low, high = (float(v) for v in torch.aminmax(x))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError("image has values that are not finite; replace them, or give a mask where they are missing")
    if value_range is None and low >= 0 and high > MAX_VALUE:
        raise ValueError(
            f"image spans {low:g}..{high:g}; floating point lies in [-1, 1]: convert it to uint8, or scale it"
        )
    return x


def _tensor(array: Any, value_range: ValueRange | None) -> Tensor:
    """Return a numpy array as a tensor of its dtype.

    Raises:
        ValueError: for a dtype that is neither uint8 nor floating point, or, with a value range, no number.
    """
    known = array.dtype.name in ("uint8", "float16", "float32", "float64")
    if not (known or (value_range is not None and array.dtype.kind in "ui")):
        raise ValueError(f"image is {array.dtype.name}; it needs uint8 in 0..255 or floating point numbers in [-1, 1]")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))  # a copy without negative strides


def _pillow_values(picture: Any) -> Any:
    """Return the values (H, W) or (H, W, 3) of a Pillow image, in its own unit."""
    if not picture.mode.startswith(("I", "F")):
        picture = picture.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB")
    return require("numpy", "reading values").asarray(picture)


def _is_array(image: Any) -> bool:
    numpy = sys.modules.get("numpy")  # imported already if there is an array
    return numpy is not None and isinstance(image, numpy.ndarray)
