"""Losses by name and arguments: how far the output of a network is from its target, for each image.

With d = output - target, and the mean over all C H W values of an image:

    l1            mean |d|
    l2            mean d^2
    huber         mean of d^2 / 2 where |d| < delta, delta (|d| - delta / 2) elsewhere
    charbonnier   mean sqrt(d^2 + eps^2)                                      (Charbonnier et al., ICIP 1994)
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator
from torch import Tensor
from torch.nn import functional as F

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = ["L1", "L2", "LOSSES", "AnyLoss", "Charbonnier", "Huber", "Loss", "register_loss"]

Positive = Annotated[float, Field(gt=0)]


@frozen
class Loss(Serializable):
    """The base of losses. A subclass defines `per_pixel` or overrides `__call__`, and is registered under a name.

    >>> @register_loss("gradient_l1")
    ... class GradientL1(Loss):
    ...     "The l1 loss of the horizontal differences."
    ...     def per_pixel(self, output, target):
    ...         return (output.diff(dim=-1) - target.diff(dim=-1)).abs()
    >>> import torch
    >>> GradientL1()(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).tolist()
    [0.0, 0.0]
    """

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image.

        Args:
            output: (B, C, H, W) what the network returned.
            target: (B, C, H, W) what it should have returned, in the same precision.

        Returns:
            (B,) losses.
        """
        return self.per_pixel(output, target).flatten(1).mean(1)

    def per_pixel(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss (B, ...) of each value, of which the mean is taken."""
        raise NotImplementedError(f"{type(self).__name__} needs a method per_pixel(output, target) -> (B, ...)")


LOSSES = Registry(Loss, "loss", "restore.plugins")
register_loss = LOSSES.register


# The type of a field that holds one.
AnyLoss = Annotated[Loss, PlainValidator(LOSSES.from_dict), PlainSerializer(Serializable.to_dict)]


@register_loss("l1")
class L1(Loss):
    """The mean absolute difference."""

    def per_pixel(self, output: Tensor, target: Tensor) -> Tensor:
        """Return |d|."""
        return F.l1_loss(output, target, reduction="none")


@register_loss("l2")
class L2(Loss):
    """The mean squared difference."""

    def per_pixel(self, output: Tensor, target: Tensor) -> Tensor:
        """Return d^2."""
        return F.mse_loss(output, target, reduction="none")


@register_loss("huber")
class Huber(Loss):
    """Quadratic for small differences and linear for large ones.

    Args:
        delta: the difference between the two, in units of the data range [-1, 1].
    """

    delta: Positive = 0.1

    def per_pixel(self, output: Tensor, target: Tensor) -> Tensor:
        """Return d^2 / 2 where |d| < delta, delta (|d| - delta / 2) elsewhere."""
        return F.huber_loss(output, target, reduction="none", delta=self.delta)


@register_loss("charbonnier")
class Charbonnier(Loss):
    """A smooth l1 loss.

    Args:
        eps: the loss where the difference is 0, in units of the data range [-1, 1].
    """

    eps: Positive = 1e-3

    def per_pixel(self, output: Tensor, target: Tensor) -> Tensor:
        """Return sqrt(d^2 + eps^2)."""
        return ((output - target).square() + self.eps**2).sqrt()
