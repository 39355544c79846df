"""Trajectories of whole pictures, and the crops that a severity is estimated from.

A trajectory needs the tables of D for the whole picture: two matrices for each side of a blur or of pixels (about 1 GB
for 4000 x 3000 pixels), a quadrant for each level of a mask. Tables of more than 4 GB are refused.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from degrade import Blur, Degradation, GaussianNoise, expand_level
from degrade.operators.masking import Mask, center_index
from degrade.operators.pixelate import Pixelate
from degrade.random import Generators
from restore import BaseRestorer
from restore.tiling import reflect_pad
from samplers.base import Sampler
from samplers.latent import determined, drawn, is_random
from samplers.loop import inference_mode, sample
from samplers.steps.wrappers import MaskReplacement, RePaint

__all__ = ["crops", "fill_in", "image_size", "is_position_dependent", "sample_picture"]

NUM_CROPS = 9  # the most crops that a severity is estimated from
MAX_TABLE_BYTES = 4e9  # of a degradation's tables, together with what is needed to build them


def image_size(R: BaseRestorer, otherwise: int) -> int:
    """Return the side of the images that the network of R was trained on, if it is known."""
    config = getattr(getattr(R, "net", None), "config", None)
    side: int = getattr(config, "image_size", getattr(config, "size", otherwise))
    return side


def crops(D: Degradation, x: Tensor, side: int) -> Tensor:
    """Return crops (n, C, side, side) of x (B, C, H, W) that show the severity of D: the middle, or a grid.

    The middle crop alone is taken where D depends on the position of a pixel, as masks do.
    """
    x = reflect_pad(x, *(max(0, side - length) for length in x.shape[2:]))
    H, W = x.shape[2:]
    if is_position_dependent(D):
        corners = [(center_index(H) - center_index(side), center_index(W) - center_index(side))]
    else:
        # At multiples of the side, so that the large pixels of pixelated pictures stay whole.
        corners = [(side * i, side * j) for i in range(H // side) for j in range(W // side)]
        corners = [
            corners[len(corners) * k // min(NUM_CROPS, len(corners))] for k in range(min(NUM_CROPS, len(corners)))
        ]
    return torch.cat([x[..., top : top + side, left : left + side] for top, left in corners])


def is_position_dependent(D: Degradation) -> bool:
    """Return whether the effect of D on a pixel depends on where it is in the picture."""
    return isinstance(D, Mask) or any(is_position_dependent(part.degradation) for part in getattr(D, "parts", ()))


def sample_picture(R: BaseRestorer, sampler: Sampler, x: Tensor, steps: list[int], generator: Generators) -> Tensor:
    """Return the end of a trajectory from x."""
    D = R.degradation
    sampler.check_compatible(D)
    H, W = x.shape[2:]
    if _bytes(D, H, W) > MAX_TABLE_BYTES:
        raise ValueError(f"the tables of {D.name} for a trajectory of {W} x {H} pixels are too large: sample none")
    if not is_position_dependent(D):
        # To what D divides by, and to what the network and with it D was trained on.
        least, stride = image_size(R, 1), _divisor(D)
        x = reflect_pad(x, *(max(math.ceil(least / stride) * stride - N, -N % stride) for N in (H, W)))
    told, z = determined(D, x, generator), drawn(D, x, generator)
    if is_random(z) and not told:
        raise ValueError(f"{D.name} drew something in this picture (its z) that is not known: give no sampler")
    if told:
        t = expand_level(steps[0], x)
        with inference_mode(R):
            z = D.estimate(x, R(x, t), t, z)
    return sample(R, sampler, x, z, steps, generator)[:, :, :H, :W]


def fill_in(
    R: BaseRestorer, sampler: Sampler, x: Tensor, missing: Tensor, steps: list[int], generator: Generators
) -> Tensor:
    """Return the image with its missing part filled in from noise, held to what is known."""
    D = R.degradation
    if not isinstance(D, GaussianNoise):
        raise ValueError(f"a mask and a sampler go together for 'gaussian_noise', not {D.name!r}: give no sampler")
    known: dict[str, Any] = {"image": torch.where(missing, 0, x), "mask": missing[None, None]}
    if isinstance(sampler, MaskReplacement):
        sampler = dataclasses.replace(sampler, **known)
    elif isinstance(sampler, RePaint):
        sampler = dataclasses.replace(sampler, sampler=MaskReplacement(sampler=sampler.sampler, **known))
    else:
        sampler = MaskReplacement(sampler=sampler, **known)
    z = D.draw(x, generator)
    return sample(R, sampler, D(known["image"], expand_level(steps[0], x), z), z, steps, generator)


def _divisor(D: Degradation) -> int:
    """Return what the sides of an image must divide by."""
    halves = isinstance(D, Pixelate) and D.sizes == "halve" and not D.allow_uneven
    return math.lcm(2**D.T if halves else 1, *(_divisor(part.degradation) for part in getattr(D, "parts", ())))


def _bytes(D: Degradation, H: int, W: int) -> float:
    """Return about how much memory it takes to build the tables of D for images of H x W pixels."""
    own = 0.0
    if isinstance(D, Mask):
        own = 32 * (D.T + 1) * D.max_distance(H) * D.max_distance(W)
    elif isinstance(D, Pixelate):
        own = 14 * (D.T + 1) * (H**2 + W**2)
    elif isinstance(D, Blur):
        own = 32 * (H**2 + W**2)
    return own + sum(_bytes(part.degradation, H, W) for part in getattr(D, "parts", ()))
