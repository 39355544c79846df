"""The severities a trajectory visits.

A walk is a falling sequence T = t_0 > t_1 > ... > t_n = 0, taken pair by pair. Because the pairs are explicit, a number
of steps that does not divide T needs no special care.
"""

from __future__ import annotations

__all__ = ["strided"]


def strided(T: int, steps: int | None = None) -> list[int]:
    """Return `steps` + 1 severities from T to 0, as evenly spaced as whole numbers can be.

    Args:
        T: where the walk starts.
        steps: how many steps it takes, 1..T; all T of them by default.

    Raises:
        ValueError: if `steps` is not in 1..T.

    >>> strided(10, 4)
    [10, 7, 5, 2, 0]
    """
    steps = T if steps is None else steps
    if not 1 <= steps <= T:
        raise ValueError(f"steps is {steps}; a walk from T = {T} takes between 1 and {T} steps")
    # Whole-number arithmetic: rounding half down keeps T first and 0 last for every T and every number of steps.
    return [(2 * T * k + steps - 1) // (2 * steps) for k in range(steps, -1, -1)]
