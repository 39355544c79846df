"""Samplers by name: register one, make one, list them, and read one from a command line.

Packages that declare an entry point in the group `samplers.plugins` are found when a name is looked up, as
degradations are in `degrade.plugins`. On a command line a sampler is its name, and if need be its arguments behind a
colon:

    algorithm2      ddim:eta=0.5      heun:estimate=false      repaint:repeats=3,sampler=ddpm
    algorithm2-fixed                  for algorithm2:estimate=false

The argument `sampler`, the inner sampler of another one, comes last and takes everything that follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, Field, PlainSerializer

from degrade.registry import Registry
from degrade.serializable import parse_key_values
from samplers.base import Sampler

__all__ = [
    "SAMPLERS",
    "SAMPLER_GROUP",
    "AnySampler",
    "get_sampler",
    "make_sampler",
    "parse_sampler",
    "register_sampler",
    "sampler_names",
]

SAMPLER_GROUP = "samplers.plugins"
SAMPLERS = Registry(Sampler, "sampler", SAMPLER_GROUP)
FIXED = "-fixed"

S = TypeVar("S", bound=Sampler)


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def register_sampler(name: str) -> Callable[[type[S]], type[S]]:
    """Return a class decorator that turns a `Sampler` into a validated, frozen dataclass known as `name`.

    Raises:
        ValueError: if the name belongs to another class, with that class in the message, or the class has a name.
        TypeError: if the class is not a `Sampler`.
    """
    return SAMPLERS.register(name)


def make_sampler(name: str, **arguments: Any) -> Sampler:
    """Build the sampler `name` with the given arguments.

    Raises:
        ValueError: for an unknown name, or in one line for every argument that is unknown or out of range.

    >>> sampler = make_sampler("algorithm2", estimate=False)
    >>> make_sampler(sampler.name, **sampler.arguments) == sampler
    True
    """
    return SAMPLERS.make(name, **arguments)


def sampler_names() -> tuple[str, ...]:
    """Return every registered name in alphabetical order, those of installed plugins included.

    >>> "algorithm2" in sampler_names()
    True
    """
    return SAMPLERS.names()


def parse_sampler(text: str) -> Sampler:
    """Return the sampler that a command line names.

    Raises:
        ValueError: in one line, naming what is unknown, misspelled or out of range.

    >>> parse_sampler("algorithm2-fixed")
    Algorithm2(estimate=False)
    >>> parse_sampler("ddim:eta=0.5").eta
    0.5
    """
    name, _, words = text.partition(":")
    # The inner sampler may have arguments of its own, so it is cut off before the rest is split at commas.
    words, _, inner = words.partition("sampler=") if words.startswith("sampler=") else words.partition(",sampler=")
    arguments = parse_key_values(filter(None, words.split(","))) | ({"sampler": inner} if inner else {})
    if name.endswith(FIXED):
        name, arguments = name.removesuffix(FIXED), {"estimate": False, **arguments}
    return make_sampler(name, **arguments)


def read_sampler(value: Any) -> Any:
    """Return the sampler that `value` describes: one, text as on a command line, or {"name", "arguments"}."""
    if isinstance(value, str):
        return parse_sampler(value)
    if isinstance(value, dict) and {"name"} <= value.keys() <= {"name", "arguments"}:
        return make_sampler(value["name"], **value.get("arguments", {}))
    return value


def get_sampler(sampler: Sampler | str) -> Sampler:
    """Return `sampler` itself, or the one that it names, as in `parse_sampler`.

    Raises:
        ValueError: if it is neither a sampler nor the name of one.

    >>> get_sampler("ddim:eta=0.5").eta
    0.5
    """
    found = read_sampler(sampler)
    if not isinstance(found, Sampler):
        raise ValueError(f"sampler is {sampler!r}; give a Sampler such as Algorithm2(), or a name such as 'algorithm2'")
    return found


def _spec(sampler: Sampler) -> dict[str, Any]:
    if not sampler.registered:
        cls = type(sampler).__name__
        raise ValueError(f"{cls} has no name to be rebuilt from: decorate it with @samplers.register_sampler('...')")
    return {"name": sampler.name, "arguments": sampler.arguments}


# The type of an argument that is itself a sampler.
AnySampler = Annotated[Sampler, BeforeValidator(read_sampler), PlainSerializer(_spec)]
