"""Trajectories of whole pictures, and the crops that a severity is estimated from.

A trajectory needs the tables of D for the whole picture: two matrices for each side of a blur or of pixels (about 1 GB
for 4000 x 3000 pixels), a quadrant for each level of a mask. Tables of more than 4 GB are refused. What else D must
tell is declared by it: `position_dependent`, `size_divisor`, `random`, `identifiable`, `gaussian`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from degrade import Degradation, Params, expand_level
from degrade.functional.levels import SizedLevelTables
from degrade.random import Generators
from restore import BaseRestorer
from restore.tiling import reflect_pad
from samplers.base import Sampler
from samplers.loop import inference_mode, sample

__all__ = ["check_table_size", "crops", "grows_with_picture", "image_size", "sample_picture"]

NUM_CROPS = 9  # the most crops that a severity is estimated from
MAX_TABLE_BYTES = 4e9  # of a degradation's tables, together with what is needed to build them
BUILDING = 8  # memory that it takes to build tables, in units of the tables in float32


def image_size(R: BaseRestorer, otherwise: int) -> int:
    """Return the side of the images that the network of R was trained on, if it is known."""
    return R.image_size or otherwise


def crops(D: Degradation, x: Tensor, side: int) -> Tensor:
    """Return images (n, C, side, side) made of x (B, C, H, W) that show the severity of D.

    They are crops on a grid. Where D depends on the position of a pixel, each picture gives one image: its middle if D
    has a size in pixels there, as masks have, or the whole picture made smaller if D grows with the picture.
    """
    x = reflect_pad(x, *(max(0, side - length) for length in x.shape[2:]))
    H, W = x.shape[2:]
    if D.position_dependent and grows_with_picture(D, x, side):
        return interpolate(x, (side, side), mode="area")
    if D.position_dependent:
        # The centers (N - 1) // 2 of picture and crop coincide.
        corners = [((H - 1) // 2 - (side - 1) // 2, (W - 1) // 2 - (side - 1) // 2)]
    else:
        # At multiples of the side, so that the large pixels of pixelated pictures stay whole.
        corners = [(side * i, side * j) for i in range(H // side) for j in range(W // side)]
        count = min(NUM_CROPS, len(corners))
        corners = [corners[len(corners) * k // count] for k in range(count)]
    return torch.cat([x[..., top : top + side, left : left + side] for top, left in corners])


def grows_with_picture(D: Degradation, x: Tensor, side: int) -> bool:
    """Return whether D of a large white image, made smaller, is more like D of a small one than its middle is."""
    H, W = x.shape[2:]
    if D.random or max(H, W) == side or _table_bytes(D, H, W) > MAX_TABLE_BYTES:
        return False
    sizes = ((side, side), (H, W))
    small, large = (D(x.new_ones(1, x.shape[1], *size), expand_level(D.T, x[:1])) for size in sizes)
    top, left = (H - 1) // 2 - (side - 1) // 2, (W - 1) // 2 - (side - 1) // 2
    middle, whole = large[..., top : top + side, left : left + side], interpolate(large, (side, side), mode="area")
    return bool((whole - small).square().mean() < (middle - small).square().mean())


def sample_picture(R: BaseRestorer, sampler: Sampler, x: Tensor, steps: list[int], generator: Generators) -> Tensor:
    """Return the end of a trajectory from x."""
    D = R.degradation
    sampler.check_compatible(D)
    H, W = x.shape[2:]
    check_table_size(D, H, W)
    if not D.position_dependent:
        # To what D divides by, and to what the network and with it D was trained on.
        least, stride = image_size(R, 1), D.size_divisor
        x = reflect_pad(x, *(max(math.ceil(least / stride) * stride - N, -N % stride) for N in (H, W)))
    z: Params = None
    if D.random:
        if not D.identifiable:
            raise ValueError(f"{D.name} drew something in this picture (its z) that is not known: give no sampler")
        t = expand_level(steps[0], x)
        with inference_mode(R):
            z = D.estimate(x, R(x, t), t, None)
    return sample(R, sampler, x, z, steps, generator)[:, :, :H, :W]


def check_table_size(D: Degradation, H: int, W: int) -> None:
    """Raise ValueError if the tables of D for pictures of H x W pixels would take too much memory."""
    if _table_bytes(D, H, W) > MAX_TABLE_BYTES:
        raise ValueError(f"the tables of {D.name} for a trajectory of {W} x {H} pixels are too large: sample none")


def _table_bytes(D: Degradation, H: int, W: int) -> float:
    """Return about how much memory it takes to build the tables of D for images of H x W pixels.

    With n the side of a square image, they take q n^2 + l n bytes: q and l follow from two small sizes.
    """
    parts = sum(_table_bytes(part, H, W) for part in getattr(D, "parts", ()))
    if not isinstance(D.tables, SizedLevelTables):
        return parts
    n = math.ceil(max(64, D.T + 1) / D.size_divisor) * D.size_divisor
    if max(H, W) <= 2 * n:
        return parts
    one, two = (
        sum(table.nbytes for group in D.tables.convert_for(torch.zeros(1, 1, side, side)) for table in group)
        for side in (n, 2 * n)
    )
    q = (two - 2 * one) / (2 * n**2)
    return parts + BUILDING * (q * (H**2 + W**2) / 2 + (one / n - q * n) * (H + W) / 2)
