"""The naive loops: a degradation level by level, as its formula reads.

A loop yields x_0, x_1, ..., x_T, each level made from the one before where the formula says so. That is how Bansal et
al. (arXiv 2208.09392, 2022) degrade a training batch: every level up to the largest of the batch, all of them stacked,
then one picked per image. The closed forms of `degrade` are held against these loops, for their values in the tests and
for their cost in `experiments.bench.degradations`; so nothing is taken from `degrade` but the arguments and the numbers
of snow. What depends on the level alone (kernels, holes) is made beforehand, as in a constructor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from degrade import Blur, Degradation, Inpaint, Params, Pixelate, Snow
from degrade.functional.sigmas import SigmaRule
from degrade.operators.snow import STRENGTHS, Strength

__all__ = ["blur_kernels", "blurred", "holes", "inpainted", "loop_of", "picked", "pixelated", "sigmas", "snowed"]

Loop = Callable[[Tensor, Params], Iterator[Tensor]]  # (x0, z) -> x_0, x_1, ..., x_T

RULES: dict[str, Callable[..., float]] = {
    "incremental": lambda i, step, offset: step * (i + offset),
    "constant": lambda i, sigma: sigma,
    "exponential": lambda i, rate, initial: initial * math.exp(rate * i),
    "cifar10": lambda i: 0.35 + i / 100,
}


def picked(levels: Iterator[Tensor], t: Tensor) -> Tensor:
    """Return image i of level t[i]: all levels up to the largest are stacked, then picked from."""
    stacked = torch.stack(list(islice(levels, int(t.max()) + 1)))
    return stacked[t, torch.arange(len(t), device=t.device)]


def sigmas(rule: SigmaRule, T: int) -> list[float]:
    """Return the widths of steps i = 0..T-1."""
    return [RULES[rule.name](i, **rule.arguments) for i in range(T)]


def gaussian(d: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian at the points d, scaled to sum 1."""
    g = torch.exp(-((d / sigma) ** 2) / 2)
    return g / g.sum()


def blur_kernels(widths: Iterable[float], kernel_size: int, like: Tensor) -> list[Tensor]:
    """Return one kernel (k, k) for each width."""
    half = kernel_size // 2
    d = torch.arange(-half, half + 1, dtype=like.dtype)
    return [torch.outer(gaussian(d, sigma), gaussian(d, sigma)).to(like.device) for sigma in widths]


