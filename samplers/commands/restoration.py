"""What restoring one picture and a folder of pictures have in common: options, reference pictures, files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from degrade.command_line import UsageError
from degrade.optional import require
from samplers.commands.measurement import LINEAR, MeasurementOptions
from samplers.commands.options import Count

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from degrade import Degradation
    from restore import BaseRestorer, Rule
    from restore.value_range import ValueRange
    from samplers import RestorationResult, Sampler, SeverityEstimate

__all__ = [
    "RestorationOptions",
    "Work",
    "before_after",
    "encode",
    "opened",
    "result_suffix",
    "severity_message",
    "tile_progress",
]

DEFAULT_MODEL = "photo-noise"  # which comes with the package
NUM_REFERENCE = 48  # clean pictures that a severity is estimated by
SHOWN = 384  # longest side, in pixels, of a picture in the comparison of before and after


class Work(NamedTuple):
    """What pictures are restored with.

    It is the model, the sampler, clean pictures, the device, and the degradation and the rule of a measurement.
    """

    R: BaseRestorer
    sampler: Sampler | None
    reference: Tensor | None
    device: torch.device
    degradation: Degradation | None
    rule: Rule


class RestorationOptions(MeasurementOptions):
    """Restoration."""

    model: str | None = Field(
        DEFAULT_MODEL, description="name of a model (see `python -m restore list`), or folder of a run"
    )
    out: str = Field("restored", description="folder for the restored pictures")
    severity: int | Literal["auto"] = Field(
        "auto",
        description="severity in 1..T of the degradation; auto to estimate it, with --degradation only from --mask",
    )
    sampler: str = Field(
        "direct", description="direct for one prediction, or a sampler such as algorithm2 or ddim:eta=0.5"
    )
    sample_steps: Count | None = Field(
        None, description="steps of the sampler (default: one for each level, 20 with --degradation)"
    )
    tile: Count | None = Field(None, description="side in pixels of the tiles that the network sees (default: 128)")
    before_after: bool = Field(False, description="also write a small picture that compares before and after")

    @property
    def conditioned(self) -> bool:
        """Whether the model may have to restore what it was not trained on, which is done in steps."""
        return self.degradation is not None and self.model != LINEAR

    def load_work(self) -> Work:
        """Return the model, the sampler, and clean pictures where a severity is estimated.

        Raises:
            UsageError: if one of them cannot be had.
        """
        from samplers.registry import parse_sampler

        try:
            sampler = None if self.sampler == "direct" else parse_sampler(self.sampler)
        except ValueError as error:
            raise UsageError(f"--sampler {self.sampler}: {error}, or direct") from None
        if sampler is None and self.sample_steps is not None and not self.conditioned:
            raise UsageError(
                f"--sample-steps {self.sample_steps}: --sampler direct has no steps; name a sampler or leave it out"
            )
        device = self.torch_device()
        rule, D = self.chosen_rule(), None if self.model == LINEAR else self.measured_degradation()
        R, reference = self.load_reference(device)
        return Work(R, sampler, reference, device, D, rule)

    def load_reference(self, device: torch.device) -> tuple[BaseRestorer, Tensor | None]:
        """Return the model, and clean pictures of its size where a severity is to be estimated."""
        from samplers.commands.clean_pictures import clean_pictures

        R = self.load_model(device)
        return R, clean_pictures(R, self.data, NUM_REFERENCE, surrounded=True) if self.severity == "auto" else None

    def restore(self, work: Work, picture: Any, mask: Tensor | None, key: str, bar: Any = None) -> RestorationResult:
        """Return a Pillow image restored, in its own mode, and its severity.

        Args:
            work: the model and the like.
            picture: the picture.
            mask: (H, W) bool, true where it is missing.
            key: key of its random numbers, together with --seed.
            bar: called with (tiles done, tiles in all).

        Raises:
            ValueError: if the picture or an option does not suit the model.
        """
        from degrade.image_io import pil_to_tensor, to_pil_like
        from degrade.random import seeded_generator
        from samplers.applications.restore_image import RestoreOptions, restore_image

        options = RestoreOptions(
            self.sample_steps, mask, self.tile, work.reference, bar, work.degradation, None, work.rule, self.noise
        )
        generator = seeded_generator(work.device, self.seed, key)
        restored = restore_image(work.R, picture, self.severity, work.sampler, options, generator)
        if restored.image is picture and hasattr(picture, "getbands") and work.R.value_range is None:
            restored = restored._replace(image=to_pil_like(picture, pil_to_tensor(picture)))
        return restored


def severity_message(found: SeverityEstimate, given: bool, T: int) -> str:
    """Return the line about the severity of a picture.

    >>> from samplers import SeverityEstimate
    >>> severity_message(SeverityEstimate(12, 9, 14, True, "", (), ()), False, 50)
    'severity 12 of 50, between 9 and 14 with 90 % (confident)'
    """
    if given:
        return f"severity {found.t} of {T}, as given"
    if found.low == found.high == found.t and found.confident and len(found.levels) == 1:
        return f"severity {found.t} of {T}, by the size of the mask"
    sure = "confident" if found.confident else f"not confident: {found.reason}; if it looks wrong, give --severity"
    clean = ": nothing to restore" if not found.t else ""
    return f"severity {found.t} of {T}{clean}, between {found.low} and {found.high} with 90 % ({sure})"


def result_suffix(file: Path, R: BaseRestorer) -> str:
    """Return the suffix of the result for a picture: .npy for arrays, .tiff for values in a TIFF file, else .png."""
    from samplers.applications.pictures import ARRAY_SUFFIX

    suffix = file.suffix.lower()
    if suffix == ARRAY_SUFFIX:
        return ARRAY_SUFFIX
    return ".tiff" if R.value_range is not None and suffix in (".tif", ".tiff") else ".png"


def encode(picture: Any, suffix: str = ".png") -> bytes:
    """Return an array as a .npy file, or a Pillow image as a TIFF or PNG file with its color profile and EXIF data."""
    from samplers.applications.pictures import ARRAY_SUFFIX

    encoded = io.BytesIO()
    if suffix == ARRAY_SUFFIX:
        require("numpy", "writing an array").save(encoded, picture)
        return encoded.getvalue()
    if suffix == ".tiff":
        picture.save(encoded, "tiff")
        return encoded.getvalue()
    # Pillow's PNG writer takes EXIF data as an argument only.
    picture.save(encoded, "png", **{key: picture.info[key] for key in ("icc_profile", "exif") if key in picture.info})
    return encoded.getvalue()


def before_after(picture: Any, restored: RestorationResult, title: str, value_range: ValueRange | None = None) -> Any:
    """Return a small picture, a Pillow image, that shows a picture beside its restoration.

    Args:
        picture: the Pillow image or the array that was restored.
        restored: its restoration.
        title: what is written beside both.
        value_range: range of the values of both, if the model has one.
    """
    import torch
    from torch.nn.functional import interpolate

    from degrade.rendering import SeverityRow, render_rows
    from samplers.applications.pictures import picture_size, read_pictures

    width, height = picture_size(picture)
    scale = min(1.0, SHOWN / max(width, height))
    size = [max(1, round(scale * side)) for side in (height, width)]
    images = [read_pictures(each, value_range).x.float() for each in (picture, restored.image)]
    panels = [interpolate(x[:, :3] if x.shape[1] >= 3 else x[:, :1], size, mode="area") for x in images]
    small = torch.cat([panel.expand(-1, 3, -1, -1) for panel in panels])
    strip = SeverityRow(title, f"{width} x {height}", small, [f"t = {restored.severity.t}", "restored"])
    return render_rows([strip], scale=max(1, 128 // max(size)))


@contextmanager
def tile_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (tiles done, tiles in all) that draws a bar on standard error, if that is a terminal."""
    bar = require("tqdm", "a progress bar").tqdm(desc=title, unit="tile", leave=False, disable=None)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.n = done
        bar.refresh()

    try:
        yield show
    finally:
        bar.close()


def opened(path: str | Path, option: str) -> Any:
    """Return the picture in a file, the first if the file has several, which a line on standard error says.

    Raises:
        UsageError: if it cannot be read.
    """
    from samplers.applications.pictures import open_picture

    image = require("PIL.Image", "reading pictures")
    try:
        picture = open_picture(path)
        if not hasattr(picture, "getbands"):
            return picture
        with image.open(path) as file:
            several = getattr(file, "is_animated", False)
    except (ValueError, OSError) as error:
        raise UsageError(f"{option}{error}") from None
    if several:
        warnings.warn(f"{option}{path} has several frames or pages; the first is used", stacklevel=2)
    return picture
