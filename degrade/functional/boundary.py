"""Waves: the basis in which every symmetric kernel of one boundary rule is diagonal.

An image row of N pixels is continued beyond its ends by a boundary rule. A kernel that is symmetric, h_d = h_-d, maps
each of the N waves below to a multiple of itself, the same multiple for one frequency w whatever the rule:

    H(w) = sum_d h_d cos(w d)

| boundary    | the row goes on                             | w_k            | waves              |
|-------------|---------------------------------------------|----------------|--------------------|
| `circular`  | periodically, a b c a b c                   | 2 pi k / N     | cos w n, sin w n   |
| `reflect`   | mirrored at the last pixel, a b c b a       | pi k / (N - 1) | cos w n (DCT-I)    |
| `symmetric` | mirrored at the last edge, a b c c b a      | pi k / N       | cos w (n + 1/2) (DCT-II) |

So a chain of kernels is the product of its H(w), at the cost of none (Martucci, "Symmetric convolution and the discrete
sine and cosine transforms", 1994; Hansen, Nagy and O'Leary, "Deblurring Images", 2006).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

__all__ = ["PaddingMode", "boundary_basis"]

PaddingMode = Literal["circular", "reflect", "symmetric"]


def boundary_basis(boundary: PaddingMode, N: int) -> tuple[Tensor, Tensor]:
    """Return the frequencies w (N,) in radians per pixel and the waves (N, N), one per column, the constant 1 first.

    >>> w, V = boundary_basis("symmetric", 4)
    >>> (w / torch.pi).tolist(), V[:, 0].tolist()
    ([0.0, 0.25, 0.5, 0.75], [1.0, 1.0, 1.0, 1.0])
    """
    k = torch.arange(N, dtype=torch.float64)
    n = k[:, None]
    if boundary == "circular":
        w = 2 * math.pi / N * torch.ceil(k / 2)  # 0, 1, 1, 2, 2, ...: a cosine and a sine of each
        phase = math.pi / 2 * ((k % 2 == 0) & (k > 0)).double()  # in float32, a bool would turn the angle by 4e-8
        return w, torch.cos(w * n - phase)
    w = math.pi * k / (max(N - 1, 1) if boundary == "reflect" else N)
    return w, torch.cos(w * (n if boundary == "reflect" else n + 0.5))
