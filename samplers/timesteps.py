"""The severities that a trajectory visits.

A trajectory is a falling sequence T = t_0 > t_1 > ... > t_n = 0, sampled pair by pair. Because the pairs are explicit,
a number of steps that does not divide T needs no special care.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

__all__ = ["Steps", "spaced_timesteps", "validate_timesteps"]

Steps = int | Sequence[int] | None  # evenly spaced steps from T, falling severities, or one step for each level


def spaced_timesteps(T: int, steps: int | None = None) -> list[int]:
    """Return `steps` + 1 severities from T to 0, as evenly spaced as whole numbers can be.

    Args:
        T: the first severity.
        steps: number of steps, 1..T; T by default.

    Raises:
        ValueError: if `steps` is not a whole number in 1..T.

    >>> spaced_timesteps(10, 4)
    [10, 7, 5, 2, 0]
    """
    steps = T if steps is None else _whole("steps", steps)
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}; a trajectory from T = {T} takes between 1 and {T} steps")
    # Integer arithmetic: rounding half down keeps T first and 0 last for every T and every number of steps.
    return [(2 * T * k + steps - 1) // (2 * steps) for k in range(steps, -1, -1)]


def validate_timesteps(T: int, steps: Steps = None) -> list[int]:
    """Return the severities of a trajectory.

    Args:
        T: the last severity of the degradation.
        steps: a number of evenly spaced steps from T to 0, falling severities within 0..T, or None for every level.

    Raises:
        ValueError: for a number that is not in 1..T, or severities that do not fall, in one step or more, from at most
            T to at least 0.

    >>> validate_timesteps(3), validate_timesteps(10, 2), validate_timesteps(10, (8, 3))
    ([3, 2, 1, 0], [10, 5, 0], [8, 3])
    """
    if not isinstance(steps, Sequence):
        return spaced_timesteps(T, steps)
    severities = [_whole("a severity in steps", t) for t in steps]
    if len(severities) < 2 or any(t <= s for t, s in pairwise(severities)) or severities[0] > T or severities[-1] < 0:
        raise ValueError(f"steps {severities} do not fall from at most T = {T} to at least 0 in one step or more")
    return severities


def _whole(name: str, value: Any) -> int:
    """Return a whole number, NumPy's included, as an int."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(
            f"{name} is {value!r}; give a whole number, falling whole numbers such as [50, 20, 0], or None"
        )
    return operator.index(value)
