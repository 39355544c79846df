"""Pictures between files and tensors, through Pillow.

A tensor is float32 (3, H, W) in [-1, 1]; a Pillow image is 8-bit RGB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degrade.extras import need

__all__ = ["photograph", "to_pillow"]


def photograph(path: str | Path, size: int = 128) -> Tensor:
    """Return the middle square of a photograph, scaled to (3, size, size).

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    image = need("PIL.Image", "reading a picture")
    try:
        with image.open(path) as file:
            upright = need("PIL.ImageOps", "reading a picture").exif_transpose(file).convert("RGB")
    except (OSError, image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None
    square = need("PIL.ImageOps", "reading a picture").fit(upright, (size, size), image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(size, size, 3)
    return pixels.permute(2, 0, 1).float() / 127.5 - 1


def to_pillow(x: Tensor) -> Any:
    """Return one image (1 or 3, H, W) in [-1, 1] as a Pillow image in RGB."""
    pixels = ((x.detach().cpu().float().expand(3, -1, -1).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = pixels.shape[1:]
    data = pixels.permute(1, 2, 0).numpy().tobytes()
    return need("PIL.Image", "writing a picture").frombytes("RGB", (width, height), data)
