"""Argument sets on which every registered degradation is tested, and images to test it on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import degrade


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Smooth random images in [-1, 1]."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.tanh(0.5 * noise + noise.mean((2, 3), keepdim=True))


def partners(channels: int, height: int, width: int) -> degrade.Source:
    """A source of random images for `interpolation`."""

    def source(n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, channels, height, width, generator=generator, dtype=torch.float64).tanh()

    return source


# name -> argument sets; each must work on images of (3, 12, 16) and of (1, 16, 16), see SHAPES.
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "gaussian_noise": [{}, {"T": 1}, {"T": 50, "schedule": "cosine"}, {"T": 7, "schedule": "straight"}],
    "interpolation": [{"T": 20}, {"T": 5, "coupling": "optimal"}, {"T": 9, "schedule": "straight"}],
}

SHAPES = [(3, 12, 16), (1, 16, 16)]
CASES = [(name, arguments) for name, sets in ARGUMENTS.items() for arguments in sets]


def build(name: str, arguments: dict[str, Any], shape: tuple[int, int, int]) -> degrade.Degradation:
    """Make a degradation ready to draw z for images of `shape`."""
    injected = {"source": partners(*shape)} if name == "interpolation" else {}
    return degrade.make(name, **arguments, **injected)
