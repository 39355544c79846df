"""The severities a trajectory visits.

A walk is a falling sequence T = t_0 > t_1 > ... > t_n = 0, taken pair by pair. Because the pairs are explicit, a number
of steps that does not divide T needs no special care.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["Times", "spaced_timesteps", "validate_timesteps"]

Times = Sequence[int] | None  # falling severities; every level of the degradation by default


def spaced_timesteps(T: int, steps: int | None = None) -> list[int]:
    """Return `steps` + 1 severities from T to 0, as evenly spaced as whole numbers can be.

    Args:
        T: where the walk starts.
        steps: how many steps it takes, 1..T; all T of them by default.

    Raises:
        ValueError: if `steps` is not in 1..T.

    >>> spaced_timesteps(10, 4)
    [10, 7, 5, 2, 0]
    """
    steps = T if steps is None else steps
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}; a walk from T = {T} takes between 1 and {T} steps")
    # Whole-number arithmetic: rounding half down keeps T first and 0 last for every T and every number of steps.
    return [(2 * T * k + steps - 1) // (2 * steps) for k in range(steps, -1, -1)]


def validate_timesteps(T: int, times: Times = None) -> list[int]:
    """Return the severities of a walk: `times`, or by default every level from T to 0.

    Raises:
        ValueError: if they do not fall, in one step or more, from at most T to at least 0.

    >>> validate_timesteps(3), validate_timesteps(10, (8, 3))
    ([3, 2, 1, 0], [8, 3])
    """
    times = spaced_timesteps(T) if times is None else list(times)
    if len(times) < 2 or any(t <= s for t, s in pairwise(times)) or times[0] > T or times[-1] < 0:
        raise ValueError(f"times {times} do not fall from at most T = {T} to at least 0 in one step or more")
    return times
