"""Eight bits: what a degraded image keeps when it is stored as a picture.

    round_to_8bit(x) = 2 k / 255 - 1,    k = round(255 (x + 1) / 2) cut to 0..255

A degraded image in float32 still holds what its level has erased to the eye: an amplitude of 1e-6 is a hundred times
the last bit. A network can learn to read it, and then fails on pictures that came from a file. Rounding the degraded
input in training closes that door (`degrade.linear_probe` measures how wide it is); it is the official option
`discrete` of Bansal et al. (arXiv 2208.09392, 2022), which truncates where this rounds to the nearest level and so
darkens by half a level.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade.functional.levels import compute_dtype

__all__ = ["is_8bit", "quantize_8bit"]


def quantize_8bit(x: Tensor) -> Tensor:
    """Return the nearest of 256 levels from -1 to 1 for every value of `x`, in its dtype.

    Values outside [-1, 1] go to the nearest end. The slope is 0 wherever there is one, so round what enters a network,
    not what a loss must send gradients through.

    >>> quantize_8bit(torch.tensor([-1.2, -1.0, 0.0, 0.001, 1.0])).mul(255).round().tolist()
    [-255.0, -255.0, 1.0, 1.0, 255.0]
    """
    # In float32 at least: bfloat16 has no more than 8 bits itself, and would lose them to every operation.
    wide = x.to(compute_dtype(x.dtype))
    return (torch.round((wide.clamp(-1, 1) + 1) * 127.5) / 127.5 - 1).to(x.dtype)


def is_8bit(x: Tensor) -> bool:
    """Return whether all values of `x`, a tensor with at least one value, lie on the 256 levels from -1 to 1.

    It waits for the device: ask it once of a picture that comes in, not in every step.

    >>> is_8bit(torch.tensor([-1.0, 1.0])), is_8bit(torch.tensor([0.0]))
    (True, False)
    """
    return bool((x - quantize_8bit(x)).abs().max() < 1e-4)
