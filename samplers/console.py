"""The console command `degrade-restore`: the commands of the three packages under one name.

degrade-restore image photo.jpg --model runs/train-001 --out restored
degrade-restore folder pictures --model runs/train-001 --out restored
degrade-restore generate --model runs/train-001 --out generated
degrade-restore calibrate --model runs/train-001 --data photos
degrade-restore export runs/train-001 --format onnx --out model.onnx
degrade-restore degradations | samplers | models | info | show | check | fit
"""

from __future__ import annotations

from collections.abc import Sequence

from degrade.__main__ import Check, List, Show
from degrade.command_line import Command, run_commands
from degrade.fitting.command import FitDegradation
from restore.__main__ import ExportModel, ListModels, ModelInfo
from samplers.__main__ import ListSamplers
from samplers.commands.calibrate import Calibrate
from samplers.commands.folder import RestoreFolder
from samplers.commands.generate import Generate
from samplers.commands.image import RestoreImage

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> code = main(["check", "gaussian_noise", "T=4", "--size", "8"])  # doctest: +ELLIPSIS
    identity      holds  off by 0 (at most 0)
    ...
    >>> code
    0
    """
    commands: dict[str, type[Command]] = {
        "image": RestoreImage,
        "folder": RestoreFolder,
        "generate": Generate,
        "calibrate": Calibrate,
        "degradations": List,
        "samplers": ListSamplers,
        "models": ListModels,
        "info": ModelInfo,
        "export": ExportModel,
        "show": Show,
        "check": Check,
        "fit": FitDegradation,
    }
    return run_commands(commands, "degrade-restore", "Restore degraded pictures, and look at what can be done.", argv)
