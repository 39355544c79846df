"""Options that the commands have in common: device and seed, the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from degrade.command_line import Command, Options, UsageError

if TYPE_CHECKING:
    import torch

    from restore import BaseRestorer

__all__ = ["Count", "DeviceOptions", "ModelOptions"]

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
