"""Options of programs that read images: which data, how pictures become images, and what belongs to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from degrade.command_line import Options
from experiments.data.constants import OVERSIZE, TORCHVISION
from restore.value_range import ValueRange

if TYPE_CHECKING:
    from experiments.data.decoding import ResizePolicy

__all__ = ["DataOptions", "ExampleOptions", "LabelOptions", "PictureOptions", "SourceOptions"]


class PictureOptions(Options):
    """Pictures."""

    download: bool = Field(False, description="download the data set with torchvision")
    data_dir: str = Field("data", description="folder of torchvision's data")
    resize: Literal["crop", "pad", "none"] = Field(
        "crop",
        description="crop: pictures are scaled and cropped; pad: padded with black; none: random windows of --size of"
        " the pictures at their own resolution",
    )
    oversize: Annotated[float, Field(ge=1)] = Field(
        OVERSIZE,
        description="pictures are kept this factor larger than --size, and training takes random windows; 1 for none",
    )
    channels: str = Field(
        "auto",
        pattern=r"^(auto|[1-9]\d*)$",
        description="number of channels, or auto: 1 if every picture is gray, else 3",
    )
    value_range: tuple[float, ...] = Field(
        (),
        description="LOW,HIGH: values in the files that become -1 and 1, for 16-bit or floating-point files of any"
        " number of channels; none for 8-bit pictures",
    )

    @field_validator("value_range")
    @classmethod
    def _check_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, 2):
            raise ValueError("give two values, LOW,HIGH, or none")
        if value:
            ValueRange(*value)
        return value

    @model_validator(mode="after")
    def _check_channels(self) -> PictureOptions:
        if not self.value_range and self.channels not in ("auto", "1", "3"):
            raise ValueError(f"--channels {self.channels} needs --value-range LOW,HIGH; 8-bit pictures have 1 or 3")
        return self

    def resize_policy(self, size: int) -> ResizePolicy:
        """Return what becomes of every picture."""
        from experiments.data.decoding import ResizePolicy

        values = ValueRange(*self.value_range) if self.value_range else None
        channels = None if self.channels == "auto" else int(self.channels)
        return ResizePolicy(size, self.resize, self.oversize, channels, values)


class SourceOptions(Options):
    """Data."""

    data: str = Field(
        "drawn",
        description="drawn, drawn-animals, a folder, a zip, a store (store.py), hf:NAME_OR_FOLDER of the library"
        f" `datasets`, or one of {', '.join(TORCHVISION)}",
    )
    flip: bool | None = Field(None, description="mirror half of the training images (default: if they have color)")
    rotate: bool = Field(False, description="turn training images by a random multiple of 90 degrees")
    data_device: Literal["auto", "device", "host"] = Field(
        "auto",
        description="memory that holds the images: device, host (each batch is copied), or auto: device if they fit",
    )


class DataOptions(PictureOptions, SourceOptions):
    """Data, and how pictures are read."""


class LabelOptions(DataOptions):
    """Classes."""

    labels: str | None = Field(
        None,
        description="give the network the class of each image: folders (or the classes of a known"
        " set), or a CSV of name,label",
    )


class ExampleOptions(LabelOptions):
    """Pairs and second images."""

    pairs: tuple[str, str] | None = Field(
        None, description="folders, zips or stores of clean and of degraded images of the same names; replaces --data"
    )
    cond_images: str | None = Field(
        None,
        description="folder, zip or store of second images with the names of those of --data; the"
        " network is given both",
    )
