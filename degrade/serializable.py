"""Named things: what a name and JSON arguments rebuild, so that a configuration or a checkpoint can hold it.

Degradations, sampler steps and priors are dataclasses of this kind, and `degrade.registry.Registry` makes them. A field
that takes no part in comparison holds a live object, such as a source of images: it is injected, not saved.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from pydantic import TypeAdapter

__all__ = ["Serializable"]


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
