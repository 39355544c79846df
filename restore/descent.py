"""Descent along the misfit of a measurement, for degradations of any kind that have a derivative.

The best length of a step along d is found without any choice of a scale. For the residual r = y - D(v) and the change
h = D(v + d) - D(v), which is A d where D is affine,

    argmin_a  |r - a h|^2 + a^2 c - 2 a s  =  (<r, h> + s) / (|h|^2 + c)

where c and s come from the distance to what was predicted. If D is not affine, h is a secant and holds near its ends
only, so a is at most `MOST`; it is at least 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["descend", "dot", "step_length"]

MOST = 4.0  # times the length of the secant
STEPS = 8


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Return the inner product of each image of u with that of v, both (B, C, H, W), as (B, 1, 1, 1)."""
    return (u * v).sum((1, 2, 3), keepdim=True)


def step_length(residual: Tensor, change: Tensor, curvature: Tensor, slope: Tensor | float = 0.0) -> Tensor:
    """Return a (B, 1, 1, 1) of the module, in 0..`MOST`, for c = `curvature` and s = `slope`.

    >>> residual, change = torch.full((1, 1, 1, 2), 3.0), torch.full((1, 1, 1, 2), 2.0)
    >>> step_length(residual, change, torch.zeros(1, 1, 1, 1)).item()
    1.5
    """
    below = dot(change, change) + curvature
    return ((dot(residual, change) + slope) / below.clamp(min=torch.finfo(below.dtype).tiny)).clamp(0, MOST)


def descend(apply: Callable[[Tensor], Tensor], near: Tensor, y: Tensor, rho: Tensor, steps: int = STEPS) -> Tensor:
    """Return about argmin_v |apply(v) - y|^2 + rho |v - near|^2, after some steps of conjugate gradients from `near`.

    Args:
        apply: v (B, C, H, W) -> D(v), with a derivative (conjugate gradients after Polak and Ribiere, 1969).
        near: (B, C, H, W) the images to start from and to stay near to.
        y: (B, C, H, W) the measurement.
        rho: (B, 1, 1, 1), above 0.
        steps: number of steps, of two applications and a derivative each.
    """
    # A sampler may run in inference mode, whose tensors autograd refuses: the copy is an ordinary one.
    with torch.inference_mode(False), torch.enable_grad():
        v = near = near.clone()
        before = along = torch.zeros_like(v)
        for _ in range(steps):
            at = v.detach().requires_grad_()
            fitted = apply(at)
            (gradient,) = torch.autograd.grad((y - fitted).square().sum() / 2, at)
            downhill = rho * (near - v) - gradient
            norm = dot(before, before)
            beta = dot(downhill, downhill - before) / torch.where(norm > 0, norm, 1)
            along = downhill + torch.where(norm > 0, beta.clamp(min=0), 0) * along
            before, residual = downhill, y - fitted.detach()
            change = apply(v + along).detach() - fitted.detach()
            curvature, slope = rho * dot(along, along), rho * dot(near - v, along)
            v = (v + step_length(residual, change, curvature, slope) * along).detach()
    return v
