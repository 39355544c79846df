"""Waves: the basis in which every symmetric kernel of one boundary rule is diagonal.

An image row of N pixels is continued beyond its ends by a boundary rule. A kernel that is symmetric, h_d = h_-d, maps
each of the N waves below to a multiple of itself, the same multiple for one frequency w whatever the rule:

    H(w) = sum_d h_d cos(w d)

| boundary    | the row goes on                             | w_k            | waves              |
|-------------|---------------------------------------------|----------------|--------------------|
| `circular`  | periodically, a b c a b c                   | 2 pi k / N     | cos and sin w (n + 1/2) |
| `reflect`   | mirrored at the last pixel, a b c b a       | pi k / (N - 1) | cos w n (DCT-I)    |
| `symmetric` | mirrored at the last edge, a b c c b a      | pi k / N       | cos w (n + 1/2) (DCT-II) |

Each wave is even or odd about the middle of the row. The waves are orthogonal if every pixel has the weight 1, except
the two at the ends under `reflect`, which have 1/2, since every pixel but those is repeated.

So a chain of kernels is the product of its H(w), at the cost of none (Martucci, "Symmetric convolution and the discrete
sine and cosine transforms", 1994; Hansen, Nagy and O'Leary, "Deblurring Images", 2006).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

__all__ = ["PaddingMode", "boundary_basis", "boundary_weights"]

PaddingMode = Literal["circular", "reflect", "symmetric"]


def boundary_basis(boundary: PaddingMode, N: int) -> tuple[Tensor, Tensor]:
    """Return the frequencies w (N,) in radians per pixel and the waves (N, N), one per column, the constant 1 first.

    Waves 0, 2, 4, ... are even about the middle of the row, the others are odd.

    >>> w, V = boundary_basis("symmetric", 4)
    >>> (w / torch.pi).tolist(), V[:, 0].tolist()
    ([0.0, 0.25, 0.5, 0.75], [1.0, 1.0, 1.0, 1.0])
    """
    k = torch.arange(N, dtype=torch.float64)
    n = k[:, None]
    if boundary == "circular":
        w = 2 * math.pi / N * torch.ceil(k / 2)  # 0, 1, 1, 2, 2, ...: a sine and a cosine of each
        return w, torch.cos(w * (n + 0.5) - math.pi / 2 * (k % 2))
    w = math.pi * k / (max(N - 1, 1) if boundary == "reflect" else N)
    return w, torch.cos(w * (n if boundary == "reflect" else n + 0.5))


def boundary_weights(boundary: PaddingMode, N: int) -> Tensor:
    """Return the weights (N,) of the pixels for which the waves are orthogonal, in float64.

    >>> boundary_weights("reflect", 4).tolist()
    [0.5, 1.0, 1.0, 0.5]
    """
    W = torch.ones(N, dtype=torch.float64)
    if boundary == "reflect" and N > 1:
        W[0] = W[-1] = 0.5
    return W
