"""Haircuts of the drawn people: one table of shapes, painted by the same two functions.

A haircut is a mass behind the head and a cap over the skull. The cap ends at a hairline, a curve across
the forehead: y = brow + slope * |x - parting| + sides * (x / head width)^4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.drawn.canvas import Canvas, ellipse, scallops
from experiments.data.drawn.scene import shade, tint


@dataclass(frozen=True)
class Haircut:
    """One haircut, measured in the frame of the head (origin between the eyes, chin near y = 0.66)."""

    brow: float = -0.3
    """Height of the hairline at the parting."""
    parting: float = 0.0
    slope: float = 0.0
    """How much the hairline sinks away from the parting."""
    sides: float = 0.35
    """How much further it sinks at the sides of the face, into sideburns or locks."""
    volume: float = 0.05
    """How far the cap stands off the skull."""
    back_width: float = 0.0
    """Half the width of the mass behind the head; zero for none."""
    back_end: float = 0.0
    """Where that mass ends below."""
    back_round: float = 0.3
    """Radius of the mass's corners."""
    curl: float = 0.0
    """Depth of the curls in all outlines."""
    bun: float = 0.0
    """Radius of a bun or of two, `bun_x` away from the middle."""
    bun_x: float = 0.0
    bun_y: float = -0.64
    cap: float = 1.0
    """Opacity of the cap: shaved heads have little."""
    ears: float = 1.0
    """Whether ears show."""
    beard: float = 0.0
    """How likely a beard goes with it."""
    delicate: float = 0.5
    """How delicate the face under it tends to be."""


HAIRCUTS = (
    # Short with a side parting, short with volume, cropped, bald, and short curls.
    Haircut(brow=-0.33, parting=-0.2, slope=0.12, beard=0.5, delicate=0.25),
    Haircut(brow=-0.3, parting=0.25, slope=-0.12, volume=0.1, beard=0.45, delicate=0.3),
    Haircut(brow=-0.36, volume=0.02, cap=0.6, beard=0.7, delicate=0.1),
    Haircut(cap=0.0, beard=0.8, delicate=0.1),
    Haircut(brow=-0.26, volume=0.12, curl=0.045, beard=0.35, delicate=0.35),
    # A bob with a fringe, long with a middle and with a side parting.
    Haircut(
        brow=-0.15, sides=0.6, volume=0.07, delicate=0.9,
        back_width=0.56, back_end=0.55, back_round=0.25, ears=0,
    ),
    Haircut(brow=-0.4, slope=0.6, sides=0.4, delicate=0.95, back_width=0.55, back_end=1.1, ears=0),
    Haircut(
        brow=-0.42, parting=-0.2, slope=0.5, sides=0.4, volume=0.08, delicate=0.9,
        back_width=0.58, back_end=0.95, ears=0,
    ),
    # An afro, and curls down to the shoulders.
    Haircut(
        brow=-0.3, sides=0.25, volume=0.2, curl=0.05, beard=0.2, delicate=0.5,
        back_width=0.7, back_end=0.3, back_round=0.6, ears=0,
    ),
    Haircut(
        brow=-0.26, sides=0.4, volume=0.12, curl=0.05, delicate=0.85,
        back_width=0.66, back_end=0.75, back_round=0.45, ears=0,
    ),
    # One bun on top, two at the sides.
    Haircut(brow=-0.34, slope=0.25, sides=0.3, bun=0.19, delicate=0.85),
    Haircut(brow=-0.16, sides=0.45, bun=0.19, bun_x=0.46, bun_y=-0.5, delicate=0.9),
)  # fmt: skip


def back_hair(head: Canvas, cut: dict[str, Tensor], color: Tensor) -> None:
    """Paint the mass behind the head, and buns."""
    x, y = head.x.abs(), head.y
    top, end = -0.52 - cut["volume"], cut["back_end"]
    half = (end - top) / 2
    corner = torch.where(y < top + half, cut["back_width"] * 0.95, cut["back_round"])
    across = (x - (cut["back_width"] - corner)).clamp(min=0)
    down = ((y - top - half).abs() - (half - corner)).clamp(min=0)
    waves = scallops(head.x, y, 18.0) * cut["curl"]
    mass = torch.hypot(across, down) - corner - waves
    bun = torch.hypot(x - cut["bun_x"], y - cut["bun_y"]) - cut["bun"]
    dark = shade(color, 0.25) * (1.05 - 0.15 * head.y).unsqueeze(1)
    head.paint(dark, mass, (cut["back_width"] > 0).float())
    head.paint(color * (1.1 - 0.4 * (y - cut["bun_y"])).unsqueeze(1), bun, (cut["bun"] > 0).float())


def front_hair(head: Canvas, cut: dict[str, Tensor], color: Tensor, width: Tensor) -> None:
    """Paint the cap over the skull down to the hairline, its shadow on the forehead, and a sheen."""
    part = head.part(-0.85, -1, 0.85, 0.5)
    x, y, curl = part.x, part.y, cut["curl"]
    cap = ellipse(x, y - 0.1, width + 0.02 + cut["volume"] * 0.5, 0.62 + cut["volume"])
    # Below the temples the cap draws in, so that sideburns lie on the cheeks.
    cap = cap + (y + 0.1).clamp(min=0) * 0.25 - scallops(x, y, 18.0) * curl
    away = (x - cut["parting"]).abs()
    line = cut["brow"] + cut["slope"] * away + cut["sides"] * (x / width).clamp(-1, 1).square().square()
    line = line + torch.sin(x * 24).abs_() * curl
    # The line is steeper than it is deep at the temples: 0.75 keeps its edge from turning too hard there.
    shape = torch.maximum(cap, (y - line) * 0.75)
    shadow = torch.maximum(cap + 0.04, (y - line - 0.05) * 0.75)
    part.paint(shade(color, 0.5), shadow, cut["cap"] * 0.25, blur=0.04)
    light = (0.95 - 0.12 * x - 0.2 * y).unsqueeze(1)
    part.paint(color * light, shape, cut["cap"])
    sheen = torch.hypot(x + 0.05, (y + 0.02) * 0.95)
    gloss = torch.maximum((sheen - 0.45).abs() - 0.02, (x + 0.2).abs() - 0.14)
    part.paint(tint(color, 0.5), torch.maximum(gloss, shape), cut["cap"] * (0.4 - curl * 5), blur=0.05)
