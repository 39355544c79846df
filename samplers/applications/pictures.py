"""Pictures of any kind: read into images (B, C, H, W), and converted back to the kind, mode and dtype given.

| given                                     | values                               | converted back to                |
|-------------------------------------------|--------------------------------------|----------------------------------|
| path, Pillow image                        | see `degrade.image_io`                | Pillow image in its own mode     |
| tensor (H, W), (C, H, W) or (B, C, H, W)  | uint8 0..255, floating point [-1, 1] | tensor like it, on its device    |
| numpy array (H, W) or (H, W, C)           | uint8 0..255, floating point [-1, 1] | array of its shape and dtype     |

Degraded values may exceed [-1, 1], as those of a noisy picture do. Floating point numbers that are in another unit
(none below 0, some far above 1, as in 0..255) are refused, and so are values that are not finite.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype
from degrade.image_io import open_image, pil_to_tensor, to_pil_like

__all__ = ["Pictures", "read_pictures"]

MAX_VALUE = 16.0  # nonnegative numbers above this are in another unit than [-1, 1]


class Pictures(NamedTuple):
    """Pictures that were read.

    Args:
        x: (B, C, H, W) in [-1, 1], float32 or float64.
        given: the object that they were read from; for a path, the Pillow image in the file.
    """

    x: Tensor
    given: Any

    def to_given_type(self, x: Tensor) -> Any:
        """Return images `x`, shaped like `self.x`, in the kind and dtype of `given`; 8 bits are rounded."""
        if not isinstance(self.given, Tensor) and not _is_array(self.given):
            return to_pil_like(self.given, x[0])
        if isinstance(self.given, Tensor):
            return _in_dtype(x, self.given.dtype).reshape(self.given.shape).to(self.given.device)
        array = x[0].permute(1, 2, 0).cpu()
        return _in_dtype(array, _tensor(self.given).dtype).numpy().reshape(self.given.shape)


def read_pictures(image: Any) -> Pictures:
    """Return the picture, or the batch of pictures, as images.

    Args:
        image: a path, a Pillow image, a tensor or a numpy array; see the module.

    Raises:
        ValueError: for another kind, shape, dtype or unit, with the one expected.

    >>> pictures = read_pictures(torch.tensor([[0, 255]], dtype=torch.uint8))
    >>> pictures.x.tolist(), pictures.to_given_type(0.5 * pictures.x).tolist()
    ([[[[-1.0, 1.0]]]], [[64, 191]])
    """
    if isinstance(image, str | Path):
        image = open_image(image)
    if isinstance(image, Tensor):
        shaped = image if image.ndim == 4 else image[None] if image.ndim == 3 else image[None, None]
        needed = "(H, W), (C, H, W) or (B, C, H, W)"
    elif _is_array(image):
        plain = _tensor(image)
        shaped = plain.permute(2, 0, 1)[None] if plain.ndim == 3 else plain[None, None]
        needed = "(H, W) or (H, W, C)"
    elif hasattr(image, "getbands"):  # a Pillow image, without the need of Pillow
        shaped, needed = pil_to_tensor(image)[None], "a picture of one pixel or more"
    else:
        kind = type(image).__name__
        raise ValueError(f"image is of type {kind}; give a path, a Pillow image, a tensor or a numpy array")
    if shaped.ndim != 4 or not shaped.numel():
        raise ValueError(f"image has the shape {tuple(image.shape)}; it needs {needed}, none of them 0")
    return Pictures(_in_unit(shaped), image)


def _in_unit(x: Tensor) -> Tensor:
    """Return images in [-1, 1] and at least float32, if their unit can be recognized."""
    if x.dtype == torch.uint8:
        return x.float() / 127.5 - 1
    if not x.is_floating_point():
        raise ValueError(f"image is {x.dtype}; it needs uint8 in 0..255 or floating point numbers in [-1, 1]")
    x = x.to(compute_dtype(x.dtype))
    low, high = (float(v) for v in torch.aminmax(x))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError("image has values that are not finite; replace them, or give a mask where they are missing")
    if low >= 0 and high > MAX_VALUE:
        raise ValueError(
            f"image spans {low:g}..{high:g}; floating point lies in [-1, 1]: convert it to uint8, or scale it"
        )
    return x


def _in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(dtype) if dtype == torch.uint8 else x.to(dtype)


def _tensor(array: Any) -> Tensor:
    """Return a numpy array as a tensor of its dtype.

    Raises:
        ValueError: for a dtype that is neither uint8 nor floating point.
    """
    if array.dtype.name not in ("uint8", "float16", "float32", "float64"):
        raise ValueError(f"image is {array.dtype.name}; it needs uint8 in 0..255 or floating point numbers in [-1, 1]")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))  # a copy without negative strides


def _is_array(image: Any) -> bool:
    numpy = sys.modules.get("numpy")  # imported already if there is an array
    return numpy is not None and isinstance(image, numpy.ndarray)
