"""Configurations: frozen dataclasses whose arguments are checked and never coerced.

pydantic has two ways to read a value: one that turns "3", True and 3.0 into the integer 3, and a strict one that also
refuses what JSON cannot spell, such as a list for a tuple or a dict for a dataclass. A configuration is rebuilt from
JSON, so neither fits. Here a scalar (bool, int, float, str) must have its own type, and a container is read as JSON
gives it:

| declared          | accepted                                             | refused                        |
|-------------------|------------------------------------------------------|--------------------------------|
| bool              | bool                                                 | 0, 1, "no"                     |
| int, Literal[1]   | int, NumPy's integers                                | bool, "3", 3.0                 |
| float             | float, int                                           | bool, "3", infinity, nan       |
| tuple             | tuple, list                                          |                                |
| a dataclass       | an object of it, a dict of its arguments             |                                |
"""

from __future__ import annotations

import dataclasses
from numbers import Integral
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, GetCoreSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError, core_schema

from degrade.serializable import runtime_field

__all__ = ["exact_schema", "frozen"]

# A misspelled argument is an error.
STRICT_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

C = TypeVar("C")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field, runtime_field))
def frozen(cls: type[C]) -> type[C]:
    """Make a class a frozen dataclass that checks its arguments and coerces none.

    >>> @frozen
    ... class Size:
    ...     sides: tuple[int, ...] = (8, 8)
    >>> Size(sides=[16, 16])
    Size(sides=(16, 16))
    >>> Size(sides=[16, True])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Size
    sides.1
      Input should be a valid integer ...
    """

    def read(_: type, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema: core_schema.CoreSchema = exact_schema(handler(source))
        return schema

    cls.__get_pydantic_core_schema__ = classmethod(read)  # type: ignore[attr-defined]
    return dataclass(frozen=True, config=STRICT_CONFIG)(cls)  # type: ignore[return-value]


def exact_schema(schema: Any) -> Any:
    """Return a pydantic schema, or a part of one, in which every scalar is read strictly."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(exact_schema, schema))
    if not isinstance(schema, dict):
        return schema
    # Defaults and metadata are values, not schemas.
    exact = {key: value if key in ("default", "metadata") else exact_schema(value) for key, value in schema.items()}
    match exact.get("type"):
        case "bool" | "float" | "str":
            exact["strict"] = True
        case "int" if not exact.get("strict"):
            return core_schema.no_info_before_validator_function(_whole, exact | {"strict": True})
        case "literal" if any(type(value) is int for value in exact["expected"]):
            return core_schema.no_info_before_validator_function(_member(exact["expected"]), exact)
    return exact


def _whole(value: Any) -> Any:
    """Return an integer of another library, such as NumPy's, as Python's."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _member(expected: list[Any]) -> Any:
    """Return what refuses a value that only equals one of those expected, as True equals 1."""

    def check(value: Any) -> Any:
        value = _whole(value)
        if any(value == one and type(value) is not type(one) for one in expected):
            *first, last = map(repr, expected)
            raise PydanticKnownError("literal_error", {"expected": " or ".join(filter(None, [", ".join(first), last]))})
        return value

    return check
