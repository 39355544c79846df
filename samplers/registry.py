"""Samplers by name: register one, make one, list them, and read one from a command line.

Packages that declare an entry point in the group `samplers.plugins` are found when a name is looked up, as
degradations are in `degrade.plugins`. On a command line a sampler is its name, and if need be its arguments behind a
colon:

    algorithm2      ddim:eta=0.5      heun:estimate=false      repaint:repeats=3,sampler=ddpm
    algorithm2-fixed                  for algorithm2:estimate=false

An inner sampler with arguments of its own comes last and takes everything that follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, Field, PlainSerializer

from degrade.registry import Registry
from degrade.serializable import Serializable
from samplers.base import Sampler

__all__ = [
    "SAMPLERS",
    "SAMPLER_GROUP",
    "AnySampler",
    "make_sampler",
    "parse_sampler",
    "register_sampler",
    "sampler_names",
]

SAMPLER_GROUP = "samplers.plugins"
FIXED = "-fixed"


class _SamplerRegistry(Registry[Sampler]):
    def parse(self, text: str, **runtime: Any) -> Sampler:
        """Return the sampler that a command line names; `NAME-fixed` stands for `NAME:estimate=false`."""
        name, colon, words = text.partition(":")
        if name.endswith(FIXED):
            name, colon, words = name.removesuffix(FIXED), ":", ",".join(filter(None, ["estimate=false", words]))
        return super().parse(name + colon + words, **runtime)


SAMPLERS = _SamplerRegistry(Sampler, "sampler", SAMPLER_GROUP)

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


def parse_sampler(sampler: Sampler | str | dict[str, Any]) -> Sampler:
    """Return the sampler that is described: itself, its name as on a command line, or what `to_dict` returned.

    Raises:
        ValueError: in one line, naming what is unknown, misspelled or out of range.

    >>> parse_sampler("algorithm2-fixed")
    Algorithm2(estimate=False)
    >>> parse_sampler({"name": "ddim", "arguments": {"eta": 0.5}}) == parse_sampler("ddim:eta=0.5")
    True
    """
    return SAMPLERS.from_dict(sampler)


# The type of an argument that is itself a sampler.
AnySampler = Annotated[Sampler, BeforeValidator(SAMPLERS.from_dict), PlainSerializer(Serializable.to_dict)]
