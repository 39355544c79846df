"""Samplers by name: register one, make one, list them, and read one from a command line.

Packages that declare an entry point in the group `samplers.steps.diffusion` are found when a name is looked up, as
degradations are in `degrade.plugins`. On a command line a sampler is its name, and if need be its arguments behind a
colon:

    algorithm2      ddim:eta=0.5      heun:estimate=false      resample:repeats=3,step=ddpm
    algorithm2-fixed                  for algorithm2:estimate=false
    ddpm, ddim                        for ancestral with eta = 1 and eta = 0

An argument `step`, the sampler that another one is built upon, comes last and takes all that follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, Field, PlainSerializer

from degrade.pairs import pairs
from degrade.registry import Registry
from samplers.base import Step

__all__ = ["STEPS", "STEP_GROUP", "AnyStep", "make_step", "parse_step", "register_step", "step_names"]

STEP_GROUP = "samplers.steps.diffusion"
STEPS = Registry(Step, "sampler", STEP_GROUP)
SHORT = {"ddpm": ("ancestral", {"eta": 1.0}), "ddim": ("ancestral", {"eta": 0.0})}
FIXED = "-fixed"

S = TypeVar("S", bound=Step)


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def register_step(name: str) -> Callable[[type[S]], type[S]]:
    """Return a class decorator that turns a `Step` into a validated, frozen dataclass known as `name`.

    Raises:
        ValueError: if the name belongs to another class, with that class in the message, or the class has a name.
        TypeError: if the class is not a `Step`.
    """
    return STEPS.register(name)


def make_step(name: str, **arguments: Any) -> Step:
    """Build the sampler step `name` with the given arguments.

    Raises:
        ValueError: for an unknown name, or in one line for every argument that is unknown or out of range.

    >>> step = make_step("algorithm2", estimate=False)
    >>> make_step(step.name, **step.arguments) == step
    True
    """
    return STEPS.make(name, **arguments)


def step_names() -> tuple[str, ...]:
    """Return every registered name in alphabetical order, those of installed plugins included.

    >>> "algorithm2" in step_names()
    True
    """
    return STEPS.names()


def parse_step(text: str) -> Step:
    """Return the sampler that a command line names.

    Raises:
        ValueError: in one line, naming what is unknown, misspelled or out of range.

    >>> parse_step("algorithm2-fixed")
    Algorithm2(estimate=False)
    >>> parse_step("ddim:eta=0.5").eta
    0.5
    """
    name, _, words = text.partition(":")
    # The inner sampler may have arguments of its own, so it is cut off before the rest is split at commas.
    words, _, inner = words.partition("step=") if words.startswith("step=") else words.partition(",step=")
    arguments = pairs(filter(None, words.split(","))) | ({"step": inner} if inner else {})
    if name.endswith(FIXED):
        name, arguments = name.removesuffix(FIXED), {"estimate": False, **arguments}
    base, preset = SHORT.get(name, (name, {}))
    return make_step(base, **{**preset, **arguments})


def read_step(value: Any) -> Any:
    """Return the step that `value` describes: one, text as on a command line, or {"name", "arguments"}."""
    if isinstance(value, str):
        return parse_step(value)
    if isinstance(value, dict) and {"name"} <= value.keys() <= {"name", "arguments"}:
        return make_step(value["name"], **value.get("arguments", {}))
    return value


def _spec(step: Step) -> dict[str, Any]:
    if not step.registered:
        cls = type(step).__name__
        raise ValueError(f"{cls} has no name to be rebuilt from: decorate it with @samplers.register_step('...')")
    return {"name": step.name, "arguments": step.arguments}


# The type of an argument that is itself a step.
AnyStep = Annotated[Step, BeforeValidator(read_step), PlainSerializer(_spec)]
