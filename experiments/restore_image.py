"""Restore a picture of yours that is already degraded.

    python experiments/restore_image.py --model runs/train-001 --image photo.jpg
    python experiments/restore_image.py --model runs/train-001 --image photo.jpg --severity 37 --sampler algorithm2
    python experiments/restore_image.py --model runs/train-002 --image photo.png --mask mask.png

Any size will do: the network sees overlapping tiles. The severity is estimated, by comparison with the images that the
model was trained on (or those named with --data), unless it is given; how sure that is, is said. A mask is white where
the picture is missing; elsewhere it stays as it is. Written are the picture in its full size and its own mode, as PNG,
and a small one of before and after; earlier results are kept, and new ones of the same name get a number.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from degrade.command_line import UsageError, explicit_values, run_main, validated
from degrade.image_io import open_image, pil_to_tensor, to_pil_like
from degrade.rendering import SeverityRow, render_rows
from degrade.seeding import seeded_generator
from experiments.run.model import ModelSource, load_model
from experiments.run.options import Count, DeviceOptions
from restore import Restorer, load
from samplers.applications.restore_image import RestorationResult, RestoreOptions, restore_image
from samplers.applications.severity import SeverityEstimate
from samplers.registry import parse_sampler

__all__ = ["Config", "main"]

PROGRAM = "restore_image.py"
REFERENCE = 48  # pictures that a severity is estimated by
SHOWN = 384  # longest side of a picture in the sheet


class Config(DeviceOptions):
    """The picture and its restoration."""

    model: str | None = Field(None, description="folder of a run, or of its model")
    image: str | None = Field(None, description="the picture")
    severity: int | Literal["auto"] = Field("auto", description="how far it is degraded, 1 to the model's T, or auto")
    mask: str | None = Field(None, description="a picture of the same size, white where yours is missing")
    sampler: str = Field("direct", description="direct, or a walk such as algorithm2 or ddim:eta=0.5")
    sample_steps: Count | None = Field(None, description="steps of a walk (default: one for each level)")
    tile: Count | None = Field(None, description="side of the tiles that the network sees (default: about 128)")
    data: str | None = Field(None, description="clean pictures for auto, as --data of train.py (default: the run's)")
    out: str = Field("restored", description="folder for what is made")


def read_model(config: Config, device: torch.device) -> tuple[Restorer, Tensor | None]:
    """Return the model and, where a severity is to be estimated, clean images like those it was trained on.

    Raises:
        UsageError: if there is no model, or no images where they were asked for.
    """
    if config.model is None or config.image is None:
        raise UsageError("--model and --image are both needed: the folder of a run, and a picture")
    if config.severity == "auto" and config.mask is None:
        model = load_model(ModelSource(config.model, config.data), device)
        source = model.data.training if model.data else None
        return model.R, source(REFERENCE, seeded_generator(device, config.seed, "reference")) if source else None
    try:
        return load(config.model, device), None
    except (OSError, ValueError) as error:
        raise UsageError(f"--model {config.model}: {error}") from None


def read_mask(path: str, picture: Any) -> Tensor:
    """Return the mask (H, W) of a picture, true where it is white.

    Raises:
        UsageError: if it is no picture, or of another size.
    """
    mask = _opened(path, "--mask")
    if mask.size != picture.size:
        (width, height), (w, h) = picture.size, mask.size
        raise UsageError(f"--mask {path} is {w} x {h} and the picture {width} x {height}; they must be of one size")
    return pil_to_tensor(mask).mean(0) > 0


def said(found: SeverityEstimate, config: Config, T: int) -> str:
    """Return the line about the severity."""
    if config.severity != "auto":
        return f"severity {found.t} of {T}, as given"
    if found.low == found.high == found.t and found.confident and len(found.levels) == 1:
        return f"severity {found.t} of {T}, by the size of the hole"
    confident = "sure" if found.confident else f"not sure: {found.reason}; if the result is not right, try --severity"
    clean = ": nothing to restore" if not found.t else ""
    return f"severity {found.t} of {T}{clean}, between {found.low} and {found.high} with 90 % ({confident})"


def write(config: Config, picture: Any, restored: RestorationResult) -> tuple[Path, Path]:
    """Write the restored picture, and one of before and after, under names that are free; return their paths.

    Raises:
        UsageError: if they cannot be written.
    """
    stem = Path(config.image or "").stem
    panels = [pil_to_tensor(each)[None] for each in (picture, restored.image)]
    scale = min(1.0, SHOWN / max(picture.size))
    size = [max(1, round(scale * side)) for side in panels[0].shape[2:]]
    small = torch.cat([interpolate(panel, size, mode="area").expand(-1, 3, -1, -1) for panel in panels])
    strip = SeverityRow(stem, f"{picture.width} x {picture.height}", small, [f"t = {restored.severity.t}", "restored"])
    page = render_rows([strip], scale=max(1, 128 // max(size)))
    folder = Path(config.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written, number = write_new(restored.image, folder, f"{stem}-restored")
        return written, write_new(page, folder, f"{stem}-before-after", number)[0]
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror or error}; name another folder") from None


def write_new(picture: Any, folder: Path, name: str, number: int = 1) -> tuple[Path, int]:
    """Write a picture as NAME.png, or NAME-2.png and so on if that exists; return the path and the number.

    Its color profile and EXIF data are written with it.

    Args:
        picture: a Pillow image.
        folder: where it goes.
        name: of the file, without suffix.
        number: the first one to try.
    """
    encoded = io.BytesIO()
    # Pillow's PNG writer takes EXIF data as an argument only.
    picture.save(encoded, "png", **{key: picture.info[key] for key in ("icc_profile", "exif") if key in picture.info})
    while True:
        path = folder / (f"{name}.png" if number == 1 else f"{name}-{number}.png")
        try:
            with path.open("xb") as file:  # of programs that run together only one gets the name
                file.write(encoded.getvalue())
            return path, number
        except FileExistsError:
            number += 1


def main(argv: Sequence[str]) -> None:
    """Restore one picture and print the severity and where the results are."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    try:
        step = None if config.sampler == "direct" else parse_sampler(config.sampler)
    except ValueError as error:
        raise UsageError(f"--sampler {config.sampler}: {error}, or direct") from None
    if step is None and config.sample_steps is not None:
        raise UsageError(
            f"--sample-steps {config.sample_steps}: --sampler direct has no steps; name a walk or leave it out"
        )
    device = config.torch_device()
    R, reference = read_model(config, device)
    picture = _opened(config.image or "", "--image")
    mask = None if config.mask is None else read_mask(config.mask, picture)
    generator = seeded_generator(device, config.seed, "restoration")
    try:
        restored = restore_image(
            *(R, picture, config.severity, step),
            RestoreOptions(config.sample_steps, mask, config.tile, reference),
            generator,
        )
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    if restored.image is picture:
        restored = restored._replace(image=to_pil_like(picture, pil_to_tensor(picture)))
    paths = write(config, picture, restored)
    print(said(restored.severity, config, R.degradation.T))
    print("\n".join(map(str, paths)))


def _opened(path: str, option: str) -> Any:
    """Return the picture in a file; if it has several frames or pages the first, and that is said."""
    try:
        picture = open_image(path)
        with Image.open(path) as file:
            several = getattr(file, "is_animated", False)
    except (ValueError, OSError) as error:
        raise UsageError(f"{option} {error}") from None
    if several:
        print(f"{option} {path} has several frames or pages; the first is used", file=sys.stderr)
    return picture


if __name__ == "__main__":
    sys.exit(run_main(main, "restore_image"))
