"""Restorers whose answer is known in closed form; they stand in for a trained network."""

from __future__ import annotations

import torch
from torch import Tensor

import degrade


def imperfect(x_t: Tensor, t: Tensor) -> Tensor:
    """A smooth restorer that is wrong everywhere and in every pixel."""
    shifted = torch.roll(x_t, 1, dims=-1)
    return 0.8 * x_t + 0.2 * torch.tanh(2 * shifted) + 0.02 * torch.cos(t.to(x_t)).view(-1, 1, 1, 1)


class GaussianMean:
    """E[x0 | x_t] for data x0 ~ N(mean, covariance) over (C, H, W) pixels and x_t = a_t x0 + b_t eps."""

    def __init__(self, D: degrade.AffinePath, mean: Tensor, covariance: Tensor) -> None:
        self.D, self.mean, self.covariance = D, mean, covariance

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        a, b = (v.view(-1, 1, 1) for v in self.D.coefficients(t, x_t))
        noise = torch.eye(len(self.mean), dtype=x_t.dtype)
        gain = a * torch.linalg.solve(a**2 * self.covariance + b**2 * noise, self.covariance.expand(len(x_t), -1, -1))
        residual = x_t.flatten(1) - a[:, 0] * self.mean
        return (self.mean + torch.einsum("bij,bj->bi", gain.mT, residual)).view_as(x_t)


class FiniteSetMean:
    """E[x0 | x_t] for data uniform over `points` (N, C, H, W) and x_t = a_t x0 + b_t eps."""

    def __init__(self, D: degrade.AffinePath, points: Tensor) -> None:
        self.D, self.points = D, points

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        a, b = (v.view(-1, 1) for v in self.D.coefficients(t, x_t))
        points = self.points.flatten(1)
        squares = ((x_t.flatten(1)[:, None] - a[:, :, None] * points) ** 2).sum(-1)
        weights = torch.softmax(-squares / (2 * b**2), dim=1)
        return (weights @ points).view_as(x_t)
