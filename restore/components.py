"""Components of a training as fields of a configuration: an object, its name, or `{"name", "arguments"}`.

Optimizers, learning-rate schedules, losses, distributions of t and weightings are registered classes, as degradations
are. A field of a configuration that holds one accepts all three forms and is written to JSON as the third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = ["component_reader", "component_to_dict"]

B = TypeVar("B", bound=Serializable)


def component_reader(registry: Registry[B]) -> Callable[[Any], B]:
    """Return a function that makes a component of an object, a name, or `{"name": ..., "arguments": {...}}`.

    Args:
        registry: the registry in which the name is looked up.

    The function raises a ValueError in one line for anything else, an unknown name, or an argument out of range.

    >>> from restore.losses import LOSSES
    >>> read = component_reader(LOSSES)
    >>> read("l1") == read({"name": "l1"}) == read(read("l1"))
    True
    """

    def read(value: Any) -> B:
        if isinstance(value, registry.base):
            return value
        if isinstance(value, str):
            return registry.make(value)
        if isinstance(value, dict) and {"name"} <= value.keys() <= {"name", "arguments"}:
            return registry.make(value["name"], **value.get("arguments", {}))
        raise ValueError(
            f"{value!r} is no {registry.kind}; give an object, one of the names {', '.join(registry.names())}, or"
            ' {"name": ..., "arguments": {...}}'
        )

    return read


def component_to_dict(component: Serializable) -> dict[str, Any]:
    """Return the name and the arguments that rebuild a component, as JSON values.

    Raises:
        ValueError: if the class of the component is not registered, so that no file could rebuild it.
    """
    if not component.registered:
        raise ValueError(f"the class {type(component).__name__} is not registered, so no file can rebuild it")
    return {"name": component.name, "arguments": component.arguments}
