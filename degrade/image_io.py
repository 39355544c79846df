"""Pictures between files and tensors, through Pillow.

A tensor is float32 (C, H, W) in [-1, 1]. Training and sheets want 8-bit RGB whatever a picture was (`as_rgb`,
`to_pil_image`). A picture that goes back to its owner keeps its own mode (`pil_to_tensor`, `to_pil_like`):

| mode                   | tensor | and back                                |
|------------------------|--------|-----------------------------------------|
| 1, L                   | gray   | L                                       |
| I;16, I                | gray   | I;16, in 16 bits; white is 65535, or for I 255 if nothing is above it |
| F                      | gray   | I;16, in 16 bits; white is 1, 255 or 65535, see below |
| LA, RGBA, transparency | without the transparency | with it, untouched    |
| RGB, P, CMYK, others   | color  | RGB                                     |

A mode F picture has no unit of its own: values in 0..1, 0..255 and 0..65535 are all in use. White is taken to be the
least of 1, 255 and 65535 that no value exceeds, so a picture whose values are all within 0..1 is one with white 1.
Values that fit none (negative, above 65535 or not finite) are refused.

A picture is turned upright when it is read, here and nowhere else, and its orientation tag is dropped. What else it
carries, its color profile and its metadata, goes with it into what `to_pil_like` returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from degrade.optional import require
from degrade.options import UsageError

ORIENTATION = 0x0112  # the EXIF tag

__all__ = ["as_rgb", "load_image", "open_image", "picture_files", "pil_to_tensor", "to_pil_image", "to_pil_like"]


def load_image(path: str | Path, size: int = 128) -> Tensor:
    """Return the middle square of a photograph, scaled to (3, size, size).

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    picture = as_rgb(open_image(path))
    image, fit = require("PIL.Image", "reading a picture"), require("PIL.ImageOps", "reading a picture").fit
    return pil_to_tensor(fit(picture, (size, size), image.Resampling.LANCZOS))


def open_image(path: str | Path | IO[bytes]) -> Any:
    """Return the Pillow image in a file, turned upright.

    Args:
        path: path of the file, or the file itself, opened for reading.

    Raises:
        ImportError: without Pillow.
        ValueError: if the file is no picture that Pillow reads.
    """
    image = require("PIL.Image", "reading a picture")
    try:
        with image.open(path) as file:
            file.load()
            return _upright(file)
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(f"{getattr(path, 'name', path)} is not a picture that can be read: {error}") from None


def picture_files(folder: Path, more: Iterable[str] = ()) -> list[Path]:
    """Return the files in a folder, and in those inside it, whose suffix is that of a picture; sorted.

    Args:
        folder: the folder.
        more: further suffixes, such as `.npy`.

    Raises:
        UsageError: if it is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name a folder of pictures")
    known = {*require("PIL.Image", "reading pictures").registered_extensions(), *more}
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in known and file.is_file())


def pil_to_tensor(picture: Any) -> Tensor:
    """Return the gray (1, H, W) or the colors (3, H, W) of a Pillow image turned upright, without its transparency.

    Raises:
        ValueError: for floating point values in an unknown unit.
    """
    picture = _upright(picture)
    if _is_deep(picture):
        numpy = require("numpy", "reading a 16-bit picture")
        values = numpy.asarray(picture, dtype=numpy.float64)
        white = _white(picture.mode, float(values.min()), float(values.max()))
        return torch.from_numpy(2 * (values.clip(0, white) / white) - 1).float()[None]
    plain = picture.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB")
    data = torch.frombuffer(bytearray(plain.tobytes()), dtype=torch.uint8)
    return data.view(plain.height, plain.width, -1).permute(2, 0, 1).float() / 127.5 - 1


def to_pil_like(picture: Any, x: Tensor) -> Any:
    """Return x (C, H, W), with the channels of `pil_to_tensor(picture)`, as a Pillow image in the mode of `picture`.

    The metadata in its `info`, among it the color profile and the EXIF data, is that of `picture` upright; a profile is
    left out where it describes other channels than those of the result, as that of a CMYK picture does.
    """
    image, picture = require("PIL.Image", "writing a picture"), _upright(picture)
    if _is_deep(picture):
        values = ((x[0].detach().cpu().double().clamp(-1, 1) + 1) * 32767.5).round().to(torch.uint16)
        out = image.fromarray(values.numpy())
    else:
        out = to_pil_image(x)
        if len(x) == 1:
            out = out.getchannel(0)
        if picture.has_transparency_data:
            out.putalpha(picture.convert("RGBA").getchannel("A"))
    # The transparency of a palette is among the alpha channel by now.
    out.info = {key: value for key, value in picture.info.items() if key != "transparency"}
    if picture.mode == "CMYK":
        out.info.pop("icc_profile", None)
    return out


def _upright(picture: Any) -> Any:
    """Return a Pillow image turned as its EXIF orientation says, without that tag; itself if there is nothing to do."""
    if picture.getexif().get(ORIENTATION, 1) == 1:
        return picture
    return require("PIL.ImageOps", "reading a picture").exif_transpose(picture)


def _white(mode: str, low: float, high: float) -> int:
    """Return the value of white in a picture in more than 8 bits, with values from `low` to `high`."""
    if mode.startswith("I;16"):
        return 65535
    if mode != "F":
        return 255 if high <= 255 else 65535
    if not 0 <= low <= high <= 65535:
        raise ValueError(
            f"the picture's floating point values span {low:g}..{high:g}; scale them to 0..1, 0..255 or 0..65535"
        )
    return next(white for white in (1, 255, 65535) if high <= white)


def _is_deep(picture: Any) -> bool:
    """Return whether a Pillow image is gray in more than 8 bits."""
    return bool(picture.mode.startswith(("I", "F")))


def to_pil_image(x: Tensor) -> Any:
    """Return one image (C, H, W) in [-1, 1] as a Pillow image in RGB: its first 3 channels, or of 1 or 2 the first."""
    x = x[:3] if len(x) >= 3 else x[:1]
    values = ((x.detach().cpu().float().expand(3, -1, -1).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    height, width = values.shape[1:]
    data = values.permute(1, 2, 0).numpy().tobytes()
    return require("PIL.Image", "writing a picture").frombytes("RGB", (width, height), data)


def as_rgb(picture: Any) -> Any:
    """Return a Pillow image as 8-bit RGB: transparency becomes white, wider values are scaled, not cut."""
    picture = _upright(picture)
    if _is_deep(picture):
        picture = to_pil_image(pil_to_tensor(picture))
    if picture.has_transparency_data:
        image, picture = require("PIL.Image", "reading a picture"), picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
