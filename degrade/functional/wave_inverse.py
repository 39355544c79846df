"""The proximal map of a separable symmetric filter under reflected borders, in the waves that diagonalize it.

With the waves U of `reflect` (`degrade.functional.wave_transform`), a chain of kernels is A = U diag(g) U^-1 along each
axis. They are orthonormal for the weights W of the pixels, U^T W U = I, with W = 1/2 for the two end pixels. So with
Q = W^1/2 U orthonormal,

    A = W^-1/2 Q diag(g) Q^T W^1/2,        (A^T A + rho I)^-1 A^T r = U c,
    (G M G + rho M) c = G U^T r,    M = Q^T W^-1 Q = I + E E^T

where E^T (2, N) are the two rows of Q at the ends of an axis. In two dimensions G is g g^T, and M is the product of
those of the axes. Under `circular` and `symmetric` M = I, and the solution is one division. Here the system lies
between P = G^2 + rho and 4 P, for any size, level and rho, so conjugate gradients with P as preconditioner gain a digit
about every other iteration. An iteration costs O(H W) and no change of basis, since E has two columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.functional.conjugate_gradient import conjugate_gradient
from degrade.functional.wave_transform import orthonormal_waves

__all__ = ["end_waves", "solve_in_waves"]

# Bounded by the condition number 4: the error falls by 3 in every iteration at least, which makes 3e-12 and 2e-6.
ITERATIONS = {torch.float64: 24, torch.float32: 12}


def end_waves(N: int) -> Tensor:
    """Return E (N, 2), the values of the orthonormal waves Q of `reflect` at both ends of N pixels, in float64.

    >>> E = end_waves(5)
    >>> (E.T @ E).round(decimals=9).abs().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    U, W = orthonormal_waves("reflect", N)
    return (W[0].sqrt() * U[[0, -1]]).mT.contiguous() if N > 1 else torch.zeros(1, 2, dtype=torch.float64)


def solve_in_waves(G: Tensor, E_h: Tensor, E_w: Tensor, measured: Tensor, near: Tensor, rho: Tensor) -> Tensor:
    """Return c (B, C, H, W) with (G M G + rho M) c = G (measured - M G near).

    Args:
        G: (B, 1, H, W) gains of the waves.
        E_h: (H, 2) of the height.
        E_w: (W, 2) of the width.
        measured: (B, C, H, W), U^T x_t = U^-1 W^-1 x_t of the measurement x_t.
        near: (B, C, H, W), U^-1 x of the image x to stay near to.
        rho: (B, 1, 1, 1), positive.
    """
    P = G.square() + rho

    def M(c: Tensor) -> Tensor:
        c = c + E_h @ (E_h.mT @ c)
        return c + (c @ E_w) @ E_w.mT

    b = G * (measured - M(G * near))
    return conjugate_gradient(lambda c: G * M(G * c) + rho * M(c), b, lambda r: r / P, ITERATIONS[b.dtype])
