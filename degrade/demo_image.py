"""A drawn landscape: something to degrade where there is no photograph, and no file to carry around.

A lake at sunset. It has what degradations differ on: smooth shades (the sky), sharp edges (the ridges), saturated color
(the sun's light) and fine detail (the trees, the ripples).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["demo_image"]

RIDGES = (  # where they stand, how high they rise, their lowest frequency, its phase, their color; back to front
    (0.46, 0.20, 3.1, 0.4, "#8b5a8c"),
    (0.56, 0.13, 5.3, 2.1, "#51407a"),
    (0.62, 0.05, 9.7, 0.9, "#2a2a52"),
)
SHORE = 0.66


def _color(code: str) -> Tensor:
    """Return the color #rrggbb as (3, 1, 1) in [0, 1]."""
    return torch.tensor([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]).view(3, 1, 1)


def demo_image(size: int = 128) -> Tensor:
    """Return the picture, float32 (3, size, size) in [-1, 1].

    >>> demo_image(64).shape
    torch.Size([3, 64, 64])
    """
    x = ((torch.arange(4 * size) + 0.5) / (4 * size)).expand(4 * size, -1)  # averaged down later: smooth edges
    y = x.T
    # The lake mirrors the land: a point below the shore shows one above it, a little displaced by the ripples.
    depth = (y - SHORE).clamp(min=0)
    ripple = 0.02 * depth * (1 + 4 * depth) * torch.sin(900 * depth / (1 + 6 * depth))
    land = _land(x + ripple, torch.where(depth > 0, SHORE - 1.6 * depth, y))
    water = land * (0.86 - 0.9 * depth) + _color("#0c2a45") * (0.14 + 0.5 * depth)
    return avg_pool2d(torch.where(depth > 0, water, land).clamp(0, 1), 4) * 2 - 1


def _land(x: Tensor, y: Tensor) -> Tensor:
    """Return the colors (3, H, W) of the land at the points (x, y), each (H, W), painted back to front."""
    canvas = _sky(x, y)
    for foot, height, frequency, phase, color in RIDGES:
        waves = [torch.sin(k * (frequency * x * math.pi / 2 + phase)) / k for k in (1, 2, 4, 8)]
        below = y - foot + height / 2 * torch.stack(waves).sum(0)
        rock = _color(color) * (1.25 - 0.5 * below)
        if height > 0.15:  # only the highest ridge carries snow
            rock = rock + 0.3 * _color("#ffe9e0") * (below < 0.03)
        canvas = torch.where(below > 0, rock, canvas)
    return torch.where(_trees(x, y), _color("#14203a"), canvas)


def _sky(x: Tensor, y: Tensor) -> Tensor:
    rise = (y / 0.62).clamp(0, 1)
    canvas = torch.lerp(_color("#2b3a78"), _color("#f4845f"), rise**1.3) + 0.25 * _color("#ffe066") * rise**5
    sun = torch.hypot(x - 0.63, y - 0.36)
    canvas = canvas + 0.55 * _color("#ffd27a") * torch.exp(-((sun / 0.16) ** 2))
    return torch.where(sun < 0.085, _color("#fff3c4"), canvas)


def _trees(x: Tensor, y: Tensor, spacing: float = 0.045) -> Tensor:
    """Return where a row of pines of uneven height stands."""
    tree, offset = torch.floor(x / spacing), (x / spacing % 1 - 0.5).abs() * spacing
    above = (SHORE - y) / (0.07 + 0.05 * torch.sin(tree * 12.9) + 0.03 * torch.sin(tree * 5.3))
    branches = 0.65 + 0.35 * (1 - above * 5 % 1)
    return (above > 0) & (offset < 0.018 * (1 - above) * branches)
