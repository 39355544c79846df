"""What portraits of people and of animals share: backdrop, pose, and the look of an eye.

Both kinds of head are painted in one frame, whose origin lies between the eyes and whose unit is half a
picture, so that eyes meet eyes and a morph from one to the other stays calm.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from experiments.data.drawn.canvas import Canvas, Quantity, ellipse
from experiments.data.drawn.draws import Draws

BACKDROPS = (
    "#f7c8a9",
    "#bfe0e8",
    "#f6dd9a",
    "#c9dfb8",
    "#d9cbec",
    "#f4b9b6",
    "#a9cfd0",
    "#e9d9c3",
    "#b3c6e6",
)


def backdrop(canvas: Canvas, draws: Draws) -> None:
    """Fill the canvas: a pastel that darkens downwards, with a pale disc behind the head."""
    color = draws.color(BACKDROPS) * draws.between(0.92, 1.03).unsqueeze(1)
    glow = (1 - (canvas.x.square() + (canvas.y + 0.1).square()) * 0.9).clamp_(0, 1).unsqueeze(1)
    canvas.pixels.copy_(color * (0.97 - 0.12 * canvas.y.unsqueeze(1)) + (1 - color) * 0.3 * glow)


def pose(canvas: Canvas, draws: Draws) -> tuple[Canvas, Canvas]:
    """Return the frames of the head, which tilts, and of the body, which does not."""
    x, y, scale = draws.between(-0.04, 0.04), draws.between(-0.13, -0.07), draws.between(1.0, 1.1)
    head = canvas.framed(x, y, scale, draws.between(-0.09, 0.09))
    return head, canvas.framed(x, y, scale)


@cache
def tone(red: float, green: float, blue: float, device: torch.device) -> Tensor:
    """Return one color or set of color factors as (1, 3, 1, 1), copied to the device once."""
    return torch.tensor([red, green, blue], dtype=torch.float32, device=device).view(1, 3, 1, 1)


def shade(color: Tensor, amount: float) -> Tensor:
    """Return a color darkened by a share, and a little more in green and blue: shadows stay warm."""
    return color * tone(1 - 0.8 * amount, 1 - amount, 1 - amount, color.device)


def tint(color: Tensor, amount: float) -> Tensor:
    """Return a color lightened by a share of its way to white."""
    return color + (1 - color) * amount


def gaze(
    canvas: Canvas, place: tuple[Tensor, Tensor], edge: Tensor, radius: Quantity, iris: Tensor, slit: Quantity
) -> None:
    """Paint iris, pupil and two glints of an eye, inside the distance `edge` of its opening.

    `place` is the distance of every pixel from the middle of the eye, across and down.

    `slit` is the pupil's width as a share of its height: one is round. Light falls from the upper left.
    """
    across, down = place
    black, white = tone(0.07, 0.06, 0.07, iris.device), tone(1, 1, 1, iris.device)
    ball = torch.hypot(across, down) - radius
    depth = (0.9 + down / radius * 0.4).clamp_(0.5, 1.25).unsqueeze(1)
    canvas.paint(iris * depth, torch.maximum(ball, edge))
    canvas.paint(black, ellipse(across, down, radius * 0.55 * slit, radius * 0.6))
    canvas.paint(white, torch.hypot(across + radius * 0.33, down + radius * 0.38) - radius * 0.27)
    canvas.paint(white, torch.hypot(across - radius * 0.4, down - radius * 0.42) - radius * 0.12, 0.45)
