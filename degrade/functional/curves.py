"""Curves: which level of a part belongs to level t of the whole.

    l_t in 0..T_part,    t = 0..T,    l_0 = 0,    l_t <= l_{t+1}

In a composed degradation, each part follows a curve of its own. A curve is a small frozen object that returns
the table (l_0, ..., l_T); it is left free except that it starts at the clean level and never goes back.

* `ramp`     l_t = T_part u^power,  u = (t / T - start) / (stop - start) cut to [0, 1]: idle before `start`, finished
             after `stop`; `ramp` without parameters is a straight line
* `table`    the levels as they are
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import Tensor

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = ["CURVES", "AnyCurve", "Curve", "Ramp", "TableCurve", "register_curve"]

Fraction = Annotated[float, Field(ge=0, le=1)]


@frozen
class Curve(Serializable):
    """The base of curves. A subclass defines `__call__` and is registered under a name.

    >>> import degrade
    >>> @register_curve("late")
    ... class Late(Curve):
    ...     def __call__(self, T, T_part):
    ...         return T_part * torch.linspace(0, 1, T + 1, dtype=torch.float64) ** 2
    >>> D = degrade.make("compose", T=2, parts=["blur", "decolor"], curves=["ramp", "late"])
    >>> [part.T for part in D.parts], [level.item() for level in D.levels(torch.tensor([1]), torch.zeros(1))]
    ([200, 20], [100, 5])
    """

    def __call__(self, T: int, T_part: int) -> Tensor:
        """Return the float64 levels (T + 1,) in 0..T_part, the first 0 and none less than the one before."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(T, T_part) -> levels")


CURVES = Registry(Curve, "curve", "degrade.plugins")
register_curve = CURVES.register


# The type of a field that holds a curve: given as an object, a name, or {"name": ..., "arguments": {...}}.
AnyCurve = Annotated[Curve, PlainValidator(CURVES.from_dict), PlainSerializer(Serializable.to_dict)]


@register_curve("ramp")
class Ramp(Curve):
    """From clean at `start` to the last level at `stop`, both fractions of T; steeper at the end if `power` > 1.

    >>> Ramp(start=0.5)(4, 10).tolist()
    [0.0, 0.0, 0.0, 5.0, 10.0]
    """

    start: Fraction = 0.0
    stop: Fraction = 1.0
    power: Annotated[float, Field(gt=0)] = 1.0

    def __post_init__(self) -> None:
        if self.start >= self.stop:
            raise ValueError(f"the ramp from {self.start} to {self.stop} is empty; start must be less than stop")

    def __call__(self, T: int, T_part: int) -> Tensor:
        """Return the float64 levels (T + 1,) in 0..T_part, not yet rounded."""
        u = torch.linspace(0, 1, T + 1, dtype=torch.float64)
        return T_part * ((u - self.start) / (self.stop - self.start)).clamp(0, 1) ** self.power


@register_curve("table")
class TableCurve(Curve):
    """The T + 1 levels themselves, the first 0 and none less than the one before.

    >>> TableCurve(levels=(0, 1, 5))(2, 10).tolist()
    [0.0, 1.0, 5.0]
    """

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.levels[:1] != (0,) or any(later < level for level, later in pairwise(self.levels)):
            raise ValueError("the levels must start at 0 and never fall")

    def __call__(self, T: int, T_part: int) -> Tensor:
        """Return the float64 levels (T + 1,).

        Raises:
            ValueError: if there are not T + 1 of them or the last is beyond T_part.
        """
        if len(self.levels) != T + 1 or self.levels[-1] > T_part:
            raise ValueError(
                f"the curve has {len(self.levels)} levels up to {self.levels[-1]}; "
                f"it needs T + 1 = {T + 1} levels in 0..{T_part}"
            )
        return torch.tensor(self.levels, dtype=torch.float64)
