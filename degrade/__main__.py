"""`python -m degrade`: look at degradations without writing a program.

    python -m degrade list
    python -m degrade show NAME [--image PHOTO] [--severity T] [--out FILE] [--size N] [--seed N] [key=value ...]
    python -m degrade check NAME_OR_MODULE:CLASS [--size N] [--channels N] [key=value ...]
    python -m degrade fit NAME --pairs CLEAN DEGRADED [--fit key=[low,high] ...] [--severity T] [key=value ...]

The exit code is 0, 1 when a law is violated, or 2 for an error of the user, which one line on standard error explains.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from degrade.command_line import CliPositionalArg, Command, KeyValues, run_commands
from degrade.fitting.command import FitDegradation
from degrade.serializable import Serializable, is_runtime

if TYPE_CHECKING:
    from torch import Tensor

    from degrade.base import Degradation
    from degrade.registry import Registry

__all__ = ["Check", "List", "Show", "main", "print_classes"]

Size = Annotated[int, Field(ge=1)]


class List(Command):
    """Print the name of every degradation, with its arguments and their defaults."""

    def run(self) -> None:
        """Print every name with the first line of its description and its arguments."""
        from degrade.registry import DEGRADATIONS

        print_classes(DEGRADATIONS)


class Show(Command):
    """Draw one picture at growing severity of a degradation."""

    name: CliPositionalArg[str] = Field(description="name of the degradation; `list` prints all names")
    arguments: CliPositionalArg[KeyValues] = Field({}, description="arguments of the degradation")
    image: str | None = Field(None, description="file of the picture that is degraded (default: a drawn landscape)")
    out: str | None = Field(None, description="file that is written (default: NAME.png)")
    size: Size = Field(128, description="side of the picture in pixels")
    count: Size = Field(7, description="number of severities that are shown")
    severity: Size | None = Field(None, description="show only this severity, beside the clean picture")
    seed: int = Field(0, description="seed of the random parameters")

    def run(self) -> None:
        """Write the strip of severities and print the path of the file."""
        from degrade.demo_image import demo_image
        from degrade.image_io import load_image
        from degrade.registry import get
        from degrade.rendering import render_rows, severity_row

        x0 = load_image(self.image, self.size) if self.image else demo_image(self.size)
        D = with_source(get(self.name), x0, self.arguments)
        subtitle = "  ".join(f"{key}={_spell(value)}" for key, value in self.arguments.items())
        out = self.out or f"{self.name}.png"
        levels = self.count if self.severity is None else (0, self.severity)
        render_rows([severity_row(D, x0, levels, subtitle, self.seed)], scale=max(1, 128 // self.size)).save(out)
        print(out)


class Check(Command):
    """Test whether a degradation obeys the laws of the contract; print each law with its largest error."""

    target: CliPositionalArg[str] = Field(description="name of the degradation, or its class as package.module:Class")
    arguments: CliPositionalArg[KeyValues] = Field({}, description="arguments of the degradation")
    size: Size = Field(32, description="side of the test images in pixels")
    channels: Size = Field(3, description="number of channels of the test images")

    def run(self) -> int:
        """Print the error of each law; return 1 if one is violated."""
        import torch

        from degrade.laws import measure

        shape = (4, self.channels, self.size, self.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x0 = torch.tanh(noise / 2 + noise.mean((2, 3), keepdim=True))
        results = measure(with_source(_find(self.target), x0[0], self.arguments), x0)
        print(*results, sep="\n")
        return 0 if all(result.passed for result in results) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> code = main(["check", "gaussian_noise", "T=4", "--size", "8"])  # doctest: +ELLIPSIS
    identity      holds  off by 0 (at most 0)
    ...
    >>> code
    0
    """
    commands: dict[str, type[Command]] = {"list": List, "show": Show, "check": Check, "fit": FitDegradation}
    return run_commands(commands, "python -m degrade", "List, show, check and fit degradations.", argv)


def with_source(cls: type[Degradation], x0: Tensor, arguments: dict[str, Any]) -> Degradation:
    """Build a degradation; one that draws partner images gets the mirrored negative of `x0` (C, H, W)."""
    from degrade.registry import build

    if "source" in {field.name for field in dataclasses.fields(cls)}:
        arguments = {"source": lambda n, generator: -x0.flip(-1).expand(n, -1, -1, -1), **arguments}
    return build(cls, **arguments)


def print_classes(registry: Registry[Any]) -> None:
    """Print every name of a registry, with the first line of its description, its arguments and their defaults."""
    width = max(map(len, registry.names())) + 2
    for name in registry.names():
        cls = registry.get(name)
        runtime = {field.name for field in dataclasses.fields(cls) if is_runtime(field)}
        words = [_describe(key, field) for key, field in cls.__pydantic_fields__.items() if key not in runtime]
        print(f"{name:<{width}}{(cls.__doc__ or '').strip().partition(chr(10))[0]}")
        if words:
            print(textwrap.fill("  ".join(words), 110, initial_indent=" " * width, subsequent_indent=" " * width))


def _describe(name: str, field: FieldInfo) -> str:
    """Return name=default, or that the argument is required."""
    if field.is_required():
        return f"{name} (required)"
    return f"{name}={_spell(field.get_default(call_default_factory=True))}"


def _spell(value: Any) -> str:
    """Return a default as a command line spells it; a registered object as name:key=value, without its defaults."""
    if isinstance(value, Serializable):
        fields = [field for field in dataclasses.fields(value) if not is_runtime(field)]  # type: ignore[arg-type]
        given = {
            field.name: getattr(value, field.name) for field in fields if getattr(value, field.name) != field.default
        }
        return ":".join(filter(None, (value.name, ",".join(f"{key}={_spell(part)}" for key, part in given.items()))))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_spell, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _find(target: str) -> type[Degradation]:
    """Return the class registered as `target`, or the class at package.module:Class."""
    from degrade.base import Degradation
    from degrade.registry import get

    module, colon, name = target.partition(":")
    if not colon:
        return get(target)
    cls = getattr(importlib.import_module(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, Degradation)):
        raise ValueError(f"{target} is {cls!r}; it needs a class derived from degrade.Degradation")
    return cls


if __name__ == "__main__":
    sys.exit(main())
