"""Severities t and parameters z of a batch: their types, and checks with messages that name what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.func import debug_unwrap

if TYPE_CHECKING:
    from degrade.base import Degradation

__all__ = [
    "NumLevels",
    "Params",
    "check_image_params",
    "check_levels",
    "check_param_tuple",
    "check_params",
    "expand_level",
    "map_params",
    "need_params",
]

Params = Any  # a tensor, batch first, or a tuple of such, or None: only its degradation knows
NumLevels = Annotated[int, Field(ge=1, description="number of severity levels")]


def check_levels(name: str, t: Tensor, x: Tensor, lowest: int, highest: int) -> None:
    """Return if `t` is one severity in lowest..highest for each of the images `x` (B, ...).

    The range is looked at where that is free: on the CPU, and not while something is compiled.

    Raises:
        ValueError: naming what t is and what was expected.
    """
    if not isinstance(t, Tensor) or t.dtype != torch.int64 or t.shape != x.shape[:1]:
        found = f"{t.dtype} {tuple(t.shape)}" if isinstance(t, Tensor) else repr(t)
        raise ValueError(f"{name}: t is {found}; it needs int64 of shape ({len(x)},), one severity per image")
    if t.device != x.device:
        raise ValueError(f"{name}: t is on {t.device} and x0 on {x.device}; move t: t.to(x0.device)")
    # Elsewhere it would wait for the device, whose own indexing checks the range.
    if t.device.type == "cpu" and not torch.compiler.is_compiling() and t.numel():
        low, high = (int(v) for v in torch.aminmax(debug_unwrap(t)))  # also under torch.func.vmap
        if low < lowest or high > highest:
            raise ValueError(f"{name}: t spans {low}..{high}; severities lie in {lowest}..{highest}")


def expand_level(t: int, x: Tensor) -> Tensor:
    """Return severity `t` for each of the images `x` (B, ...): (B,) int64 on their device.

    >>> expand_level(7, torch.zeros(2, 3, 8, 8))
    tensor([7, 7])
    """
    return torch.full((len(x),), t, device=x.device)


def map_params(function: Callable[[Tensor], Tensor], z: Params) -> Params:
    """Apply `function` to every tensor in z, keeping its structure.

    >>> map_params(lambda v: v[:1], (torch.zeros(4, 2), None))
    (tensor([[0., 0.]]), None)
    """
    if isinstance(z, tuple):
        return tuple(map_params(function, part) for part in z)
    return None if z is None else function(z)


def need_params(D: Degradation, z: Params) -> Params:
    """Return z, if it is what D needs for pictures that are degraded already.

    Raises:
        ValueError: if D has drawn something and z is None, with what can be done.
    """
    if D.random and z is None:
        raise ValueError(f"{D.name} drew something in this picture (its z) that is not known: {D.without_z}")
    return z


def check_params(name: str, z: Params, shape: tuple[int, ...]) -> Tensor:
    """Return z if it is a tensor of `shape`.

    Raises:
        ValueError: if it is None or of another shape.
    """
    if not isinstance(z, Tensor) or z.shape != shape:
        raise ValueError(f"{name}: z is {_found(z)}; it needs a tensor of shape {shape}: use z = D.draw(x0)")
    return z


def check_param_tuple(name: str, z: Params, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return z if it is a tuple of tensors of `shapes`.

    Raises:
        ValueError: if it is None, no tuple, or its tensors are of other shapes.
    """
    if not isinstance(z, tuple) or _found(z) != shapes:
        raise ValueError(f"{name}: z is {_found(z)}; it needs a tuple of tensors {shapes}: use z = D.draw(x0)")
    return z


def _found(z: Params) -> Any:
    if isinstance(z, tuple):
        return tuple(map(_found, z))
    if isinstance(z, Tensor):
        return tuple(z.shape)
    return z if z is None else f"a {type(z).__name__}"


def check_image_params(name: str, x0: Tensor, z: Params) -> Tensor:
    """Return z if it is a tensor shaped like x0.

    Raises:
        ValueError: if it is None or of another shape.
    """
    return check_params(name, z, tuple(x0.shape))
