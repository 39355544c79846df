"""Command lines: options from a configuration class, values from a preset, a file and the command line, in that order.

A configuration is a frozen pydantic model. Its fields become options, grouped by the class that declares them (the
first line of that class's docstring is the heading), and pydantic checks every value wherever it comes from. What a
user got wrong ends in one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from degrade.pairs import pairs

__all__ = ["Numbers", "Options", "Pairs", "UserError", "parse", "validated"]


class UserError(Exception):
    """Something the user can mend; the message names the value, what was expected and the fix, in one line."""


def _numbers(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else () if value is None else value


# Whole numbers from 1 on, which a command line writes as 1,2,4 or none.
Numbers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_numbers)]

# Named values, which a command line writes as key=value key=value.
Pairs = Annotated[dict[str, Any], BeforeValidator(lambda value: pairs(value) if isinstance(value, list) else value)]


class Options(BaseModel):
    """Options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Read `none`, as the command line writes it."""
        return None if value == "none" else value

    @classmethod
    def over(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with those given over them."""
        return {**preset, **given}


O = TypeVar("O", bound=Options)  # noqa: E741


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage of forty options."""
        raise UserError(f"{message}; --help lists the options")


def parser_for(model: type[Options], program: str, description: str) -> Parser:
    """Return a parser with one option per field of `model`, grouped by the classes that declare them."""
    parser = Parser(
        program,
        usage="%(prog)s [options]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="JSON file of values, weaker than the command line")
    for cls in reversed(model.__mro__):
        own = [name for name in vars(cls).get("__annotations__", {}) if name in model.model_fields]
        if own:
            group = parser.add_argument_group((cls.__doc__ or cls.__name__).splitlines()[0].rstrip("."))
            for name in own:
                _add_option(group, name, model)
    return parser


def _add_option(group: Any, name: str, model: type[Options]) -> None:
    field = model.model_fields[name]
    flag = "--" + name.replace("_", "-")
    default = field.default
    if isinstance(default, bool) or field.annotation == bool | None:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=field.description)
        return
    if isinstance(default, dict):
        group.add_argument(flag, metavar="KEY=VALUE", nargs="+", help=field.description)
        return
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    suffix = "" if shown is None or shown == "" else f" (default: {shown})"
    group.add_argument(flag, metavar=name.rpartition("_")[2].upper(), help=f"{field.description}{suffix}")


def validated(model: type[O], values: Mapping[str, Any]) -> O:
    """Return `model(**values)`; what is wrong with the values becomes one line.

    Raises:
        UserError: naming every faulty value.
    """
    try:
        return model(**values)
    except ValidationError as error:
        parts = []
        for fault in error.errors():
            reason = fault["msg"].removeprefix("Value error, ")
            where = f"--{str(fault['loc'][0]).replace('_', '-')} {fault['input']}: " if fault["loc"] else ""
            parts.append(f"{where}{reason[:1].lower()}{reason[1:]}")
        raise UserError("; ".join(parts)) from None


def explicit_values(model: type[Options], argv: Sequence[str], program: str, description: str) -> dict[str, Any]:
    """Return the values that the command line, and under it the file named by --config, set explicitly."""
    given = vars(parser_for(model, program, description).parse_args(argv))
    path = given.pop("config")
    return _from_file(path) | {name: value for name, value in given.items() if value is not None}


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"--config {path}: {error}; it should be a JSON object of options") from None
    if not isinstance(values, dict):
        raise UserError(f"--config {path} holds a {type(values).__name__}; it should be a JSON object of options")
    return values


def parse(
    model: type[O], presets: Mapping[str, Mapping[str, Any]], argv: Sequence[str], program: str, description: str
) -> tuple[O, dict[str, Any]]:
    """Return the configuration, and the values among it that were set explicitly.

    Args:
        model: the configuration; its field `preset` names one of `presets`.
        presets: values by name of the preset.
        argv: the command line without the program.
        program: the program's name.
        description: what `--help` says first.

    Raises:
        UserError: for anything the user should mend.
    """
    given = explicit_values(model, argv, program, description)
    preset = given.get("preset", model.model_fields["preset"].default)
    if preset not in presets:
        raise UserError(f"--preset {preset}: choose from {', '.join(presets)}")
    config = validated(model, model.over(presets[preset], given))
    return config, {name: getattr(config, name) for name in given}


def run_main(main: Callable[[Sequence[str]], None], program: str) -> int:
    """Run a program's `main`; return its exit code: 0, 2 for a user's error, 130 when interrupted.

    Errors of the user and warnings for them are one line each on standard error.
    """
    try:
        with _brief_warnings(program):
            main(sys.argv[1:])
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{program}: {stop.args[0] if stop.args else 'interrupted'}", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _brief_warnings(program: str) -> Iterator[None]:
    with warnings.catch_warnings():
        at_length = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, UserWarning):
                print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                at_length(message, category, *where, **more)

        warnings.showwarning = show
        yield
