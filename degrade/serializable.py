"""Named things: what a name and JSON arguments rebuild, so that a configuration or a checkpoint can hold it.

Degradations, samplers and priors are dataclasses of this kind, and `degrade.registry.Registry` makes them. The one form
of all of them in files is {"name": ..., "arguments": {...}} (`to_dict`, `Registry.from_dict`). A field that is declared
with `runtime_field` holds an object of the running program, such as a source of images: it is not saved.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar, dataclass_transform

from pydantic import Field, TypeAdapter

__all__ = ["Serializable", "is_runtime", "parse_key_values", "parse_value", "runtime_field"]


def runtime_field(*, default: Any = dataclasses.MISSING, compare: bool = True) -> Any:
    """Declare a field of a `Serializable` that holds an object of the running program and is not saved.

    Args:
        default: its value where none is given; without a default, the field is required.
        compare: whether two objects are equal only if this field is equal, too. Set it to False for what cannot be
            compared, such as a tensor, or decides only where things are computed, such as a device.

    >>> import degrade
    >>> D = degrade.make("interpolation", T=3, source=lambda n, generator: None)
    >>> sorted(D.arguments), sorted(D.runtime)
    (['T', 'coupling', 'schedule'], ['source'])
    """
    return dataclasses.field(default=default, compare=compare, hash=False, repr=False, metadata={"runtime": True})


def is_runtime(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field was declared with `runtime_field`."""
    return bool(field.metadata.get("runtime"))


@dataclass_transform(frozen_default=True, field_specifiers=(Field, dataclasses.field, runtime_field))
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
        """The arguments that rebuild this object, as JSON values; runtime fields are left out."""
        values: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json", exclude=set(self.runtime))
        return values

    @property
    def runtime(self) -> dict[str, Any]:
        """The objects in its runtime fields, such as a source of images, by the name of the field."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: getattr(self, field.name) for field in fields if is_runtime(field)}

    def to_dict(self) -> dict[str, Any]:
        """Return {"name": ..., "arguments": {...}}, JSON values from which `Registry.from_dict` makes an equal object.

        Raises:
            ValueError: if its class is not registered under a name.

        >>> import degrade
        >>> degrade.make("decolor", T=3, weights="luma").to_dict()["name"]
        'decolor'
        """
        if not self.registered:
            raise ValueError(f"the class {type(self).__name__} has no name to be saved under: register it under one")
        return {"name": self.name, "arguments": self.arguments}


_CONSTANTS = {"True": True, "False": False, "None": None}


def parse_key_values(words: Iterable[str]) -> dict[str, Any]:
    """Return the arguments spelled key=value.

    Raises:
        ValueError: naming the first word that is none.

    >>> parse_key_values(["sigmas.step=2"])
    {'sigmas.step': 2}
    >>> parse_key_values(["T=50", "sigmas=[1, 2]", "center=random"])
    {'T': 50, 'sigmas': [1, 2], 'center': 'random'}
    >>> parse_key_values(["factor=.5", "gray_at_T=True", "name=1st", "k=3.0"])
    {'factor': 0.5, 'gray_at_T': True, 'name': '1st', 'k': 3.0}
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and all(part.isidentifier() for part in key.split("."))):
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
