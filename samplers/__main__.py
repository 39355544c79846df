"""`python -m samplers`: restore pictures and generate images with a trained model, without writing a program.

    python -m samplers list
    python -m samplers image photo.jpg --out restored                          noise, by the model that comes along
    python -m samplers image photo.jpg --model runs/train-001 --out restored
    python -m samplers folder pictures --model runs/train-001 --out restored
    python -m samplers generate --model runs/train-001 --out generated

The exit code is 0, 1 when a picture of a folder failed, or 2 for an error of the user, which one line on standard error
explains.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from degrade.command_line import Command, run_commands
from degrade.serializable import is_runtime
from samplers.commands.folder import RestoreFolder
from samplers.commands.generate import Generate
from samplers.commands.image import RestoreImage

__all__ = ["ListSamplers", "main"]


class ListSamplers(Command):
    """Print the name of every sampler, with its arguments and their defaults."""

    def run(self) -> None:
        """Print every name with the first line of its description and its arguments."""
        from samplers.registry import SAMPLERS, sampler_names

        names = sampler_names()
        width = max(map(len, names)) + 2
        for name in names:
            cls = SAMPLERS.get(name)
            print(f"{name:<{width}}{(cls.__doc__ or '').strip().partition(chr(10))[0]}")
            fields = [field for field in dataclasses.fields(cls) if not is_runtime(field)]
            if fields:
                print(" " * width + "  ".join(f"{field.name}={_default(field.default)}" for field in fields))


def _default(value: object) -> str:
    return str(getattr(value, "name", value))


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
    }
    return run_commands(commands, "python -m samplers", "Restore pictures and generate images.", argv)


if __name__ == "__main__":
    sys.exit(main())
