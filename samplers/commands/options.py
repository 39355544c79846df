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
            UsageError: if the folder holds no two pictures, or the size of R's images is not known.
        """
        if self.data is None:
            return None
        shape = image_shape(R)
        if shape is None:
            raise UsageError(f"--data {self.data}: the size of the model's images is not known; leave --data out")
        _, side, _ = shape
        found = read_pictures_of(Path(self.data), side, most)
        if len(found) < 2:
            raise UsageError(f"--data {self.data} holds {len(found)} pictures; name a folder with two or more")
        return (found.mean(1, keepdim=True) if R.image_channels == 1 else found).to(R.device)


def image_shape(R: BaseRestorer) -> tuple[int, int, int] | None:
    """Return (C, H, W) of the images that a model was trained on; None if their size is not known."""
    config = getattr(getattr(R, "net", None), "config", None)
    side = R.image_size or getattr(config, "size", None)
    return None if side is None else (R.image_channels or 3, side, side)


def read_pictures_of(folder: Path, side: int, most: int) -> Tensor:
    """Return the middle squares (n, 3, side, side) of at most `most` pictures of a folder; what is none is skipped."""
    import torch

    from degrade.image_io import load_image, picture_files

    def readable() -> Iterator[Tensor]:
        for file in picture_files(folder):
            try:
                yield load_image(file, side)
            except ValueError:
                continue

    found = [x for x, _ in zip(readable(), range(most))]
    return torch.stack(found) if found else torch.zeros(0, 3, side, side)
