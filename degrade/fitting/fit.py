"""The parameters of a degradation, fitted to pairs of clean and degraded images, with their uncertainty.

    y_i = D_p(x0_i, t) + e_i,    e_i ~ N(0, sigma^2 I),    i = 1..m

The severity t is an integer in 0..T and one for all pairs; p are arguments of D that are floating-point numbers, such
as the width of a kernel; sigma is the noise that D does not explain. t and p minimize the sum of squares

    q(t, p) = sum_i |y_i - D_p(x0_i, t)|^2,    sigma^2 = q / N

over N values. A search over t, coarse to fine, takes the least q over p at each t: by a
grid and golden sections along each argument, then Newton steps. A degradation with random z is fitted

* if z can be computed (`identifiable`) and holds fewer numbers than the image, with z = D.estimate(y, x0, t);
* if it is Gaussian noise, D(x0, t, z) = a_t x0 + b_t z (`gaussian` and `additive`), by its likelihood, in which b_t
  takes the place of sigma. Values that were cut off at -1 and 1, as in a file, enter with the probability of being cut
  off;

and refused otherwise. Intervals hold the true value with a probability of 95 %. They are those of a jackknife over the
pairs (`degrade.fitting.uncertainty`, `degrade.fitting.intervals`). The interval of an argument is that at the fitted
severity, extended by those at the ends of the severity's interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from torch import Tensor

from degrade.base import Degradation
from degrade.fitting.intervals import FittedValue, noise_interval, severity_interval, value_intervals
from degrade.fitting.objective import Objective
from degrade.fitting.search import Search, Solution
from degrade.frozen import frozen

__all__ = ["DegradationFit", "FittingOptions", "fit_degradation"]


class DegradationFit(NamedTuple):
    """What `fit_degradation` found.

    Args:
        degradation: D with the fitted arguments.
        severity: t.
        arguments: the fitted arguments by name.
        noise: sigma, or b_t of Gaussian noise, in units of images in [-1, 1].
        difference: root mean square of y - x0, to compare `noise` with.
        log_likelihood: log-likelihood of one value, in nats; it compares degradations of different kinds, the larger
            the better.
        images: number m of pairs.
        remarks: what limits the result, one line each; none if nothing does.
    """

    degradation: Degradation
    severity: FittedValue
    arguments: dict[str, FittedValue]
    noise: FittedValue
    difference: float
    log_likelihood: float
    images: int
    remarks: tuple[str, ...]


@frozen
class FittingOptions:
    """What is known beside the arguments, and which pixels are compared.

    Args:
        severity: 1..T, if it is known; None to fit it.
        margin: number of pixels at each border that are not compared, for crops, where they depend on what is outside.
    """

    severity: Annotated[int, Field(ge=1)] | None = None
    margin: Annotated[int, Field(ge=0)] = 0


def fit_degradation(
    name: str,
    x0: Tensor,
    y: Tensor,
    arguments: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    options: FittingOptions = FittingOptions(),
) -> DegradationFit:
    """Fit the severity, arguments and the noise of a registered degradation to pairs of images.

    Args:
        name: name of the degradation.
        x0: (m, C, H, W) clean images in [-1, 1].
        y: (m, C, H, W) the same images, degraded.
        arguments: those of the degradation that are known.
        bounds: least and greatest value of each argument that is fitted, by name; each is a floating-point number. That
            of an object, such as a width rule, is named `sigmas.sigma`. One that is given is replaced.
        options: the severity, if it is known, and which pixels are compared.

    Raises:
        ValueError: if the images are no pairs, an argument cannot be fitted, or what is random about the degradation
            cannot be computed from a pair.

    >>> import degrade, torch
    >>> x0 = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> truth = degrade.make("blur", T=9, sigmas="constant:sigma=0.8", kernel_size=9)
    >>> found = fit_degradation("blur", x0, truth(x0, torch.full((4,), 6)), truth.arguments)
    >>> found.severity, found.noise.value < 1e-6
    (FittedValue(value=6, low=6, high=6), True)
    """
    bounds = dict(bounds or {})
    _check_bounds(bounds)
    objective = Objective(name, dict(arguments or {}), tuple(bounds), x0, y, options.margin)
    search = Search(objective, tuple(bounds.values()), options.severity)
    return _conclude(search, search.solve())


def _check_bounds(bounds: Mapping[str, tuple[float, float]]) -> None:
    for argument, ends in bounds.items():
        numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
        if len(ends) != 2 or len(numbers) != 2 or not -math.inf < ends[0] < ends[1] < math.inf:
            raise ValueError(f"the bounds of {argument} are {list(ends)}; give two numbers, [low,high]")


def _conclude(search: Search, best: Solution) -> DegradationFit:
    """Return the fit with its intervals."""
    objective = search.objective
    variance = 1.0 if objective.hot else 2 * best.total / (objective.size * len(best.q))
    severity = severity_interval(search, best, variance)
    values = dict(zip(objective.names, value_intervals(search, best, severity, variance)))
    return DegradationFit(
        degradation=objective.degradation(best.values),
        severity=severity,
        arguments=values,
        noise=noise_interval(search, best, severity),
        difference=float((objective.y - objective.x0).double().square().mean().sqrt()),
        log_likelihood=objective.log_likelihood(best.q),
        images=len(best.q),
        remarks=_remarks(search, best, severity, values),
    )


def _remarks(
    search: Search, best: Solution, severity: FittedValue, values: Mapping[str, FittedValue]
) -> tuple[str, ...]:
    found = []
    if search.severity is None and severity.value == search.T and search.T > 1:
        found.append(f"the severity is the last level, T = {search.T}: a larger T may fit better")
    for name, value, (low, high) in zip(search.objective.names, best.values, search.bounds):
        if min(value - low, high - value) < 1e-6 * (high - low):
            found.append(f"{name} = {value:g} is at the end of its bounds: wider ones may fit better")
        elif not math.isfinite(values[name].high - values[name].low):
            found.append(f"the pairs do not determine {name}: give it, or the severity, as an argument")
    if len(search.objective.x0) == 1:
        found.append("of a single pair, intervals take the noise of all pixels as independent")
    return tuple(found)
