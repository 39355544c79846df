"""Optimizers by name and arguments: what turns a gradient into new weights.

An object here describes a `torch.optim` optimizer and builds it for the parameters of a network, with one kernel for
all weights where torch has one (`fused`). The learning rate is the peak value; `restore.lr_schedules` varies it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import nn

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "AnyOptimizer", "Optimizer", "register_optimizer"]

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@frozen
class Optimizer(Serializable):
    """The base of optimizers. A subclass defines `build` and is registered under a name.

    Args:
        lr: peak learning rate.

    >>> @register_optimizer("rmsprop")
    ... class RMSprop(Optimizer):
    ...     alpha: float = 0.99
    ...     def build(self, parameters):
    ...         return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.alpha)
    >>> from restore import TrainConfig
    >>> TrainConfig(optimizer={"name": "rmsprop", "arguments": {"lr": 0.01}}).optimizer
    RMSprop(lr=0.01, alpha=0.99)
    """

    lr: Positive = 1e-3

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of `parameters`; a group with a learning rate of its own keeps its ratio to the rest."""
        raise NotImplementedError(f"{type(self).__name__} needs a method build(parameters) -> torch.optim.Optimizer")


OPTIMIZERS = Registry(Optimizer, "optimizer", "restore.plugins")
register_optimizer = OPTIMIZERS.register


# The type of a field that holds one.
AnyOptimizer = Annotated[Optimizer, PlainValidator(OPTIMIZERS.from_dict), PlainSerializer(Serializable.to_dict)]


@register_optimizer("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv 1412.6980, 2014).

    Args:
        lr: peak learning rate; the default is that of Cold Diffusion.
        betas: decay of the averages of the gradient and of its square, per step.
        eps: added to the root of the average square.

    >>> layer = nn.Linear(2, 2)
    >>> Adam(lr=0.1).build(list(layer.parameters())).defaults["lr"]
    0.1
    """

    lr: Positive = 2e-5
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return `torch.optim.Adam`."""
        return torch.optim.Adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, **_fused(parameters))


@register_optimizer("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, 2017).

    Args:
        lr: peak learning rate.
        betas: decay of the averages of the gradient and of its square, per step.
        eps: added to the root of the average square.
        weight_decay: the weights shrink by the factor 1 - lr weight_decay in each step.
    """

    lr: Positive = 1e-4
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.01

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return `torch.optim.AdamW`."""
        how: dict[str, Any] = {
            "betas": self.betas,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            **_fused(parameters),
        }
        return torch.optim.AdamW(parameters, lr=self.lr, **how)


@register_optimizer("sgd")
class SGD(Optimizer):
    """Gradient descent with momentum.

    Args:
        lr: peak learning rate.
        momentum: decay of the sum of past gradients, per step; 0 for none.
        nesterov: whether the gradient is taken ahead of the momentum; needs `momentum` > 0.
        weight_decay: factor of the weights that is added to the gradient.
    """

    lr: Positive = 1e-2
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 0.0

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return `torch.optim.SGD`."""
        how: dict[str, Any] = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return torch.optim.SGD(parameters, lr=self.lr, **how, **_fused(parameters))


def _fused(parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    return {"fused": all(p.device.type in ("cuda", "cpu") for p in parameters)}
