"""Pictures between files and tensors, through Pillow.

A tensor is float32 (C, H, W) in [-1, 1]. Training and sheets want 8-bit RGB whatever a picture was (`as_rgb`,
`to_pillow`). A picture that goes back to its owner keeps its own mode (`pixels`, `like`):

| mode                   | tensor | and back                                |
|------------------------|--------|-----------------------------------------|
| 1, L                   | gray   | L                                       |
| I;16, I, F             | gray   | I;16, in 16 bits; white is 65535, or 255 if nothing is above it |
| LA, RGBA, transparency | without the transparency | with it, untouched    |
| RGB, P, CMYK, others   | color  | RGB                                     |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degrade.extras import need

__all__ = ["as_rgb", "like", "opened", "photograph", "pixels", "to_pillow"]


def photograph(path: str | Path, size: int = 128) -> Tensor:
    """Return the middle square of a photograph, scaled to (3, size, size).

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    picture = as_rgb(opened(path))
    image, fit = need("PIL.Image", "reading a picture"), need("PIL.ImageOps", "reading a picture").fit
    return pixels(fit(picture, (size, size), image.Resampling.LANCZOS))


def opened(path: str | Path) -> Any:
    """Return the Pillow image in a file, turned upright.

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    image = need("PIL.Image", "reading a picture")
    try:
        with image.open(path) as file:
            return need("PIL.ImageOps", "reading a picture").exif_transpose(file)
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from None


def pixels(picture: Any) -> Tensor:
    """Return the gray (1, H, W) or the colors (3, H, W) of a Pillow image, without its transparency."""
    if _is_deep(picture):
        numpy = need("numpy", "reading a 16-bit picture")
        values = numpy.asarray(picture, dtype=numpy.float64)
        white = 255 if values.max() <= 255 and not picture.mode.startswith("I;16") else 65535
        return torch.from_numpy(2 * (values.clip(0, white) / white) - 1).float()[None]
    plain = picture.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB")
    data = torch.frombuffer(bytearray(plain.tobytes()), dtype=torch.uint8)
    return data.view(plain.height, plain.width, -1).permute(2, 0, 1).float() / 127.5 - 1


def like(picture: Any, x: Tensor) -> Any:
    """Return x (C, H, W), with the channels of `pixels(picture)`, as a Pillow image in the mode of `picture`."""
    image = need("PIL.Image", "writing a picture")
    if _is_deep(picture):
        values = ((x[0].detach().cpu().double().clamp(-1, 1) + 1) * 32767.5).round().to(torch.uint16)
        return image.fromarray(values.numpy())
    out = to_pillow(x)
    if len(x) == 1:
        out = out.getchannel(0)
    if picture.has_transparency_data:
        out.putalpha(picture.convert("RGBA").getchannel("A"))
    return out


def _is_deep(picture: Any) -> bool:
    """Return whether a Pillow image is gray in more than 8 bits."""
    return bool(picture.mode.startswith(("I", "F")))


def to_pillow(x: Tensor) -> Any:
    """Return one image (1 or 3, H, W) in [-1, 1] as a Pillow image in RGB."""
    values = ((x.detach().cpu().float().expand(3, -1, -1).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = values.shape[1:]
    data = values.permute(1, 2, 0).numpy().tobytes()
    return need("PIL.Image", "writing a picture").frombytes("RGB", (width, height), data)


def as_rgb(picture: Any) -> Any:
    """Return a Pillow image as 8-bit RGB: transparency becomes white, wider values are scaled, not cut."""
    if _is_deep(picture):
        picture = to_pillow(pixels(picture))
    if picture.has_transparency_data:
        image, picture = need("PIL.Image", "reading a picture"), picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
