"""The search for the severity and the arguments with the least objective; see `degrade.fitting.fit`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from degrade.fitting.objective import Objective
from degrade.fitting.uncertainty import Expansion, expand_objective, standard_errors

__all__ = ["Search", "Solution"]

GRID = 9  # values of an argument, and levels, that are tried first
ROUNDS = 3  # of golden sections along each argument
SECTIONS = 6  # of one golden section
NEWTON = 12  # Newton steps at most
GOLDEN = (5**0.5 - 1) / 2


class Solution(NamedTuple):
    """A severity, values of the fitted arguments, and the objective (m,) of each pair there."""

    t: int
    values: tuple[float, ...]
    q: Tensor

    @property
    def total(self) -> float:
        """The objective of all pairs, infinite where it is not a number."""
        total = float(self.q.sum())
        return total if math.isfinite(total) else math.inf


class Search:
    """The least objective over severities and arguments.

    Args:
        objective: the objective of the pairs of images.
        bounds: least and greatest value of each argument.
        severity: if it is known.

    Raises:
        ValueError: if the severity is none of the degradation, or the degradation refuses the ends of the bounds.
    """

    def __init__(
        self, objective: Objective, bounds: tuple[tuple[float, float], ...], severity: int | None = None
    ) -> None:
        self.objective, self.severity = objective, severity
        self.bounds = tuple((float(low), float(high)) for low, high in bounds)
        self.T = min(objective.degradation([ends[i] for ends in self.bounds]).T for i in (0, 1))
        self.first = 1 if self.bounds or objective.hot else 0  # at level 0 nothing depends on the arguments
        self._known: dict[int, Solution] = {}
        if severity is not None and severity > self.T:
            raise ValueError(f"severity is {severity}; the levels of {objective.name} are 1..{self.T}")

    def solve(self) -> Solution:
        """Return the severity and the arguments with the least objective.

        Levels are tried evenly spaced at first, then between the neighbors of the best one.
        """
        if self.severity is not None:
            return self.at_level(self.severity)
        low, high = self.first, self.T
        while True:
            for i in range(GRID):
                self.at_level(round(low + (high - low) * i / (GRID - 1)))
            tried, best = sorted(self._known), min(self._known.values(), key=_total)
            place = tried.index(best.t)
            low, high = tried[max(0, place - 1)], tried[min(len(tried) - 1, place + 1)]
            if best.t - low <= 1 and high - best.t <= 1:
                return best

    def at_level(self, t: int) -> Solution:
        """Return the arguments with the least objective at level t."""
        if t not in self._known:
            self._known[t] = self._best_values(t)
        return self._known[t]

    def _at(self, t: int, values: tuple[float, ...]) -> Solution:
        return Solution(t, values, self.objective(values, t))

    def _best_values(self, t: int) -> Solution:
        """Return the arguments with the least objective at level t."""
        best = self._at(t, tuple(_between(low, high, 0.5) for low, high in self.bounds))
        for turn in range(ROUNDS if len(self.bounds) > 1 else 1):
            for axis in range(len(self.bounds)):
                best = self._along(best, axis, wide=turn == 0)
        return self._newton(best) if self.bounds else best

    def _along(self, best: Solution, axis: int, wide: bool) -> Solution:
        """Return the best point along one argument: from a grid over its bounds, then by golden sections."""

        def at(share: float) -> Solution:
            values = list(best.values)
            values[axis] = _between(*self.bounds[axis], share)
            return self._at(best.t, tuple(values))

        here = _share(*self.bounds[axis], best.values[axis])
        if wide:
            tried = [(i / (GRID - 1), at(i / (GRID - 1))) for i in range(GRID)]
            here = min(tried, key=lambda found: found[1].total)[0]
        reach = 1 / (GRID - 1)
        return min(golden_section(at, max(0.0, here - reach), min(1.0, here + reach)), best, key=_total)

    def _newton(self, best: Solution) -> Solution:
        """Return the point after Newton steps from a point near the minimum, each of them downhill."""
        for _ in range(NEWTON):
            step = self.expand(best).step
            if step is None:
                return best
            for shrink in (1.0, 0.5, 0.25, 0.1):
                moved = zip(best.values, step.tolist(), self.bounds)
                values = tuple(min(max(v + shrink * d, low), high) for v, d, (low, high) in moved)
                found = self._at(best.t, values)
                if found.total < best.total:
                    break
            else:
                return best
            moves = [abs(a - b) / (high - low) for a, b, (low, high) in zip(values, best.values, self.bounds)]
            best = found
            if max(moves) < 1e-10:
                return best
        return best

    def expand(self, best: Solution) -> Expansion:
        """Return the derivatives of the objective in the arguments.

        They are differences over less than the uncertainty of an argument, or over more where the objective is rough.
        """
        total, N = max(best.total, 1e-300), self.objective.size * len(self.objective.x0)
        variance = 1.0 if self.objective.hot else 2 * total / N
        scales = [max(abs(value), 1e-3 * (high - low)) for value, (low, high) in zip(best.values, self.bounds)]

        def at(h: list[float]) -> tuple[Expansion, list[float]]:
            center = [min(max(v, low + d), high - d) for v, d, (low, high) in zip(best.values, h, self.bounds)]
            found = expand_objective(lambda values: self.objective(values, best.t), best.values, center, h)
            errors: list[float] = standard_errors(found, variance).tolist()
            return found, errors

        found, errors = at([1e-2 * scale for scale in scales])
        if all(map(math.isfinite, errors)):
            found, errors = at([min(max(0.3 * e, 1e-5 * scale), 1e-2 * scale) for e, scale in zip(errors, scales)])
        return found if all(map(math.isfinite, errors)) else at([0.1 * scale for scale in scales])[0]


def golden_section(at: Callable[[float], Solution], low: float, high: float) -> Solution:
    """Return the best of the points that a golden section between two numbers visits."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    found = {share: at(share) for share in (left, right)}
    for _ in range(SECTIONS):
        if found[left].total < found[right].total:
            high, right = right, left
            left = high - GOLDEN * (high - low)
            found[left] = at(left)
        else:
            low, left = left, right
            right = low + GOLDEN * (high - low)
            found[right] = at(right)
    return min(found.values(), key=_total)


def _total(found: Solution) -> float:
    return found.total


def _between(low: float, high: float, share: float) -> float:
    """Return the value at a share of the way from low to high; by equal factors if they span a factor above 8."""
    if share in (0.0, 1.0):
        return high if share else low
    return low * (high / low) ** share if low > 0 and high > 8 * low else low + share * (high - low)


def _share(low: float, high: float, value: float) -> float:
    if low > 0 and high > 8 * low:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
