"""The proximal map of a separable symmetric filter, in the waves that diagonalize it.

With the waves V of one boundary rule (`degrade.functional.boundary`), a chain of kernels is A = V diag(g) V^-1 along
each axis. The waves are orthogonal, V^T W V diagonal, for the weights W of the pixels: W = I for `circular` and
`symmetric`; 1/2 for the two end pixels under `reflect`, which repeats every pixel but those. So with Q = W^1/2 V d
orthonormal, d = diag(V^T W V)^-1/2, and U = W^-1/2 Q = V d,

    A = W^-1/2 Q diag(g) Q^T W^1/2,        (A^T A + rho I)^-1 A^T r = U c,
    (G M G + rho M) c = G U^T r,    M = Q^T W^-1 Q = I + E E^T

where E^T (2, N) are the two rows of Q at the ends of an axis, or 0 where all weights are equal. In two dimensions G is
g g^T, and M is the product of those of the axes. Without E the solution is one division. With it the system lies
between P = G^2 + rho and 4 P, for any size, level and rho, so conjugate gradients with P as preconditioner gain a digit
about every other iteration. An iteration costs O(H W) and no change of basis, since E has two columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.functional.boundary import PaddingMode
from degrade.functional.conjugate_gradient import conjugate_gradient

__all__ = ["solve_in_waves", "wave_constants"]

# Bounded by the condition number 4: the error falls by 3 in every iteration at least, which makes 3e-12 and 2e-6.
ITERATIONS = {torch.float64: 24, torch.float32: 12}


def wave_constants(padding_mode: PaddingMode, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return d (N,) and E (N, 2) of the waves V (N, N) of a boundary rule, in float64.

    >>> from degrade.functional.boundary import boundary_basis
    >>> d, E = wave_constants("reflect", boundary_basis("reflect", 5)[1])
    >>> (E.T @ E).round(decimals=9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    N = len(V)
    W = torch.ones(N, dtype=torch.float64)
    uneven = padding_mode == "reflect" and N > 1
    if uneven:
        W[0] = W[-1] = 0.5
    d = (W[:, None] * V.square()).sum(0).rsqrt()
    ends = W[[0, -1], None].sqrt() * V[[0, -1]] * d
    return d, (ends.T if uneven else torch.zeros_like(ends.T)).contiguous()


def solve_in_waves(
    G: Tensor, ends: tuple[Tensor, Tensor] | None, measured: Tensor, near: Tensor, rho: Tensor
) -> Tensor:
    """Return c (B, C, H, W) with (G M G + rho M) c = G (measured - M G near).

    Args:
        G: (B, 1, H, W) gains of the waves.
        ends: E of the height (H, 2) and of the width (W, 2); None where all weights are equal, so that M = I.
        measured: (B, C, H, W), U^T x_t of the measurement x_t.
        near: (B, C, H, W), Q^T W^1/2 x of the image x to stay near to.
        rho: (B, 1, 1, 1), positive.
    """
    P = G.square() + rho
    if ends is None:
        return G * (measured - G * near) / P
    E_h, E_w = ends

    def M(c: Tensor) -> Tensor:
        c = c + E_h @ (E_h.mT @ c)
        return c + (c @ E_w) @ E_w.mT

    b = G * (measured - M(G * near))
    return conjugate_gradient(lambda c: G * M(G * c) + rho * M(c), b, lambda r: r / P, ITERATIONS[b.dtype])
