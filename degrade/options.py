"""Options of programs as pydantic models: what one is, and the error of a user who gives a wrong one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from degrade.frozen import exact_schema

__all__ = ["IntList", "KeyValues", "Names", "Options", "UsageError", "validated"]


class UsageError(Exception):
    """An error that the user can correct; its message is one line with the value, what was expected and the fix."""


# Integers from 1 on; a command line spells them 1,2,4 and an empty list none.
IntList = tuple[Annotated[int, Field(ge=1)], ...]


def _words(value: Any) -> Any:
    # At blanks and at commas, but not at those between the arguments of one name.
    return tuple(filter(None, re.split(r"\s+|,(?![^,:]*=)", value))) if isinstance(value, str) else value


# Names, with name:argument=value where they take arguments; a command line spells them A,B.
Names = Annotated[tuple[str, ...], BeforeValidator(_words)]

# Named values; a command line spells them key=value key=value.
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
    def merge(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset, replaced by the given ones where both have one."""
        return {**preset, **given}


O = TypeVar("O", bound=Options)  # noqa: E741


def validated(model: type[O], values: Mapping[str, Any]) -> O:
    """Return `model(**values)`.

    Raises:
        UsageError: in one line that names every value that is wrong.
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
