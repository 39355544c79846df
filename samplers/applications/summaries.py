"""Summaries of pictures: a few numbers that follow how far a picture is degraded more than what it shows.

Of images u they are log(mean square + rounding) of each octave wide band, of what is left below, and of what differs
between channels; of a picture also the log share of neighbors that are equal, as in a hole or a large pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from degrade.precision import to_float64

__all__ = ["energies", "summaries"]

ROUNDING = (1 / 255) ** 2 / 3  # variance of rounding to 8 bits, in [-1, 1]
BANDS = 4


def energies(u: Tensor) -> Tensor:
    """Return log energies (n, features) of images u (n, C, H, W): of octaves, and of what differs between channels."""
    found = [(u - u.mean(1, keepdim=True)).square().mean((1, 2, 3))] if u.shape[1] > 1 else []
    for _ in range(BANDS):
        if min(u.shape[2:]) < 2:
            break
        low = avg_pool2d(u, 2, ceil_mode=True)
        up = interpolate(low, scale_factor=2.0, mode="nearest")[..., : u.shape[2], : u.shape[3]]
        found.append((u - up).square().mean((1, 2, 3)))
        u = low
    return (to_float64(torch.stack([*found, u.square().mean((1, 2, 3))], 1)) + ROUNDING).log()


def summaries(x: Tensor) -> Tensor:
    """Return summaries (n, features) of pictures x (n, C, H, W) themselves: log energies, and the log share of flat.

    A picture that is one pixel wide has no neighbors, and no share of flat.
    """
    if x.shape[-1] < 2:
        return energies(x)
    still = (x[..., 1:] - x[..., :-1]).abs() < 1 / 255
    return torch.cat([energies(x), (to_float64(still).mean((1, 2, 3))[:, None] + 0.01).log()], 1)
