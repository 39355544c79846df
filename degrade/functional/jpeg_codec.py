"""The lossy part of JPEG (ITU-T T.81, 1992, with the colors of JFIF): images to quantized cosine coefficients and back.

An image becomes luma and two colors at half size, each in blocks X of 8 x 8 pixels, with C the orthonormal DCT-II:

    coefficients  K = C X C^T,    coded  K_q = [K / Q],    decoded  X' = C^T (Q K_q) C

Q = clip(round(S Q_50), 1, 255) are the standard steps, stretched by S. In the place of the rounding [v] stands

    [v] = round(v) + (v - round(v))^3,    with the derivative 3 (v - round(v))^2

so that the result has a derivative (Shin and Song, 2017; Reich et al., arXiv 2309.06978, 2023). Colors are halved by
the means of 2 x 2 pixels and doubled linearly, as libjpeg does. The entropy coding of a file loses nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from degrade.functional.luma import LUMA, luma

__all__ = ["cosine_matrix", "decode", "encode", "quantization_steps"]

# Of the luma (B, 1, H, W), and if there are colors of these (B, 2, H / 2, W / 2), block by block in their places.
Coefficients = tuple[Tensor, ...]

BLOCK = 16  # pixels of the side of what is coded together: 2 x 2 blocks of luma and one of each color
LEVEL_SHIFT = 1 / 255  # from (v - 127.5) / 127.5 to (v - 128) / 127.5
RED, BLUE = 2 * (1 - LUMA[0]), 2 * (1 - LUMA[2])  # the ranges of R - Y and B - Y, to which Cr and Cb are scaled

# Annex K.1 and K.2: the steps at quality 50, by the frequencies of the height and of the width.
LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
COLOR_STEPS = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)


def cosine_matrix() -> Tensor:
    """Return C (8, 8) in float64, the orthonormal DCT-II, of which row k is the wave of frequency pi k / 8."""
    k = torch.arange(8, dtype=torch.float64)
    C = torch.cos(math.pi / 8 * k[:, None] * (k + 0.5)) / 2
    return torch.cat([C[:1] / 2**0.5, C[1:]])


def quantization_steps(stretch: Tensor) -> Tensor:
    """Return the steps (L, 2, 8, 8) of luma and of color for each factor S (L,), in units of images in [-1, 1]."""
    standard = torch.tensor([LUMA_STEPS, COLOR_STEPS], dtype=stretch.dtype)
    return (stretch[:, None, None, None] * standard + 0.5).floor().clamp(1, 255) / 127.5


def encode(x: Tensor, C: Tensor) -> Coefficients:
    """Return the cosine coefficients of images (B, C, H, W) of 1 or 3 channels in [-1, 1]; blocks are filled up."""
    if any(N % BLOCK for N in x.shape[2:]):
        rows, columns = (torch.arange(-(-N // BLOCK) * BLOCK, device=x.device).clamp(max=N - 1) for N in x.shape[2:])
        x = x[:, :, rows][:, :, :, columns]
    Y = luma(x.expand(-1, 3, -1, -1))
    planes = [Y - LEVEL_SHIFT]
    if x.shape[1] == 3:
        planes.append(avg_pool2d(torch.cat([(x[:, 2:] - Y) / BLUE, (x[:, :1] - Y) / RED], 1), 2))
    return tuple(_both_axes(plane, C) for plane in planes)


def decode(coefficients: Coefficients, steps: Tensor, C: Tensor) -> Tensor:
    """Return the images (B, 1 or 3, H, W) of coefficients that are rounded to multiples of `steps` (B, 2, 8, 8)."""
    planes = []
    for K, Q in zip(coefficients, steps[:, :, None, None, :, None, :].unbind(1)):
        v = K.view(*K.shape[:2], K.shape[2] // 8, 8, K.shape[3] // 8, 8) / Q
        whole = v.round()
        rest = v - whole
        planes.append(_both_axes(((whole + rest * rest * rest) * Q).view(K.shape), C.mT))
    Y = planes[0] + LEVEL_SHIFT
    if len(planes) == 1:
        return Y.clamp(-1, 1)
    colors = interpolate(planes[1], scale_factor=2, mode="bilinear")
    blue, red = colors[:, :1], colors[:, 1:]
    R, B = Y + RED * red, Y + BLUE * blue
    G = Y - (LUMA[0] * RED / LUMA[1]) * red - (LUMA[2] * BLUE / LUMA[1]) * blue
    return torch.cat([R, G, B], 1).clamp(-1, 1)


def _both_axes(plane: Tensor, C: Tensor) -> Tensor:
    """Return C X C^T for every block X of planes (B, c, H, W)."""
    B, c, H, W = plane.shape
    across = plane.reshape(B, c, H, W // 8, 8) @ C.mT
    return (C @ across.view(B, c, H // 8, 8, W)).view(B, c, H, W)
