"""Options that the commands have in common: device and seed, the model, clean pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from degrade.command_line import Command, Options, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from restore import BaseRestorer
    from restore.value_range import ValueRange

__all__ = ["Count", "DeviceOptions", "ModelOptions", "image_shape", "read_pictures_of"]

Count = Annotated[int, Field(ge=1)]


class DeviceOptions(Options):
    """Device and seed."""

    device: str = Field("auto", description="device: cpu, cuda, mps, or auto for the fastest that is available")
    seed: int = Field(0, description="seed of all random numbers")

    def torch_device(self) -> torch.device:
        """Return the device; of several processes that train together each has its own.

        Raises:
            UsageError: if this machine does not have it.
        """
        import torch

        from restore.distributed import get_world_size, local_rank

        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if name == "cuda" and get_world_size() > 1:
            name = f"cuda:{local_rank()}"
        try:
            device = torch.device(name)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--device {self.device} is not there ({reason}); try --device auto or cpu") from None
        return device


class ModelOptions(DeviceOptions, Command):
    """Model."""

    model: str | None = Field(None, description="name of a model (see `python -m restore list`), or folder of a run")
    data: str | None = Field(None, description="folder of clean pictures like those that the model was trained on")

    def load_model(self, device: torch.device, **runtime: Any) -> BaseRestorer:
        """Return the model.

        Raises:
            UsageError: if none is named, or it cannot be read.
        """
        from restore import load

        if self.model is None:
            raise UsageError("--model is missing; name a model, or the folder of a run, such as runs/train-001")
        try:
            return load(self.model, device, **runtime)
        except (OSError, ValueError) as error:
            raise UsageError(f"--model {self.model}: {error}") from None

    def clean_pictures(self, R: BaseRestorer, most: int) -> Tensor | None:
        """Return at most `most` pictures (n, C, S, S) of the folder --data, of the size of R; None without --data.

        Raises:
            UsageError: if the folder holds no two pictures, or one of other channels, or the size of R's images is not
                known.
        """
        if self.data is None:
            return None
        import torch

        shape = image_shape(R)
        if shape is None:
            raise UsageError(f"--data {self.data}: the size of the model's images is not known; leave --data out")
        channels, side, _ = shape
        found = read_pictures_of(Path(self.data), side, most, R.value_range)
        other = [x.shape[0] for x in found if R.value_range and x.shape[0] != channels]
        if other:
            raise UsageError(f"--data {self.data} holds a picture of {other[0]} channels; the model's have {channels}")
        if len(found) < 2:
            raise UsageError(f"--data {self.data} holds {len(found)} pictures; name a folder with two or more")
        x0 = torch.stack(found).to(R.device)
        return x0.mean(1, keepdim=True) if channels == 1 else x0


def image_shape(R: BaseRestorer) -> tuple[int, int, int] | None:
    """Return (C, H, W) of the images that a model was trained on; None if their size is not known."""
    config = getattr(getattr(R, "net", None), "config", None)
    side = R.image_size or getattr(config, "size", None)
    return None if side is None else (R.image_channels or 3, side, side)


def read_pictures_of(folder: Path, side: int, most: int, value_range: ValueRange | None = None) -> list[Tensor]:
    """Return the middle squares of at most `most` pictures of a folder, scaled to `side`; what is none is skipped.

    Args:
        folder: the folder.
        side: side of the squares in pixels.
        most: largest number of pictures.
        value_range: the values that become -1 and 1, in arrays (.npy) as well; None for 8-bit pictures.

    Returns:
        Images (C, side, side) in [-1, 1], of 3 channels without a range.
    """
    from torch.nn.functional import interpolate

    from degrade.image_io import load_image, picture_files
    from samplers.applications.pictures import ARRAY_SUFFIX, read_pictures

    def read(file: Path) -> Tensor:
        if value_range is None:
            return load_image(file, side)
        x = read_pictures(file, value_range).x.float()
        height, width = x.shape[2:]
        least = min(height, width)
        top, left = (height - least) // 2, (width - least) // 2
        return interpolate(x[..., top : top + least, left : left + least], [side, side], mode="area")[0]

    def readable() -> Iterator[Tensor]:
        for file in picture_files(folder, [ARRAY_SUFFIX] if value_range else []):
            try:
                yield read(file)
            except ValueError:
                continue

    return [x for x, _ in zip(readable(), range(most))]
