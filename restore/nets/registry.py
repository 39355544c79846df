"""The registry of networks: any `nn.Module` that is made from one frozen configuration.

A network is called `net(x_t, t, **cond)` and returns a tensor of the shape of x_t; by `restore.inverse_input` it is
called with twice the channels. Its name and the arguments of its
configuration are stored in checkpoints, which therefore hold no code. Optional attributes of a network are

    size_divisor     the number by which height and width of x_t must be divisible; 1 if missing
    image_size       the side of the images it was trained on; `net.config.image_size` if missing
    shard_modules    the classes of the modules that fully sharded training gathers one at a time; none if missing
    example_cond     a method (x_t) -> cond: the conditions it takes, for images like x_t; none if missing (export)

Installed packages announce networks by an entry point in the group `restore.networks`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter
from torch import nn

from degrade.registry import Registry, build

__all__ = ["make_network", "network_arguments", "network_config_class", "network_names", "register_network"]

N = TypeVar("N", bound=nn.Module)


class _Networks(Registry[nn.Module]):
    def _prepare(self, cls: type[Any]) -> type[Any]:
        _config_class(cls)
        return cls


NETWORKS = _Networks(nn.Module, "network", "restore.networks", "restore.nets")


def _config_class(cls: type[nn.Module]) -> type[Any]:
    config: Any = get_type_hints(cls.__init__).get("config")
    if not (dataclasses.is_dataclass(config) and isinstance(config, type)):
        raise TypeError(
            f"{cls.__name__}.__init__ must take `config: C`, where C is a class under @degrade.frozen.frozen"
        )
    return config


def register_network(name: str) -> Callable[[type[N]], type[N]]:
    """Return a class decorator that makes an `nn.Module` known as `name`.

    The module takes one argument, `config`, annotated with a frozen dataclass, and keeps it as `self.config`.

    Raises:
        ValueError: if the name belongs to another class.
        TypeError: if the class is not such a module.

    >>> import torch
    >>> from degrade.frozen import frozen
    >>> @frozen
    ... class ScaleConfig:
    ...     in_channels: int = 3
    >>> @register_network("scale_example")
    ... class Scale(nn.Module):
    ...     def __init__(self, config: ScaleConfig) -> None:
    ...         super().__init__()
    ...         self.config = config
    ...         self.weight = nn.Parameter(torch.ones(config.in_channels, 1, 1))
    ...     def forward(self, x, t):
    ...         return self.weight * x
    >>> make_network("scale_example", in_channels=1).config
    ScaleConfig(in_channels=1)
    """
    return NETWORKS.register(name)


network_names = NETWORKS.names


def network_config_class(name: str) -> type[Any]:
    """Return the class of the configuration of the network `name`, a frozen dataclass.

    Raises:
        ValueError: for an unknown name.

    >>> network_config_class("unet").__name__
    'UNetConfig'
    """
    return _config_class(NETWORKS.get(name))


def make_network(name: str, **arguments: Any) -> Any:
    """Build the network `name` with the given arguments of its configuration.

    Raises:
        ValueError: for an unknown name, or in one line for every argument that is unknown or out of range.

    >>> make_network("unet", image_size=16, model_channels=32).config.image_size
    16
    """
    cls: Any = NETWORKS.get(name)
    return cls(build(_config_class(cls), **arguments))


def network_arguments(net: nn.Module) -> dict[str, Any]:
    """Return the arguments with which `make_network(net.name, **arguments)` rebuilds a network, as JSON values.

    Raises:
        TypeError: if its class is not registered.
    """
    cls: Any = type(net)
    # Sharding (`fully_shard`) gives a module a new class, derived from FSDPModule and from the class it had.
    if [base.__name__ for base in cls.__bases__][:1] == ["FSDPModule"]:
        cls = cls.__bases__[1]
    if not vars(cls).get("name") or NETWORKS.get(vars(cls)["name"]) is not cls:
        raise TypeError(
            f"the network {cls.__name__} is not registered, so no file can rebuild it; decorate the class with"
            " @restore.register_network('...')"
        )
    config = _config_class(cls)
    arguments: dict[str, Any] = TypeAdapter(config).dump_python(net.config, mode="json")
    return arguments
