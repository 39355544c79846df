"""The command that restores one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import CliPositionalArg, UsageError
from samplers.commands.measurement import LINEAR
from samplers.commands.restoration import (
    RestorationOptions,
    before_after,
    encode,
    opened,
    result_suffix,
    severity_message,
    tile_progress,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageOptions", "RestoreImage", "read_mask", "write_new"]


class ImageOptions(RestorationOptions):
    """Picture."""

    mask: str | None = Field(
        None,
        description="file of a picture of the same size, white where the picture is missing; with a model of noise it"
        " means --degradation missing_pixels",
    )

    @property
    def conditioned(self) -> bool:
        """Whether the model may have to restore what it was not trained on, which is done in steps."""
        return self.mask is not None or super().conditioned

    def restore_file(self, path: str, option: str = "") -> None:
        """Restore a picture, print its severity and the paths of what is written.

        Args:
            path: the file of the picture.
            option: name of the option that named it, for messages.

        Raises:
            UsageError: for anything that the user can correct.
        """
        if self.mask is not None and self.model == LINEAR:
            raise UsageError(f"--mask {self.mask}: --model linear fills in nothing; name a network, or no model")
        work = self.load_work()
        picture = opened(path, option)
        mask = None if self.mask is None else read_mask(self.mask, picture)
        try:
            with tile_progress(Path(path).name) as bar:
                restored = self.restore(work, picture, mask, "restoration", bar)
        except (ValueError, ImportError) as error:
            raise UsageError(str(error)) from None
        folder, stem = Path(self.out), Path(path).stem
        try:
            folder.mkdir(parents=True, exist_ok=True)
            written, number = write_new(restored.image, folder / f"{stem}-restored{result_suffix(Path(path), work.R)}")
            paths = [written]
            if self.before_after:
                page = before_after(picture, restored, stem, work.R.value_range)
                paths.append(write_new(page, folder / f"{stem}-before-after.png", number)[0])
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"--out {folder} cannot be written: {reason}; name another folder") from None
        own = work.R.degradation
        if mask is not None and own.additive and own.gaussian:
            print(f"missing pixels filled in by the rule {work.rule.name}")
        else:
            T = (work.degradation or own).T
            print(severity_message(restored.severity, self.severity != "auto", T))
        print("\n".join(map(str, paths)))


class RestoreImage(ImageOptions):
    """Restore one picture of any size and mode that is already degraded.

    Without --model, a model that comes with the package removes noise from photographs. The severity is estimated, by
    comparison with the clean pictures in --data if there are any, unless it is given; how confident the estimate is, is
    printed. A model of Gaussian noise restores any --degradation of a known --severity, in steps, and --model linear
    restores an affine one without a network. A mask is white where the picture is missing; elsewhere the picture stays
    as it is. The result is written to the folder --out as a PNG file in the size and mode of the picture, or as a .npy
    file if it is one; a model that was trained on values in a range gives values back, and TIFF files for TIFF files.
    Earlier results are kept, and a new one of the same name gets a number.
    """

    image: CliPositionalArg[str] = Field(description="file of the degraded picture")

    def run(self) -> None:
        """Restore it."""
        self.restore_file(self.image)


def read_mask(path: str, picture: Any) -> Tensor:
    """Return the mask (H, W) of a picture, true where it is white.

    Raises:
        UsageError: if it is no picture, or of another size.
    """
    from degrade.image_io import pil_to_tensor
    from samplers.applications.pictures import picture_size

    mask = opened(path, "--mask ")
    (width, height), (w, h) = picture_size(picture), picture_size(mask)
    if (w, h) != (width, height):
        raise UsageError(f"--mask {path} is {w} x {h} and the picture {width} x {height}; they must be of one size")
    return pil_to_tensor(mask).mean(0) > 0


def write_new(picture: Any, file: Path, number: int = 1) -> tuple[Path, int]:
    """Write a picture as NAME.png, or NAME-2.png and so on if that exists; return the path and the number.

    Args:
        picture: a Pillow image, whose color profile and EXIF data are written with it, or an array.
        file: the path without a number; its suffix, `.png`, `.tiff` or `.npy`, is that of the format.
        number: the first number to try; 1 means none.
    """
    content = encode(picture, file.suffix)
    while True:
        path = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
        try:
            with path.open("xb") as target:  # of programs that run together only one gets the name
                target.write(content)
            return path, number
        except FileExistsError:
            number += 1
