"""A linear probe: how much of the clean image a linear map recovers from the most degraded one.

    x_T = D(x0, T, z) in float32;    y = x0 averaged over a grid of size x size cells, per channel
    R^2 = 1 - sum |y - W x_T - w|^2 / sum |y - mean(y)|^2    on images that (W, w) were not fitted to

A level that erases to the eye may erase nothing in float32: blur multiplies a fine detail by 1e-5, and a network
multiplies it by 1e5. R^2 is the share of the coarse picture's variance that a linear map finds; 1 is all of it, 0 none
beyond the mean picture. Measured again after `quantize_8bit`, it tells what is left when x_T passes through a file. The
difference is information that a network can use in training and does not have in files. What D is meant to keep (the
mean color under blur) counts in both.

The read-out is ridge regression from all pixels of x_T, fitted in float64 to one half of the images through a singular
value decomposition of x_T (not of its square, which would halve the digits). Its strength is the one with the least
leave-one-out error on that half (Allen's PRESS statistic, 1974), which has a closed form. With n images a linear map
cannot use more than n / 2 directions, so the target is coarse: a grid of 8 x 8 wants a few hundred images, and R^2
grows towards its limit with n.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from degrade.base import Degradation, expand_level
from degrade.functional.quantization import quantize_8bit
from degrade.precision import to_float64

__all__ = ["ProbeResult", "linear_probe"]

# Ridge strengths tried, relative to the squared largest singular value: down to the rounding noise of float32.
STRENGTHS = torch.logspace(-20, 2, 23, dtype=torch.float64)
RANK = 1e-12  # singular values below this share of the largest are float64's own noise


class ProbeResult(NamedTuple):
    """Held-out R^2 of the read-out from x_T as it is, and from x_T rounded to 8 bits."""

    r2: float
    r2_8bit: float

    def __str__(self) -> str:
        return f"read from x_T: {self.r2:.1%} of the coarse image; rounded to 8 bits: {self.r2_8bit:.1%}"


def linear_probe(D: Degradation, x0: Tensor, size: int = 8, seed: int = 0) -> ProbeResult:
    """Measure how much of `x0` a linear map reads from D(x0, T, z), with and without rounding to 8 bits.

    Args:
        D: the degradation.
        x0: (n, C, H, W) different clean images in [-1, 1], n >= 16, better hundreds; taken in random order.
        size: side of the grid of averages that is to be recovered.
        seed: seed of the generator that draws z and the order.

    Raises:
        ValueError: if there are fewer than 16 images.

    >>> import degrade
    >>> x0 = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> leaked = linear_probe(degrade.make("gaussian_noise"), x0, size=2)
    >>> leaked.r2 < 0.1
    True
    """
    if len(x0) < 16:
        raise ValueError(f"x0 holds {len(x0)} images; a read-out fitted on half of them needs 16 at least")
    generator = torch.Generator(x0.device).manual_seed(seed)
    x0 = x0[torch.randperm(len(x0), generator=generator, device=x0.device)].float()
    x_T = D(x0, expand_level(D.T, x0), D.draw(x0, generator))
    y = to_float64(adaptive_avg_pool2d(x0, size).flatten(1))
    return ProbeResult(*(held_out_r2(to_float64(seen.flatten(1)), y) for seen in (x_T, quantize_8bit(x_T))))


def held_out_r2(x: Tensor, y: Tensor) -> float:
    """Return R^2 on the second half of the rows of ridge regression from `x` (n, p) to `y` (n, q) on the first half."""
    half = len(x) // 2
    x_mean, y_mean = x[:half].mean(0), y[:half].mean(0)
    U, s, Vh = torch.linalg.svd(x[:half] - x_mean, full_matrices=False)
    rank = int((s > RANK * s[0]).sum())
    U, s, Vh = U[:, :rank], s[:rank], Vh[:rank]
    strength = best_strength(U, s, y[:half] - y_mean)
    modes = (s / (s**2 + strength))[:, None] * (U.T @ (y[:half] - y_mean))
    error = y[half:] - y_mean - (x[half:] - x_mean) @ Vh.T @ modes
    return 1 - float(error.square().sum() / (y[half:] - y[half:].mean(0)).square().sum())


def best_strength(U: Tensor, s: Tensor, y: Tensor) -> float:
    """Return the ridge strength of least leave-one-out error.

    Args:
        U: (n, k) left singular vectors of the centered inputs.
        s: (k,) their singular values, the largest first.
        y: (n, q) centered targets.
    """
    outside = y - U @ (U.T @ y)
    free = (1 - 1 / len(y) - U.square().sum(1)).clamp(min=0)  # 1 - leverage without a ridge; 1 / n is the mean's
    scores: dict[float, float] = {}
    for strength in (STRENGTHS * float(s[:1].square().sum())).tolist():
        # What the ridge leaves unexplained, written so that nothing cancels when it is tiny.
        left = strength / (s**2 + strength)
        residual = outside + U @ (left[:, None] * (U.T @ y))
        scores[strength] = (residual.square().sum(1) / (free + U.square() @ left).square()).sum().item()
    return min(scores, key=lambda strength: scores[strength])
