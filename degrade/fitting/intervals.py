"""The intervals of a fit: of the severity, of the arguments, of the noise.

The severity is an integer. Its interval is that of a number, from the objective minimized over the arguments at levels
about one standard error apart. Where the best level is the first or the last, or there is no curvature, it holds the
levels t around the best one whose objective is not clearly above that of the best one,

    sum_i d_i <= k sqrt(m) std(d_i),    d_i = q_i(t) - q_i(best)

with the quantile k of Student's distribution: a paired comparison over the m pictures.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.fitting.search import Search, Solution
from degrade.fitting.uncertainty import expand_objective, half_widths, standard_errors, student_quantile

__all__ = ["FittedValue", "noise_interval", "severity_interval", "value_intervals"]


class FittedValue(NamedTuple):
    """An estimate with its 95 % interval, low..high; the interval of what was given is the value alone."""

    value: float
    low: float
    high: float


def severity_interval(search: Search, best: Solution, variance: float) -> FittedValue:
    """Return the severity with its interval.

    Args:
        search: the search that found it.
        best: the fit.
        variance: variance of parameters over the inverse Hessian of the objective; see `standard_errors`.
    """
    if search.severity is not None or search.T - search.first < 1:
        return FittedValue(best.t, best.t, best.t)
    m, spacing = len(best.q), 1
    center, error = float(best.t), math.inf
    if search.first < best.t < search.T:
        for _ in range(2):
            middle = min(max(best.t, search.first + spacing), search.T - spacing)
            at = expand_objective(lambda t: search.at_level(round(t[0])).q, [best.t], [middle], [spacing])
            error, step = float(standard_errors(at, variance)), at.step
            center = best.t + (0.0 if step is None else float(step))
            if not math.isfinite(error):
                break
            spacing = min(max(1, round(error)), (search.T - search.first) // 2)
    if not math.isfinite(error) or abs(center - best.t) > max(1, spacing):
        return FittedValue(best.t, _last_kept(search, best, variance, -1), _last_kept(search, best, variance, 1))
    wide = float(half_widths(torch.tensor(error), m))
    low, high = math.ceil(max(search.first, center - wide)), math.floor(min(search.T, center + wide))
    return FittedValue(best.t, min(low, best.t), max(high, best.t))


def _last_kept(search: Search, best: Solution, variance: float, way: int) -> int:
    """Return the last level that is kept, from the best one downwards or upwards."""
    t, m = best.t, len(best.q)
    while search.first <= t + way <= search.T:
        d = search.at_level(t + way).q - best.q
        bound = student_quantile(m - 1) * m**0.5 * float(d.std()) if m > 1 else student_quantile(10**6) ** 2
        if float(d.sum()) * (1 if m > 1 else 2 / variance) > bound:
            break
        t += way
    return t


def value_intervals(search: Search, best: Solution, severity: FittedValue, variance: float) -> list[FittedValue]:
    """Return the fitted arguments with their intervals, which hold those at the ends of the severity's."""
    ends = [[value, value] for value in best.values]
    for t in {best.t, int(severity.low), int(severity.high)} if best.values else ():
        found = search.at_level(t)
        at = search.expand(found)
        wide = half_widths(standard_errors(at, variance), len(best.q)).tolist()
        for own, value, half in zip(ends, found.values, wide):
            own[:] = min(own[0], value - half), max(own[1], value + half)
    return [FittedValue(value, *own) for value, own in zip(best.values, ends)]


def noise_interval(search: Search, best: Solution, severity: FittedValue) -> FittedValue:
    """Return sigma with its interval: from how the pairs differ, or of the levels b_t of Gaussian noise."""
    objective = search.objective
    if objective.hot:
        value, low, high = (
            objective.noise_level(objective.degradation(search.at_level(int(t)).values), int(t)) for t in severity
        )
        return FittedValue(value, min(low, high), max(low, high))
    share = best.q / objective.size
    m, mean = len(share), float(share.mean())
    error: Tensor = share.std() / m**0.5 if m > 1 else share[0] * (2 / objective.size) ** 0.5
    half = float(half_widths(error, m)) / mean if mean else 0.0  # of log sigma^2
    return FittedValue(mean**0.5, mean**0.5 * math.exp(-half / 2), mean**0.5 * math.exp(half / 2))
