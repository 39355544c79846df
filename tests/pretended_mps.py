"""A device without float64, pretended on the CPU, for tests of what runs on MPS."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

MPS = torch.device("mps")


class OnMPS(torch.Tensor):
    """A tensor that says it is on MPS and refuses to be float64; its values are on the CPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return _answer(func, args, kwargs or {})


class PretendedMPS(TorchFunctionMode):
    """While it is active, what is made with `device="mps"` is an `OnMPS`, too."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return _answer(func, args, kwargs or {})


def on_mps(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as if it was on MPS; use it inside `with PretendedMPS()`."""
    return x.as_subclass(OnMPS)


def _answer(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with torch._C.DisableTorchFunctionSubclass():
        here = any(isinstance(arg, OnMPS) for arg in _leaves((args, kwargs)))
        if func == torch.Tensor.device.__get__:
            return MPS if here else func(*args)
        if func == torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        named = [torch.device(arg).type for arg in _leaves((args, kwargs)) if isinstance(arg, torch.device)]
        own = named[-1] == "mps" if named else here
        args, kwargs = tree_map(_on_cpu, args), tree_map(_on_cpu, kwargs)
        found = func(*args, **kwargs)
        return tree_map(_moved, found) if own else found


def _leaves(tree: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(tree)


def _on_cpu(value: Any) -> Any:
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _moved(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return value.as_subclass(OnMPS)
    return value
