"""The command line: look at degradations without writing a program.

    python -m degrade list
    python -m degrade show NAME [--image PHOTO] [--out FILE] [--size N] [--count N] [--seed N] [key=value ...]
    python -m degrade check NAME_OR_MODULE:CLASS [--size N] [--channels N] [key=value ...]

`list` names every degradation with its arguments; `show` draws one at growing severity; `check` runs the laws of the
contract on one, registered or not. The values are JSON where they can be read as JSON, else text. The exit code is 0,
or 1 when a law breaks, or 2 for bad input, which one line on stderr explains.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from pydantic.fields import FieldInfo
from torch import Tensor

from degrade.base import Degradation
from degrade.demo_image import demo_image
from degrade.image_io import load_image
from degrade.laws import measure
from degrade.registry import build, get, names
from degrade.rendering import render_rows, severity_row
from degrade.serializable import parse_key_values

__all__ = ["main"]

PROGRAM = "python -m degrade"


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> code = main(["check", "gaussian_noise", "T=4", "--size", "8"])  # doctest: +ELLIPSIS
    identity      holds  off by 0 (at most 0)
    ...
    >>> code
    0
    """
    options, rest = _parser().parse_known_args(argv)
    try:
        return int(options.run(options, parse_key_values(rest)))
    except (ValueError, ImportError, OSError) as error:
        print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="List, show and check degradations.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("list", help="name every degradation, with its arguments and their defaults")
    command.set_defaults(run=run_list)

    command = commands.add_parser(
        "show", help="draw one at growing severity", epilog="then its arguments: key=value ..."
    )
    command.add_argument("name")
    command.add_argument("--image", metavar="PHOTO", help="picture to degrade (default: a drawn landscape)")
    command.add_argument("--out", metavar="FILE", help="picture to write (default: NAME.png)")
    command.add_argument("--size", type=int, default=128, help="side of the picture in pixels (default: 128)")
    command.add_argument("--count", type=int, default=7, help="number of severities (default: 7)")
    command.add_argument("--seed", type=int, default=0, help="of what is random (default: 0)")
    command.set_defaults(run=run_show)

    command = commands.add_parser("check", help="run the laws", epilog="then its arguments: key=value ...")
    command.add_argument("target", metavar="NAME_OR_MODULE:CLASS")
    command.add_argument("--size", type=int, default=32, help="side of the test images in pixels (default: 32)")
    command.add_argument("--channels", type=int, default=3, help="their channels (default: 3)")
    command.set_defaults(run=run_check)
    return parser


def _describe(name: str, field: FieldInfo) -> str:
    """Return name=default, or what else there is to say of an argument."""
    if field.is_required():
        return f"{name} (required)"
    return f"{name}={_spell(field.get_default(call_default_factory=True))}"


def _spell(value: Any) -> str:
    """Return a default as it would be typed; an object with a name is spelled by it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_spell, value))}]"
    return str(getattr(value, "name", value if isinstance(value, str) else json.dumps(value, default=str)))


def run_list(options: argparse.Namespace, arguments: dict[str, Any]) -> int:
    """Print every name with a line of description and its arguments."""
    if arguments:
        raise ValueError(f"list takes no arguments, not {', '.join(arguments)}")
    width = max(map(len, names())) + 2
    for name in names():
        cls = get(name)
        live = {field.name for field in dataclasses.fields(cls) if not field.compare}
        fields: dict[str, FieldInfo] = cls.__pydantic_fields__  # type: ignore[attr-defined]
        words = [_describe(key, field) for key, field in fields.items() if key not in live]
        print(f"{name:<{width}}{(cls.__doc__ or '').strip().partition(chr(10))[0]}")
        print(textwrap.fill("  ".join(words), 110, initial_indent=" " * width, subsequent_indent=" " * width))
    return 0


def with_source(cls: type[Degradation], x0: Tensor, arguments: dict[str, Any]) -> Degradation:
    """Build a degradation; one that draws partner images gets the mirror image of `x0` (C, H, W) in negative."""
    if "source" in {field.name for field in dataclasses.fields(cls)}:
        arguments = {"source": lambda n, generator: -x0.flip(-1).expand(n, -1, -1, -1), **arguments}
    return build(cls, **arguments)


def run_show(options: argparse.Namespace, arguments: dict[str, Any]) -> int:
    """Draw the severity strip of a picture and print where it is."""
    if options.size < 1 or options.count < 1:
        raise ValueError(f"--size {options.size} --count {options.count}: both must be at least 1")
    x0 = load_image(options.image, options.size) if options.image else demo_image(options.size)
    D = with_source(get(options.name), x0, arguments)
    subtitle = "  ".join(f"{key}={_spell(value)}" for key, value in arguments.items())
    out = options.out or f"{options.name}.png"
    render_rows([severity_row(D, x0, options.count, subtitle, options.seed)], scale=max(1, 128 // options.size)).save(
        out
    )
    print(out)
    return 0


def run_check(options: argparse.Namespace, arguments: dict[str, Any]) -> int:
    """Print what each law was off by; 1 if one breaks."""
    noise = torch.randn(
        4, options.channels, options.size, options.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    x0 = torch.tanh(noise / 2 + noise.mean((2, 3), keepdim=True))
    results = measure(with_source(_find(options.target), x0[0], arguments), x0)
    print(*results, sep="\n")
    return 0 if all(result.passed for result in results) else 1


def _find(target: str) -> type[Degradation]:
    """Return the class of that name, or the class of that place: package.module:Class."""
    module, colon, name = target.partition(":")
    if not colon:
        return get(target)
    cls = getattr(importlib.import_module(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, Degradation)):
        raise ValueError(f"{target} is {cls!r}; it needs a class derived from degrade.Degradation")
    return cls
