"""Registries: a class is registered under a name, and objects are made from a name and arguments.

A name and JSON arguments are all it takes to rebuild a degradation, so configurations and checkpoints hold no code.
Schedules, losses, samplers, priors and others have registries of the same kind. A package that declares an entry point
in the group of a registry (`degrade.plugins` for degradations) is imported when a name is looked up, and registers its
classes then.

The functions `register`, `names`, `get`, `make` and `from_dict` of this module are those of the registry of
degradations.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from degrade.base import Degradation
from degrade.frozen import frozen
from degrade.serializable import parse_key_values

__all__ = ["PLUGIN_GROUP", "Registry", "build", "from_dict", "get", "make", "names", "register"]

PLUGIN_GROUP = "degrade.plugins"

B = TypeVar("B")
C = TypeVar("C")


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


class Registry(Generic[B]):
    """The named classes of one kind.

    Args:
        base: class that they derive from; it declares the class attribute `name`, empty for a class without one.
        kind: name of one of them in messages.
        group: the entry-point group in which packages announce theirs.
        home: the package of this library whose modules register the built-in ones; it is imported at the first use of
            the registry. None where they are defined beside the registry.
    """

    def __init__(self, base: type[B], kind: str, group: str, home: str | None = None) -> None:
        self.base, self.kind, self.group, self.home = base, kind, group, home
        self._classes: dict[str, type[B]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Return a class decorator that makes a class a validated, frozen dataclass known as `name`.

        The annotated class attributes become its arguments; their ranges are written with `pydantic.Field`. Fields made
        with `degrade.runtime_field` are not saved, and are given again when an object is rebuilt.

        Raises:
            ValueError: if the name belongs to another class, with that class in the message, or the class has a name.
            TypeError: if the class does not derive from the base class of the registry.
        """
        base = f"{self.base.__module__.partition('.')[0]}.{self.base.__name__}"

        def decorate(cls: type[C]) -> type[C]:
            if not (isinstance(cls, type) and issubclass(cls, self.base)):
                raise TypeError(f"{cls!r} is not a {self.base.__name__}; derive it from {base} to register {name!r}")
            if "name" in vars(cls):
                raise ValueError(
                    f"{_where(cls)} is registered as {vars(cls)['name']!r} already; derive a class to register {name!r}"
                )
            self._load_home()
            holder = self._classes.get(name)
            # The same definition again (a reloaded module, a re-run notebook cell) replaces the old one.
            if holder is not None and _where(holder) != _where(cls):
                raise ValueError(
                    f"the name {name!r} is taken by {_where(holder)}; register {_where(cls)} under another"
                )
            cls.name = name  # type: ignore[attr-defined]
            # The decorator returns cls itself, made over; its annotation says less.
            self._classes[name] = self._prepare(cls)
            return cls  # type: ignore[return-value]

        return decorate

    def _prepare(self, cls: type[Any]) -> type[Any]:
        """Return a class as it is kept: here a validated, frozen dataclass."""
        return frozen(cls)

    def names(self) -> tuple[str, ...]:
        """Return every registered name in alphabetical order, those of installed plugins included.

        >>> "gaussian_noise" in DEGRADATIONS.names()
        True
        """
        self._load_home()
        self._load_plugins()
        return tuple(sorted(self._classes))

    def get(self, name: str) -> type[B]:
        """Return the class registered as `name`.

        Raises:
            ValueError: if there is none, proposing the nearest names.
        """
        self._load_home()
        if name not in self._classes:
            self._load_plugins()
        if name not in self._classes:
            near = [repr(other) for other in difflib.get_close_matches(name, self._classes, n=2)]
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(sorted(self._classes))}"
            raise ValueError(f"no {self.kind} is called {name!r}: {hint}")
        return self._classes[name]

    def make(self, name: str, **arguments: Any) -> B:
        """Build what is registered as `name` with the given arguments.

        Raises:
            ValueError: for an unknown name, or in one line for every argument that is unknown or out of range.

        >>> D = DEGRADATIONS.make("gaussian_noise", T=10)
        >>> DEGRADATIONS.make(D.name, **D.arguments) == D
        True
        >>> DEGRADATIONS.make("gaussian_noise", T=0)
        Traceback (most recent call last):
        ValueError: gaussian_noise: T = 0: input should be greater than or equal to 1
        """
        return build(self.get(name), **arguments)

    def from_dict(self, value: Any, **runtime: Any) -> B:
        """Return the object that `value` describes: itself, its name, or {"name": ..., "arguments": {...}}.

        Args:
            value: an object of this kind, a text that `parse` reads, or what `to_dict` returned.
            **runtime: values of the runtime fields, which are not saved.

        Raises:
            ValueError: for anything else, an unknown name, or arguments that are unknown or out of range.

        >>> D = DEGRADATIONS.make("gaussian_noise", T=10)
        >>> DEGRADATIONS.from_dict(D.to_dict()) == D
        True
        """
        if isinstance(value, self.base):
            return dataclasses.replace(value, **runtime) if runtime else value  # type: ignore[type-var]
        if isinstance(value, str):
            return self.parse(value, **runtime)
        if isinstance(value, dict) and {"name"} <= value.keys() <= {"name", "arguments"}:
            name, arguments = value["name"], value.get("arguments", {})
            if isinstance(name, str) and isinstance(arguments, dict):
                return self.make(name, **arguments, **runtime)
        raise ValueError(f'{value!r} is no {self.kind}: give one, its name, or {{"name": ..., "arguments": {{...}}}}')

    def parse(self, text: str, **runtime: Any) -> B:
        """Return the object that a command line names: `name`, or `name:key=value,key=value`.

        A value that is an object with arguments of its own, `key=name:key=value`, takes all that follows it.

        Args:
            text: the name and the arguments.
            **runtime: values of the runtime fields, which are not saved.

        Raises:
            ValueError: for an unknown name, or arguments that are misspelled, unknown or out of range.

        >>> DEGRADATIONS.parse("decolor:T=3,weights=luma").T
        3
        """
        name, _, words = text.partition(":")
        words, *inner = re.split(r"(?:^|,)(\w+)=(?=[A-Za-z_][\w-]*:)", words, maxsplit=1)
        arguments = parse_key_values(filter(None, re.split(r",(?=\w+=)", words)))
        return self.make(name, **arguments, **dict([inner] if inner else []), **runtime)

    def _load_home(self) -> None:
        if self.home is not None:
            import_module(self.home)

    def _load_plugins(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for point in entry_points(group=self.group):
            try:
                point.load()
            except Exception as error:  # another package that is broken must not break this one
                package = point.dist.name if point.dist else "unknown package"
                warnings.warn(f"plugin {point.name!r} of {package} did not load: {error!r}", stacklevel=3)


def build(cls: type[C], **arguments: Any) -> C:
    """Build an object of a class, registered or not, with the given arguments.

    Raises:
        ValueError: in one line for every argument that is unknown or out of range.
    """
    try:
        return cls(**arguments)
    except ValidationError as error:
        raise ValueError(f"{getattr(cls, 'name', '') or cls.__name__}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        reason = fault["msg"].removeprefix("Value error, ")
        reason = f"{reason[:1].lower()}{reason[1:]}"
        where = ".".join(map(str, fault["loc"]))  # empty for arguments that do not go together
        if fault["type"] == "missing":  # there is no value to show
            parts.append(f"{where} has no default: give it, {where}=...")
            continue
        parts.append(f"{where} = {fault['input']!r}: {reason}" if where else reason)
    return "; ".join(parts)


DEGRADATIONS = Registry(Degradation, "degradation", PLUGIN_GROUP, "degrade.operators")
register = DEGRADATIONS.register
names = DEGRADATIONS.names
get = DEGRADATIONS.get
make = DEGRADATIONS.make
from_dict = DEGRADATIONS.from_dict
