"""Command lines: options from a pydantic model; values from a preset, a file and the command line, in that order.

A program declares its options as an `Options` model. pydantic-settings turns the fields into options, grouped under the
first line of the docstring of the class that declares them. The text of a command line becomes values in one place,
`read_text`. pydantic then checks every value, wherever it comes from, and coerces none: a file that gives "3", true or
3.0 for an integer is refused. What the user can correct is reported in one line, with exit code 2.

A program with several commands (`python -m degrade list | show | check | fit`) declares one `Command` for each.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import CliPositionalArg, CliSettingsSource

from degrade.options import IntList, KeyValues, Options, UsageError, validated
from degrade.serializable import parse_key_values, parse_value

__all__ = [
    "CliPositionalArg",
    "Command",
    "IntList",
    "KeyValues",
    "Options",
    "UsageError",
    "explicit_values",
    "parse",
    "read_text",
    "run_commands",
    "run_main",
    "validated",
]


class Command(Options):
    """One command of a program, with its options; the first line of the docstring is its line of `--help`."""

    @abstractmethod
    def run(self) -> int | None:
        """Execute the command and return the exit code; None means 0."""


O = TypeVar("O", bound=Options)  # noqa: E741


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage of forty options."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists the options")


def _parser(model: type[Options], program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with one option for each field of `model`, grouped by the class that declares it."""
    parser = _Parser(
        program,
        description=inspect.cleandoc(description),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    config = "JSON file of option values; those on the command line take precedence"
    parser.add_argument("--config", metavar="FILE", type=Path, help=config)
    groups: dict[type, Any] = {}
    words = ["%(prog)s"]
    for cls in reversed(model.__mro__):
        if set(vars(cls).get("__annotations__", {})) & set(model.model_fields):
            # The docstring of a command is the description above; its bases are groups of options with a heading.
            is_command = cls is model and issubclass(cls, Command)
            title = "Arguments" if is_command else (cls.__doc__ or cls.__name__).splitlines()[0].rstrip(".")
            groups[cls] = parser.add_argument_group(title)

    def add_argument(_: Any, *flags: str, **settings: Any) -> None:
        name = settings.get("dest", flags[0])  # a positional argument has no dest
        field = model.model_fields[name]
        if isinstance(field.default, dict):  # several words
            settings |= {"nargs": "+" if flags[0].startswith("-") else "*", "metavar": "KEY=VALUE"}
        elif _count_words(field.annotation) > 1:
            count = _count_words(field.annotation)
            settings |= {"nargs": count, "metavar": tuple("ABCDEFG"[:count])}
        elif settings.get("action") == "append":  # a list is one text
            settings["metavar"] = "A,B,C"
        if settings.get("action") == "append":
            del settings["action"]
        if not flags[0].startswith("-"):
            words.append(f"[{settings['metavar']} ...]" if "nargs" in settings else settings["metavar"])
        settings["help"] = _help(field)
        owner = next(cls for cls in model.__mro__ if name in vars(cls).get("__annotations__", {}))
        groups[owner].add_argument(*(f"--{name}" if flag == f"-{name}" else flag for flag in flags), **settings)

    CliSettingsSource(
        model,  # type: ignore[arg-type]  # it reads the fields of any model
        root_parser=parser,
        add_argument_method=add_argument,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )
    parser.usage = " ".join([*words, "[options]"])
    return parser


def _count_words(annotation: Any) -> int:
    """Return the number of words of an option: n for a tuple of n texts, else 1."""
    for kind in (annotation, *get_args(annotation)):
        parts = get_args(kind)
        if get_origin(kind) is tuple and parts and all(part is str for part in parts):
            return len(parts)
    return 1


def _help(field: FieldInfo) -> str:
    """Return the description of an option, and its default as a command line spells it."""
    default, text = field.default, (field.description or "").replace("%", "%%")
    without = default is None or default is False or default is PydanticUndefined or default in ({}, "")
    if without or "(default:" in text:
        return text
    shown = (",".join(map(str, default)) or "none") if isinstance(default, tuple) else default
    shown = f"{shown:.6g}" if isinstance(shown, float) else shown
    return f"{text} (default: {shown})"


def explicit_values(model: type[Options], argv: Sequence[str], program: str, description: str) -> dict[str, Any]:
    """Return the values that the command line gives, and below it the file named by --config.

    Args:
        model: declares the options.
        argv: the words of the command line after the program.
        program: the name of the program, for `--help`.
        description: the text at the top of `--help`.

    Raises:
        UsageError: for an unknown option, a word that is no key=value, or a file that cannot be read.
    """
    given = vars(_parser(model, program, description).parse_intermixed_args(argv))
    values = _read_file(given.pop("config"))
    for name, text in given.items():
        try:
            values[name] = read_text(text, model.model_fields[name].annotation)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')}: {error}") from None
    return values


def read_text(text: Any, annotation: Any) -> Any:
    """Return the value that the text of an option spells.

    Args:
        text: the text of one option; a list of words for named values; a bool that argparse has read already.
        annotation: the type of the option. Text that spells no such value is returned unchanged: validation, which
            checks all values, refuses it and names the option.

    Raises:
        ValueError: for a word among named values that is no key=value.

    >>> read_text("3", int | None), read_text("none", int | None), read_text("3", str), read_text("auto", int | str)
    (3, None, '3', 'auto')
    >>> read_text("1,2", tuple[int, ...]), read_text("none", tuple[float, ...]), read_text(["T=3"], dict[str, int])
    ((1, 2), (), {'T': 3})
    """
    if isinstance(text, list):
        return tuple(text) if _count_words(annotation) > 1 else parse_key_values(text)
    if not isinstance(text, str):
        return text
    if get_origin(annotation) is tuple and str not in get_args(annotation):
        return () if text == "none" else tuple(map(parse_value, text.split(",")))
    adapter = TypeAdapter[Any](annotation, config=ConfigDict(strict=True))
    for value in ([None] if text == "none" else []) + [text, parse_value(text)]:
        with suppress(ValidationError):
            adapter.validate_python(value)
            return value
    return text


def _read_file(path: Path | None) -> dict[str, Any]:
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
    """Return the options, and those of their values that were given explicitly.

    Args:
        model: declares the options; its field `preset` names one of `presets`.
        presets: the values of each preset, by its name.
        argv: the words of the command line after the program.
        program: the name of the program, for `--help`.
        description: the text at the top of `--help`.

    Raises:
        UsageError: for anything that the user can correct.
    """
    listed = textwrap.fill(f"Presets: {', '.join(presets)}.", 120, subsequent_indent="    ", break_on_hyphens=False)
    given = explicit_values(model, argv, program, f"{description}\n{listed}")
    preset = given.get("preset", model.model_fields["preset"].default)
    if not isinstance(preset, str) or preset not in presets:
        raise UsageError(f"--preset {preset}: choose from {', '.join(presets)}")
    config = validated(model, model.merge(presets[preset], given))
    return config, {name: getattr(config, name) for name in given}


def run_commands(
    commands: Mapping[str, type[Command]], program: str, description: str, argv: Sequence[str] | None = None
) -> int:
    """Run the command that the first word names, with the other words as its options, and return the exit code.

    Args:
        commands: the commands by name. An error of the types ValueError, ImportError and OSError that one of them
            raises counts as an error of the user.
        program: the name of the program, for messages and `--help`.
        description: the text at the top of `--help`.
        argv: the words of the command line after the program; None means those of this process.
    """

    def main(words: Sequence[str]) -> int | None:
        name, *rest = words or [""]
        if name in ("-h", "--help"):
            width = max(map(len, commands)) + 2
            lines = [f"  {key:<{width}}{(cls.__doc__ or '').splitlines()[0]}" for key, cls in commands.items()]
            usage = f"usage: {program} COMMAND [options]"
            print("\n".join([usage, "", description, "", *lines, "", f"{program} COMMAND --help lists its options."]))
            return 0
        if name not in commands:
            raise UsageError(f"{name or 'no command'}: choose a command from {', '.join(commands)}")
        model = commands[name]
        try:
            return validated(model, explicit_values(model, rest, f"{program} {name}", model.__doc__ or "")).run()
        except (ValueError, ImportError, OSError) as error:
            raise UsageError(" ".join(str(error).split())) from error

    return run_main(main, program, argv)


def run_main(main: Callable[[Sequence[str]], int | None], program: str, argv: Sequence[str] | None = None) -> int:
    """Run the `main` of a program and return the exit code: its own, 2 for an error of the user, 130 if interrupted.

    Errors of the user, and warnings, are printed to standard error in one line each.

    Args:
        main: takes the words of the command line after the program and returns the exit code, None for 0.
        program: the name of the program, for messages.
        argv: those words; None means those of this process.
    """
    try:
        with _brief_warnings(program):
            return main(sys.argv[1:] if argv is None else argv) or 0
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"{program}: {stop.args[0] if stop.args else 'interrupted'}", file=sys.stderr)
        return 130


@contextmanager
def _brief_warnings(program: str) -> Iterator[None]:
    """Print a UserWarning in one line, without the line of code that caused it."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, UserWarning):
                print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield
