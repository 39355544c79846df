"""Conjugate gradients for a batch of symmetric positive definite systems K_i x_i = b_i, one for each image.

Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952, with a preconditioner P ~ K:

    x <- x + a p,    r <- r - a K p,    a = <r, P^-1 r> / <p, K p>
    p <- P^-1 r + b p,    b = <r, P^-1 r>_new / <r, P^-1 r>_old

Every image has its own step lengths and stops on its own: an image that has converged is no longer changed, so its
result does not depend on the other images of the batch. On the CPU the loop ends when all images have converged. On
other devices it always takes the maximum number of iterations, since asking the device would make the host wait.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import debug_unwrap

__all__ = ["conjugate_gradient"]

Linear = Callable[[Tensor], Tensor]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)


def _may_look(x: Tensor) -> bool:
    """Return whether reading a value of `x` costs nothing: on the CPU, and not while something is compiled."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def conjugate_gradient(
    operator: Linear,
    b: Tensor,
    precondition: Linear | None = None,
    max_iterations: int = 500,
    tolerance: float | None = None,
) -> Tensor:
    """Return x with K x = b for every image of the batch.

    Args:
        operator: x (B, C, H, W) -> K x, symmetric positive definite; image i of K x depends on image i of x only.
        b: (B, C, H, W) right-hand sides, in float32 or float64.
        precondition: r -> P^-1 r, an approximate inverse of K, symmetric positive definite; None for the identity.
        max_iterations: the largest number of iterations, each of which applies `operator` once.
        tolerance: an image has converged when sqrt(<r, P^-1 r>) has fallen to this fraction of its first value.
            By default the precision of b, 1.2e-7 in float32, and 1e-13 in float64.

    Returns:
        x, shaped like `b`.

    >>> b = torch.ones(2, 1, 1, 3)
    >>> conjugate_gradient(lambda x: torch.tensor([1.0, 2.0, 4.0]) * x, b)[0].flatten().round(decimals=5).tolist()
    [1.0, 0.5, 0.25]
    """
    if tolerance is None:
        tolerance = max(torch.finfo(b.dtype).eps, 1e-13)
    solve = precondition if precondition is not None else torch.clone
    x, r = torch.zeros_like(b), b
    p = solve(r)
    rz = _dot(r, p)
    least = tolerance**2 * rz
    for _ in range(max_iterations):
        active = rz > least
        if _may_look(b) and not debug_unwrap(active).any():
            break
        Kp = operator(p)
        curvature = _dot(p, Kp)
        # Divided by 1 where an image has converged: a quotient 0 / 0 would have no gradient, even if it is not used.
        step = torch.where(active, rz / torch.where(active, curvature, 1), 0)
        x, r = x + step * p, r - step * Kp
        z = solve(r)
        rz_next = torch.where(active, _dot(r, z), rz)
        p = z + rz_next / torch.where(active, rz, 1) * p
        rz = rz_next
    return x
