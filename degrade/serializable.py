"""Named things: what a name and JSON arguments rebuild, so that a configuration or a checkpoint can hold it.

Degradations, sampler steps and priors are dataclasses of this kind, and `degrade.registry.Registry` makes them. A field
that takes no part in comparison holds a live object, such as a source of images: it is injected, not saved.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from pydantic import TypeAdapter

__all__ = ["Serializable", "parse_key_values", "parse_value"]


class Serializable:
    """A base of dataclasses that `registry.make(value.name, **value.arguments)` rebuilds.

    >>> import degrade
    >>> degrade.make("decolor", T=3).arguments["T"]
    3
    """

    name: ClassVar[str] = ""  # set by the registry

    @property
    def registered(self) -> bool:
        """Whether `name` is that of its own class, and not of a class that it derives from."""
        return bool(vars(type(self)).get("name"))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that rebuild this object, as JSON values; what was injected is left out."""
        values: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json", exclude=set(self.runtime))
        return values

    @property
    def runtime(self) -> dict[str, Any]:
        """The live objects it was given (fields that take no part in comparison), such as a source of images."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.name: getattr(self, f.name) for f in fields if not f.compare}


_CONSTANTS = {"True": True, "False": False, "None": None}


def parse_key_values(words: Iterable[str]) -> dict[str, Any]:
    """Return the arguments spelled key=value.

    Raises:
        ValueError: naming the first word that is none.

    >>> parse_key_values(["T=50", "sigmas=[1, 2]", "center=random"])
    {'T': 50, 'sigmas': [1, 2], 'center': 'random'}
    >>> parse_key_values(["growth=.5", "mean_at_T=True", "name=1st", "k=3.0"])
    {'growth': 0.5, 'mean_at_T': True, 'name': '1st', 'k': 3.0}
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"{word!r} is no option and no key=value")
        values[key] = parse_value(text)
    return values


def parse_value(text: str) -> Any:
    """Return what a text spells, or the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    with suppress(json.JSONDecodeError):
        return json.loads(text)
    if re.match(r"[+-]?\.?[0-9]", text):
        for number in (int, float):
            with suppress(ValueError):
                return number(text)
    return text
