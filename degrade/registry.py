"""Names for degradations: register one, make one, list them.

A name and JSON arguments are all it takes to rebuild a degradation, so configurations and checkpoints hold no code.
Packages that declare an entry point in the group `degrade.plugins` are found when a name is looked up: the module it
names is imported, and registers its degradations as it goes.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar, dataclass_transform

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from degrade.base import CONFIG, Degradation

__all__ = ["PLUGIN_GROUP", "build", "get", "make", "names", "register"]

PLUGIN_GROUP = "degrade.plugins"

_classes: dict[str, type[Degradation]] = {}
D = TypeVar("D", bound=Degradation)


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def register(name: str) -> Callable[[type[D]], type[D]]:
    """Return a class decorator that turns a `Degradation` into a validated, frozen dataclass known as `name`.

    Its annotated class attributes are its arguments; ranges are written with `pydantic.Field`.

    Raises:
        ValueError: if the name belongs to another class, with that class in the message, or the class has a name.
        TypeError: if the class is not a `Degradation`.
    """

    def decorate(cls: type[D]) -> type[D]:
        if not (isinstance(cls, type) and issubclass(cls, Degradation)):
            raise TypeError(f"{cls!r} is not a Degradation; derive it from degrade.Degradation to register {name!r}")
        if "name" in vars(cls):
            raise ValueError(
                f"{_where(cls)} is registered as {cls.name!r} already; derive a class to register {name!r}"
            )
        holder = _classes.get(name)
        # The same definition again (a reloaded module, a re-run notebook cell) replaces the old one.
        if holder is not None and _where(holder) != _where(cls):
            raise ValueError(f"the name {name!r} is taken by {_where(holder)}; register {_where(cls)} under another")
        cls.name = name
        # The decorator returns cls itself, made over; its annotation says less.
        _classes[name] = dataclass(frozen=True, config=CONFIG)(cls)  # type: ignore[assignment]
        return cls

    return decorate


@cache
def _load_plugins() -> None:
    for point in entry_points(group=PLUGIN_GROUP):
        try:
            point.load()
        except Exception as error:  # somebody else's broken package must not break this one
            package = point.dist.name if point.dist else "unknown package"
            warnings.warn(f"plugin {point.name!r} of {package} did not load: {error!r}", stacklevel=3)


def names() -> tuple[str, ...]:
    """Return every registered name in alphabetical order, those of installed plugins included.

    >>> "gaussian_noise" in names()
    True
    """
    _load_plugins()
    return tuple(sorted(_classes))


def get(name: str) -> type[Degradation]:
    """Return the class registered as `name`.

    Raises:
        ValueError: if there is none, proposing the nearest names.
    """
    if name not in _classes:
        _load_plugins()
    if name not in _classes:
        near = difflib.get_close_matches(name, _classes, n=2)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(sorted(_classes))}"
        raise ValueError(f"no degradation is called {name!r}: {hint}")
    return _classes[name]


def make(name: str, **arguments: Any) -> Degradation:
    """Build the degradation `name` with the given arguments.

    Raises:
        ValueError: for an unknown name, or in one line for every argument that is unknown or out of range.

    >>> D = make("gaussian_noise", T=10)
    >>> make(D.name, **D.arguments) == D
    True
    >>> make("gaussian_noise", T=0)
    Traceback (most recent call last):
    ValueError: gaussian_noise: T = 0: input should be greater than or equal to 1
    """
    return build(get(name), **arguments)


def build(cls: type[D], **arguments: Any) -> D:
    """Build a degradation of a class, registered or not, with the given arguments.

    Raises:
        ValueError: as `make` does.
    """
    try:
        return cls(**arguments)
    except ValidationError as error:
        raise ValueError(f"{cls.name or cls.__name__}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        reason = fault["msg"].removeprefix("Value error, ")
        reason = f"{reason[:1].lower()}{reason[1:]}"
        where = ".".join(map(str, fault["loc"]))  # empty for arguments that do not go together
        parts.append(f"{where} = {fault['input']!r}: {reason}" if where else reason)
    return "; ".join(parts)
