"""`python -m samplers`: restore pictures and generate images with a trained model, without writing a program.

    python -m samplers list
    python -m samplers image photo.jpg --out restored                          noise, by a model of the package
    python -m samplers image photo.jpg --model runs/train-001 --out restored
    python -m samplers folder pictures --model runs/train-001 --out restored
    python -m samplers generate --model runs/train-001 --out generated
    python -m samplers calibrate --model runs/train-001 --data photos            so that it finds severities by itself

The exit code is 0, 1 when a picture of a folder failed, or 2 for an error of the user, which one line on standard error
explains.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from degrade.__main__ import print_classes
from degrade.command_line import Command, run_commands
from samplers.commands.calibrate import Calibrate
from samplers.commands.folder import RestoreFolder
from samplers.commands.generate import Generate
from samplers.commands.image import RestoreImage

__all__ = ["ListSamplers", "main"]


class ListSamplers(Command):
    """Print the name of every sampler, with its arguments and their defaults."""

    def run(self) -> None:
        """Print every name with the first line of its description and its arguments."""
        from samplers.registry import SAMPLERS

        print_classes(SAMPLERS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> main(["list", "--number", "3"])
    2
    """
    commands: dict[str, type[Command]] = {
        "list": ListSamplers,
        "image": RestoreImage,
        "folder": RestoreFolder,
        "generate": Generate,
        "calibrate": Calibrate,
    }
    return run_commands(commands, "python -m samplers", "Restore pictures and generate images.", argv)


if __name__ == "__main__":
    sys.exit(main())
