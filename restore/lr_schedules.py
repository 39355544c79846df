"""Learning-rate schedules by name and arguments.

    lr_k = lr min(1, k / warmup) factor_k,    k = 1, 2, ..., steps

A learning rate is a function of the number k of the optimizer step and of nothing else. There is no state to save: a
resumed training, also one with another number of steps or another peak, goes on with the values stated here.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = [
    "LR_SCHEDULES",
    "AnyLRSchedule",
    "Constant",
    "Cosine",
    "LRSchedule",
    "Linear",
    "WarmupStableDecay",
    "register_lr_schedule",
]


@frozen
class LRSchedule(Serializable):
    """The base of learning-rate schedules. A subclass defines `factor` and is registered under a name.

    Args:
        warmup: number of optimizer steps over which the learning rate rises linearly from 0; 0 for none.

    >>> @register_lr_schedule("halving")
    ... class Halving(LRSchedule):
    ...     every: int = 1000
    ...     def factor(self, step, steps):
    ...         return 0.5 ** ((step - 1) // self.every)
    >>> Halving(every=2).lr_at(0.8, step=3, steps=10)
    0.4
    """

    warmup: Annotated[int, Field(ge=0)] = 0

    def factor(self, step: int, steps: int) -> float:
        """Return the factor in [0, 1] of the peak learning rate, without the warmup.

        Args:
            step: number of the optimizer step, 1..steps.
            steps: number of all optimizer steps of the training.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method factor(step, steps) -> float")

    def lr_at(self, lr: float, step: int, steps: int) -> float:
        """Return the learning rate of an optimizer step.

        Args:
            lr: peak learning rate.
            step: number of the optimizer step, 1..steps.
            steps: number of all optimizer steps of the training.

        >>> [round(Cosine(warmup=2).lr_at(1.0, step, 5), 3) for step in (1, 2, 3, 4, 5)]
        [0.5, 0.854, 0.5, 0.146, 0.0]
        """
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        return lr * rise * self.factor(step, steps)


LR_SCHEDULES = Registry(LRSchedule, "learning-rate schedule", "restore.plugins")
register_lr_schedule = LR_SCHEDULES.register


# The type of a field that holds one.
AnyLRSchedule = Annotated[LRSchedule, PlainValidator(LR_SCHEDULES.from_dict), PlainSerializer(Serializable.to_dict)]


def _progress(step: int, steps: int) -> float:
    """Return 0 for the first step and 1 for the last; 0 for the only one."""
    return (step - 1) / max(1, steps - 1)


@register_lr_schedule("constant")
class Constant(LRSchedule):
    """factor_k = 1."""

    def factor(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


@register_lr_schedule("cosine")
class Cosine(LRSchedule):
    """factor_k = (1 + cos(pi (k - 1) / (steps - 1))) / 2.

    The last step has exactly the learning rate 0 and leaves the weights as they are. A training of a single step takes
    it at the full rate.
    """

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step `step` in 1..steps."""
        return (1 + math.cos(math.pi * _progress(step, steps))) / 2


@register_lr_schedule("linear")
class Linear(LRSchedule):
    """factor_k = 1 - (k - 1) / (steps - 1): a straight line from 1 to 0."""

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step `step` in 1..steps."""
        return 1 - _progress(step, steps)


@register_lr_schedule("warmup_stable_decay")
class WarmupStableDecay(LRSchedule):
    """factor_k = min(1, (1 - p_k) / decay) with p_k = (k - 1) / (steps - 1): constant, then a straight line to 0.

    Args:
        warmup: number of optimizer steps over which the learning rate rises linearly from 0; 0 for none.
        decay: fraction of the training, at its end, over which the learning rate falls to 0; in (0, 1].

    >>> [round(WarmupStableDecay(decay=0.5).factor(step, 9), 3) for step in (1, 5, 7, 9)]
    [1.0, 1.0, 0.5, 0.0]
    """

    decay: Annotated[float, Field(gt=0, le=1)] = 0.2

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of step `step` in 1..steps."""
        return min(1.0, (1 - _progress(step, steps)) / self.decay)