def blurred(x0: Tensor, kernels: Sequence[Tensor], boundary: str, mean_at_T: bool = False) -> Iterator[Tensor]:
    """Convolve with each kernel in turn; the last level becomes its own mean color if asked for."""
    yield x0
    x, channels = x0, x0.shape[1]
    for i, kernel in enumerate(kernels, 1):
        around = _continued(x, len(kernel) // 2, boundary)
        x = conv2d(around, kernel.expand(channels, 1, -1, -1), groups=channels)
        yield _mean(x, boundary).expand_as(x) if mean_at_T and i == len(kernels) else x


def _mean(x: Tensor, boundary: str) -> Tensor:
    """Return the mean colors (B, C, 1, 1) of x as it goes on beyond its borders: over one period of it."""
    for dim in (2, 3) if boundary == "reflect" else ():
        x = torch.cat([x, x.narrow(dim, 1, max(x.shape[dim] - 2, 0)).flip(dim)] if x.shape[dim] > 1 else [x], dim)
    return x.mean((2, 3), keepdim=True)


def _continued(x: Tensor, half: int, boundary: str) -> Tensor:
    """Continue x beyond its borders, by symmetric reflection one pixel at a time."""
    if boundary != "symmetric":
        return pad(x, (half,) * 4, mode=boundary)
    rows, columns = ([min(i % (2 * N), 2 * N - 1 - i % (2 * N)) for i in range(-half, N + half)] for N in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


def holes(widths: Iterable[float], H: int, W: int, center: tuple[int, int], like: Tensor) -> list[Tensor]:
    """Return one minus a Gaussian (H, W) of maximum 1 around `center`, for each width."""
    made = []
    for s in widths:
        g_h, g_w = (
            torch.exp(-((torch.arange(N) - c) ** 2).to(like.dtype) / (2 * s**2)) for N, c in zip((H, W), center)
        )
        made.append((1 - torch.outer(g_h, g_w)).to(like.device))
    return made


def inpainted(x0: Tensor, holes: Iterable[Tensor], z: tuple[Tensor, Tensor] | None = None) -> Iterator[Tensor]:
    """Multiply by each hole in turn, or by each image's own window of it at rows z[0] and columns z[1]."""
    yield x0
    x, (H, W) = x0, x0.shape[2:]
    corners = None if z is None else list(zip(*(part.tolist() for part in z)))
    for hole in holes:
        if corners is None:
            x = x * hole
        else:
            x = x * torch.stack([hole[row : row + H, col : col + W] for row, col in corners])[:, None]
        yield x


def pixelated(x0: Tensor, sizes: Iterable[tuple[int, int]], filter: str) -> Iterator[Tensor]:
    """Resize to each size in turn and back."""
    yield x0
    x, sides = x0, tuple(x0.shape[2:])
    for small in sizes:
        x = interpolate(interpolate(x, small, mode=filter), sides, mode="nearest-exact")
        yield x


def snowed(x0: Tensor, z: tuple[Tensor, Tensor], strength: Strength, T: int, fix: bool) -> Iterator[Tensor]:
    """Let the flakes of planes z[0] (B, H, W), smeared along columns where z[1] (B,), fall on the clean images."""
    yield x0
    base, vertical = z[0][:, None], z[1].bool()
    x = (x0 + 1) / 2
    gray = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:] if x.shape[1] == 3 else x
    half = strength.kernel_size // 2
    d = torch.arange(-half, half + 1, dtype=x0.dtype, device=x0.device)
    for threshold, sigma, brightness in zip(
        *(np.linspace(*ends, T).tolist() for ends in (strength.threshold, strength.sigma, strength.brightness))
    ):
        flakes = base.clone()
        flakes[flakes < threshold] = 0
        flakes.clamp_(0, 1)
        kernel = gaussian(d, sigma)
        layer = torch.empty_like(flakes)
        layer[vertical] = conv2d(flakes[vertical], kernel.view(1, 1, -1, 1), padding=(half, 0))
        layer[~vertical] = conv2d(flakes[~vertical], kernel.view(1, 1, 1, -1), padding=(0, half))
        below = x if fix else brightness * x + (1 - brightness) * torch.maximum(x, 1.5 * gray + 0.5)
        yield (below + layer + torch.rot90(layer, 2, (2, 3))).clamp(0, 1) * 2 - 1


def loop_of(D: Degradation, like: Tensor) -> Loop:
    """Return the loop of D for images like these, its kernels or holes made.

    Raises:
        ValueError: if no loop is written here for D.
    """
    H, W = like.shape[2:]
    match D:
        case Blur(sigmas=SigmaRule() as rule, cumulative_sigma=None):
            kernels = blur_kernels(sigmas(rule, D.T), D.kernel_size, like)
            return lambda x0, z: blurred(x0, kernels, D.padding_mode, D.mean_at_T)
        case Inpaint(sigmas=SigmaRule() as rule):
            # A window (H, W) of twice the size, around the last pixel of its first quarter.
            twice = D.center == "random"
            place = (2 * H, 2 * W, (H - 1, W - 1)) if twice else (H, W, ((H - 1) // 2, (W - 1) // 2))
            cut = holes(sigmas(rule, D.T), *place, like)
            return lambda x0, z: inpainted(x0, cut, z)
        case Pixelate(sizes="halve"):
            sizes = [(H // 2**t, W // 2**t) for t in range(1, D.T + 1)]
            return lambda x0, z: pixelated(x0, sizes, D.filter)
        case Snow():
            return lambda x0, z: snowed(x0, z, STRENGTHS[D.strength], D.T, D.fix_brightness)
    raise ValueError(f"{D} has no naive loop here; blur, inpaint, pixelate (halve) and snow have")
