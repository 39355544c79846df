"""Command lines: options from a configuration class, values from a preset, a file and the command line, in that order.

A configuration is a frozen pydantic model. Its fields become options, grouped by the class that declares them (the
first line of that class's docstring is the heading), and pydantic checks every value wherever it comes from. Text
becomes numbers in one place, where the command line is read (`from_text`); no value is coerced after that, so that a
file which gives "3", true or 3.0 for a whole number is refused. What a user got wrong ends in one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from degrade.frozen import exact_schema
from degrade.serializable import parse_key_values

__all__ = ["IntList", "KeyValues", "Options", "UsageError", "from_text", "parse", "validated"]


class UsageError(Exception):
    """Something the user can mend; the message names the value, what was expected and the fix, in one line."""


# Whole numbers from 1 on, which a command line writes as 1,2,4 or none.
IntList = tuple[Annotated[int, Field(ge=1)], ...]

# Named values, which a command line writes as key=value key=value.
KeyValues = dict[str, Any]


class Options(BaseModel):
    """Options."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Coerce no value."""
        schema: CoreSchema = exact_schema(handler(source))
        return schema

    @classmethod
    def over(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with those given over them."""
        return {**preset, **given}


O = TypeVar("O", bound=Options)  # noqa: E741


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage of forty options."""
        raise UsageError(f"{message}; --help lists the options")


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
        UsageError: naming every faulty value.
    """
    try:
        return model(**values)
    except ValidationError as error:
        parts = []
        for fault in error.errors():
            reason = fault["msg"].removeprefix("Value error, ")
            where = f"--{str(fault['loc'][0]).replace('_', '-')} {fault['input']}: " if fault["loc"] else ""
            parts.append(f"{where}{reason[:1].lower()}{reason[1:]}")
        raise UsageError("; ".join(parts)) from None


def explicit_values(model: type[Options], argv: Sequence[str], program: str, description: str) -> dict[str, Any]:
    """Return the values that the command line, and under it the file named by --config, set explicitly."""
    given = vars(parser_for(model, program, description).parse_args(argv))
    path = given.pop("config")
    values = _from_file(path)
    for name, value in given.items():
        if value is None:
            continue
        try:
            values[name] = from_text(value, model.model_fields[name].annotation)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: {error}") from None
    return values


def from_text(value: Any, kind: Any) -> Any:
    """Return what a command line says of an option.

    Args:
        value: the text; a list of words for a dict; a bool, which argparse has read, is returned as it is.
        kind: the annotation of the option. Text that does not spell such a value is returned as it is, to be refused
            by name where all values are checked.

    Raises:
        ValueError: for a word of a dict that is no key=value.

    >>> from_text("3", int | None), from_text("none", int | None), from_text("3", str), from_text("auto", int | str)
    (3, None, '3', 'auto')
    >>> from_text("1,2", tuple[int, ...]), from_text("none", tuple[float, ...]), from_text(["T=3"], dict[str, int])
    ((1, 2), (), {'T': 3})
    """
    if isinstance(value, list):
        return parse_key_values(value)
    if not isinstance(value, str):
        return value
    kinds = list(_alternatives(kind))
    if value == "none" and type(None) in kinds:
        return None
    for each in kinds:
        item = get_args(each)[0] if get_origin(each) is tuple else None
        if item is not None and {int, float} & set(_alternatives(item)):
            return () if value == "none" else tuple(from_text(part, item) for part in value.split(","))
    # A float may be written as a whole number, and stays one in messages.
    for number in (int, float) if float in kinds else (int,) if int in kinds else ():
        with suppress(ValueError):
            return number(value)
    return value


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without what is said about them."""
    if get_origin(kind) is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _alternatives(each)
    else:
        yield kind


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path}: {error}; it should be a JSON object of options") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {path} holds a {type(values).__name__}; it should be a JSON object of options")
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
        UsageError: for anything the user should mend.
    """
    given = explicit_values(model, argv, program, description)
    preset = given.get("preset", model.model_fields["preset"].default)
    if not isinstance(preset, str) or preset not in presets:
        raise UsageError(f"--preset {preset}: choose from {', '.join(presets)}")
    config = validated(model, model.over(presets[preset], given))
    return config, {name: getattr(config, name) for name in given}


def run_main(main: Callable[[Sequence[str]], None], program: str) -> int:
    """Run a program's `main`; return its exit code: 0, 2 for a user's error, 130 when interrupted.

    Errors of the user and warnings for them are one line each on standard error.
    """
    try:
        with _brief_warnings(program):
            main(sys.argv[1:])
    except UsageError as error:
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
