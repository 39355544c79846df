"""The uncertainty of a fit: estimates without one picture at a time, from derivatives of the objective.

A fit minimizes q(p) = sum_i q_i(p), the sum over pictures i of an objective with parameters p. With the gradients g_i
and the Hessians H_i of q_i near the minimum, one Newton step gives the estimate of p without picture i,

    p_(i) = p - (H - H_i)^-1 (g - g_i),    g = sum_i g_i,    H = sum_i H_i

and the jackknife (Tukey, 1958; Efron, "The jackknife, the bootstrap and other resampling plans", 1982) the covariance

    C = (m - 1) / m sum_i (p_(i) - mean) (p_(i) - mean)^T

of m pictures. It holds whatever the distribution of the residuals is and however they are correlated within a picture;
the pictures have to be independent. Intervals use Student's distribution with m - 1 degrees of freedom. Of a single
picture C is the inverse of the curvature of a Gaussian likelihood, which takes its residuals as independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LEVEL", "Expansion", "expand_objective", "half_widths", "standard_errors", "student_quantile"]

LEVEL = 0.95  # probability that an interval holds the true value
SINGULAR = 1e-10  # least eigenvalue of a Hessian with a diagonal of ones that counts as positive


class Expansion(NamedTuple):
    """The objectives of m pictures near a point: their gradients (m, k) and their Hessians (m, k, k), float64."""

    g: Tensor
    H: Tensor

    @property
    def step(self) -> Tensor | None:
        """The Newton step (k,) to the minimum of the sum, or None if the Hessian of the sum is not positive."""
        inverse = inverse_of(self.H.sum(0))
        return None if inverse is None else -inverse @ self.g.sum(0)


def expand_objective(
    objective: Callable[[Sequence[float]], Tensor], point: Sequence[float], center: Sequence[float], h: Sequence[float]
) -> Expansion:
    """Return gradients and Hessians at `point`, by central differences around `center`.

    Args:
        objective: returns the objective (m,) of each picture at k parameters.
        point: k parameters.
        center: k parameters near `point`, h away from where the objective is not defined.
        h: k steps, above 0.

    >>> at = expand_objective(lambda p: torch.tensor([3 * p[0] ** 2 + p[0] * p[1]]), (1.0, 2.0), (1.5, 2.0), (0.5, 0.5))
    >>> at.g.tolist(), at.H.tolist()
    ([[8.0, 1.0]], [[[6.0, 1.0], [1.0, 0.0]]])
    """

    def at(*moves: tuple[int, int]) -> Tensor:
        moved = list(center)
        for axis, sign in moves:
            moved[axis] += sign * h[axis]
        return objective(moved).double()

    k, middle = len(center), at()
    g, H = middle.new_zeros(len(middle), k), middle.new_zeros(len(middle), k, k)
    for i in range(k):
        up, down = at((i, 1)), at((i, -1))
        g[:, i] = (up - down) / (2 * h[i])
        H[:, i, i] = (up - 2 * middle + down) / h[i] ** 2
        for j in range(i):
            mixed = at((i, 1), (j, 1)) - at((i, 1), (j, -1)) - at((i, -1), (j, 1)) + at((i, -1), (j, -1))
            H[:, i, j] = H[:, j, i] = mixed / (4 * h[i] * h[j])
    offset = torch.tensor([p - c for p, c in zip(point, center, strict=True)], dtype=torch.float64).to(g.device)
    return Expansion(g + H @ offset, H)


def inverse_of(H: Tensor) -> Tensor | None:
    """Return the inverse (k, k) of a Hessian, or None if it is not positive definite."""
    diagonal = H.diagonal()
    if not bool((diagonal > 0).all() and H.isfinite().all()):
        return None
    scale = diagonal.rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * H * scale)
    if values[0] < SINGULAR:
        return None
    inverse: Tensor = scale[:, None] * (vectors / values @ vectors.T) * scale
    return inverse


def standard_errors(at: Expansion, variance: float) -> Tensor:
    """Return the standard errors (k,) of parameters; infinite where the pictures do not determine them.

    Args:
        at: the objectives at the estimate.
        variance: variance of the parameters over the inverse of the Hessian, if the likelihood is right: 1 for a
            negative log
            likelihood, 2 sigma^2 for a sum of squares. It is used for a single picture alone.
    """
    m, k = at.g.shape
    unknown = at.g.new_full((k,), math.inf)
    inverse = inverse_of(at.H.sum(0))
    if inverse is None:
        return unknown
    if m == 1:
        return (variance * inverse.diagonal()).sqrt()
    without = []
    for i in range(m):
        rest = inverse_of(at.H.sum(0) - at.H[i])
        if rest is None:
            return unknown
        without.append(-rest @ (at.g.sum(0) - at.g[i]))
    found = torch.stack(without)
    return ((m - 1) / m * (found - found.mean(0)).square().sum(0)).sqrt()


def half_widths(errors: Tensor, m: int) -> Tensor:
    """Return half the lengths of the intervals that belong to standard errors from m pictures."""
    return errors * (student_quantile(m - 1) if m > 1 else student_quantile(10**6))


def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """Return q with P(|T| <= q) = level for Student's T; for 3 degrees of freedom or more by Fisher's expansion.

    >>> [round(student_quantile(freedom), 2) for freedom in (1, 2, 3, 10, 1000)]
    [12.71, 4.3, 3.18, 2.23, 1.96]
    """
    p = (1 + level) / 2
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum((term / freedom**n for n, term in enumerate(terms, 1)), 0.0)
