"""Swirl: the image is stirred around a point.

    x_t(p) = x0(c + R(theta) (p - c)),    theta = turns 2 pi (t / T) exp(-|p - c|^2 / (2 radius^2))

R turns by an angle that is largest at the center c, which is drawn for every image (z), and grows with t. Coordinates
run from -1 to 1 along each side; x0 between the pixels is bilinear and mirrored beyond the border.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

import degrade
from degrade.random import rand


@degrade.register("swirl")
class Swirl(degrade.Degradation):
    """Pixels turn around a random center, the more the nearer they are to it."""

    position_dependent = True

    T: degrade.NumLevels = 50
    turns: float = 1.0
    radius: Annotated[float, Field(gt=0)] = 0.5

    affine: ClassVar[bool] = True  # pixels move and are interpolated: linear in the image

    def draw(self, x0: Tensor, generator: degrade.Generators = None) -> Tensor:
        """Return centers (B, 2), uniform in the middle half of the image."""
        return rand((len(x0), 2), x0, generator) - 0.5

    def apply(self, x0: Tensor, t: Tensor, z: degrade.Params) -> Tensor:
        """Return the stirred image, and x0 itself at t = 0."""
        still = affine_grid(torch.eye(2, 3).to(x0).expand(len(x0), -1, -1), list(x0.shape), align_corners=False)
        center = z.to(x0).view(-1, 1, 1, 2)
        x, y = (still - center).unbind(-1)
        level = (t / self.T).to(x0).view(-1, 1, 1)
        theta = 2 * math.pi * self.turns * level * torch.exp(-(x**2 + y**2) / (2 * self.radius**2))
        turned = torch.stack([theta.cos() * x - theta.sin() * y, theta.sin() * x + theta.cos() * y], -1)
        stirred = grid_sample(x0, center + turned, padding_mode="reflection", align_corners=False)
        return torch.where(t.view(-1, 1, 1, 1) > 0, stirred, x0)
