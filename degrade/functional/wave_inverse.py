"""The proximal map of a separable symmetric filter under reflected borders, in the waves that diagonalize it.

With the waves U of `reflect` (`degrade.functional.wave_transform`), a chain of kernels is A = U diag(g) U^-1 along each
axis. They are orthonormal for the weights W of the pixels, U^T W U = I, with W = 1/2 for the two end pixels, so that

    (A^T A + rho I)^-1 A^T r = U c,    (G M G + rho M) c = G U^T r,    M = U^T U

In two dimensions G is g g^T, and M is the product of those of the axes, M_h c M_w. Under `circular` and `symmetric`
M = I, and the solution is one division. Here, since the pixels at the ends count twice, M = I + e e^T among the even
waves of an axis and among the odd ones, where the unit vector e holds the values of these waves at the first pixel. An
image falls into four parts, even or odd along either axis, which do not mix, and in each of them M c = c + F S F^T c,

    F (a, b) = e_h a^T + b e_w^T,    F^T c = (c^T e_h, c e_w),    S (a, b) = (a, M_h b)

So what M adds has few unknowns, u = S F^T G c and v = rho^1/2 S F^T c, one number for each wave of an axis. They solve

    S^-1 u + F^T K_2 F u + F^T K_1 F v = F^T (G / P) r          P = G^2 + rho,    r here for the right side G U^T r
    S^-1 v + F^T K_1 F u + F^T K_0 F v = F^T (rho^1/2 / P) r    K_2 = G^2 / P,    K_1 = rho^1/2 G / P,    K_0 = rho / P

pixel by pixel in K, and c = (r - G F u - rho^1/2 F v) / P. The matrix of this system serves all channels. It is
positive definite with a small condition number whatever the size, the level and rho, and it is diagonal among the a,
which are eliminated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.functional.wave_transform import orthonormal_waves

__all__ = ["end_waves", "solve_in_waves"]


def end_waves(N: int) -> Tensor:
    """Return E (N, 2): e of the even waves of `reflect`, which come first, and e of the odd ones, in float64.

    E is 0 for one pixel, which counts once.

    >>> E = end_waves(5)
    >>> (E.T @ E).round(decimals=9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    E = torch.zeros(N, 2, dtype=torch.float64)
    if N > 1:
        e, even = orthonormal_waves("reflect", N)[0][0], N - N // 2
        E[:even, 0], E[even:, 1] = e[:even], e[even:]
    return E


def solve_in_waves(G: Tensor, E_h: Tensor, E_w: Tensor, measured: Tensor, near: Tensor, rho: Tensor) -> Tensor:
    """Return c (B, C, H, W) with (G M G + rho M) c = G (measured - M G near).

    Args:
        G: (B, 1, H, W) gains of the waves, the even ones of each axis first.
        E_h: (H, 2) of the height.
        E_w: (W, 2) of the width.
        measured: (B, C, H, W), U^T x_t = U^-1 W^-1 x_t of the measurement x_t.
        near: (B, C, H, W), U^-1 x of the image x to stay near to.
        rho: (B, 1, 1, 1), positive.
    """
    root, P = rho.sqrt(), G.square() + rho
    c = G * near
    c = c + (c @ E_w) @ E_w.mT
    r = G * (measured - (c + E_h @ (E_h.mT @ c)))
    of_u, of_v = G / P * r, root / P * r
    targets = torch.stack([E_h.mT @ of_u, E_h.mT @ of_v], 1), torch.stack([of_u @ E_w, of_v @ E_w], 1)
    (u_a, v_a), (u_b, v_b) = _unknowns((G * G / P, root * G / P, rho / P), E_h, E_w, *targets)
    return (r - G * (E_h @ u_a + u_b @ E_w.mT) - root * (E_h @ v_a + v_b @ E_w.mT)) / P


def _unknowns(
    K: tuple[Tensor, Tensor, Tensor], E_h: Tensor, E_w: Tensor, a: Tensor, b: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return a of u and of v, (B, C, 2, W) each, and b of u and of v, (B, C, H, 2) each.

    Args:
        K: K_2, K_1 and K_0, (B, 1, H, W) each.
        E_h: (H, 2) of the height.
        E_w: (W, 2) of the width.
        a: (B, 2, C, 2, W), the right side for a of u and v.
        b: (B, 2, C, H, 2), the right side for b of u and v.
    """
    H, W, batch, channels = len(E_h), len(E_w), len(a), a.shape[2]
    found_a, found_b = torch.empty_like(a), torch.empty_like(b)
    for i, h in enumerate((slice(0, H - H // 2), slice(H - H // 2, H))):
        for j, w in enumerate((slice(0, W - W // 2), slice(W - W // 2, W))):
            parts = [k[:, 0, h, w] for k in K]
            part_a, part_b = a[:, :, :, i, w].mT, b[:, :, :, h, j].mT  # (B, 2, waves, C)
            some_a, some_b = _solve_part(parts, E_h[h, i], E_w[w, j], part_a.flatten(1, 2), part_b.flatten(1, 2))
            found_a[:, :, :, i, w] = some_a.view(batch, 2, -1, channels).mT
            found_b[:, :, :, h, j] = some_b.view(batch, 2, -1, channels).mT
    return found_a.unbind(1), found_b.unbind(1)


def _solve_part(K: list[Tensor], e_h: Tensor, e_w: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unknowns a (B, 2 m, C) and b (B, 2 n, C) of u and v from their right sides and K (B, n, m)."""
    d_2, d_1, d_0 = (e_h.square() @ k for k in K)
    determinant = (1 + d_2) * (1 + d_0) - d_1.square()
    inverse = [v / determinant for v in (1 + d_0, -d_1, 1 + d_2)]  # of the part of a, diagonal in each block
    across = _blocks(*(e_h[:, None] * e_w * k for k in K))
    first, last = across.chunk(2, 2)
    solved = torch.cat(
        [first * i + last * j for i, j in ((v[:, None] for v in pair) for pair in (inverse[:2], inverse[1:]))], 2
    )
    M_inverse = torch.eye(len(e_h), dtype=a.dtype, device=a.device) - 0.5 * e_h[:, None] * e_h
    d_2, d_1, d_0 = (torch.diag_embed(k @ e_w.square()) for k in K)
    T = _blocks(M_inverse + d_2, d_1, M_inverse + d_0) - solved @ across.mT
    factor, _ = torch.linalg.cholesky_ex(T)  # without a look at the result, for which the host would wait
    b = torch.cholesky_solve(b - solved @ a, factor)
    i, j, k = (v[..., None] for v in inverse)
    above, below = (a - across.mT @ b).chunk(2, 1)
    return torch.cat([i * above + j * below, j * above + k * below], 1), b


def _blocks(first: Tensor, off: Tensor, last: Tensor) -> Tensor:
    """Return the matrix [first, off; off, last]."""
    return torch.cat([torch.cat([first, off], 2), torch.cat([off, last], 2)], 1)
