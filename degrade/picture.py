"""Pictures between files and tensors, through Pillow.

A tensor is float32 (3, H, W) in [-1, 1]; a Pillow image is 8-bit RGB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degrade.extras import need

__all__ = ["as_rgb", "photograph", "to_pillow"]


def photograph(path: str | Path, size: int = 128) -> Tensor:
    """Return the middle square of a photograph, scaled to (3, size, size).

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    image = need("PIL.Image", "reading a picture")
    try:
        with image.open(path) as file:
            upright = need("PIL.ImageOps", "reading a picture").exif_transpose(file)
    except (OSError, image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None
    square = need("PIL.ImageOps", "reading a picture").fit(as_rgb(upright), (size, size), image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(size, size, 3)
    return pixels.permute(2, 0, 1).float() / 127.5 - 1


def to_pillow(x: Tensor) -> Any:
    """Return one image (1 or 3, H, W) in [-1, 1] as a Pillow image in RGB."""
    pixels = ((x.detach().cpu().float().expand(3, -1, -1).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = pixels.shape[1:]
    data = pixels.permute(1, 2, 0).numpy().tobytes()
    return need("PIL.Image", "writing a picture").frombytes("RGB", (width, height), data)


def as_rgb(picture: Any) -> Any:
    """Return a Pillow image as 8-bit RGB: transparency becomes white, wider values are scaled, not cut."""
    if picture.mode.startswith(("I", "F")):
        numpy, image = need("numpy", "reading a 16-bit picture"), need("PIL.Image", "reading a picture")
        values = numpy.asarray(picture, dtype=numpy.float64)
        top = 255 if values.max() <= 255 and not picture.mode.startswith("I;16") else 65535
        picture = image.fromarray((values.clip(0, top) * (255 / top)).round().astype(numpy.uint8))
    if picture.has_transparency_data:
        image, picture = need("PIL.Image", "reading a picture"), picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
