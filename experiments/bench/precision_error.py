"""What faster settings change in the numbers, against float32 in the plain way, on random weights.

step    the loss of one batch, and the gradient g of all weights: |g_fast - g| / |g|, the largest and mean |g_fast - g|
sample  x0_hat at every step from the same x_t, and the images at the end of two trajectories with the same noise
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from degrade import expand_level, make
from experiments.bench.process import BenchConfig
from restore import Restorer, UNet
from samplers import DDPM, Transition, spaced_timesteps, trajectory

__all__ = ["autocast", "noise", "of_step", "of_trajectory", "restorer"]


def of_step(plain: BenchConfig, fast: BenchConfig) -> dict[str, float]:
    """Return how far loss and gradient of one training batch are apart."""
    loss, gradient = _gradient(plain)
    other, fast_gradient = _gradient(fast)
    apart = fast_gradient - gradient
    return {
        "loss": loss,
        "loss_difference": abs(other - loss),
        "gradient_relative": float(apart.norm() / gradient.norm()),
        "gradient_largest": float(apart.abs().max()),
        "gradient_mean": float(apart.abs().mean()),
    }


def of_trajectory(plain: BenchConfig, fast: BenchConfig) -> dict[str, float]:
    """Return how far the predicted noise is apart at each step, and the images in [-1, 1] at the end."""
    slow_R, fast_R = restorer(plain), restorer(fast)
    x_T = noise(plain)
    ends, steps = [], []
    with torch.inference_mode():
        for R in (slow_R, fast_R):
            generator = torch.Generator(plain.device).manual_seed(1)
            for visit in trajectory(R, DDPM(), x_T, x_T, spaced_timesteps(1000, plain.steps), generator):
                if R is slow_R:
                    steps.append((_output(fast_R, visit) - _output(slow_R, visit)).abs())
            ends.append(visit.x_s)
    end = (ends[1] - ends[0]).abs()
    return {
        "step_largest": max(float(step.max()) for step in steps),
        "step_mean": float(torch.stack([step.mean() for step in steps]).mean()),
        "end_largest": float(end.max()),
        "end_mean": float(end.mean()),
    }


def restorer(setting: BenchConfig) -> Restorer:
    """Return the restorer of Gaussian noise that the setting describes, clamped, in evaluation mode."""
    R = Restorer(setting.net(), make("gaussian_noise", T=1000), "eps", True, setting.precision).eval()
    if setting.compiled:
        R.net.compile()
    return R


def noise(setting: BenchConfig) -> Tensor:
    """Return the start of trajectories, (batch, C, S, S)."""
    generator = torch.Generator(setting.device).manual_seed(0)
    shape = (setting.batch, setting.network.in_channels, setting.size, setting.size)
    return torch.randn(shape, generator=generator, device=setting.device)


def _output(R: Restorer, visit: Transition) -> Tensor:
    with autocast(visit.x_t.device, R.precision):
        out: Tensor = R.net(visit.x_t, expand_level(visit.t, visit.x_t))
    return out


def _gradient(setting: BenchConfig) -> tuple[float, Tensor]:
    """Return the loss of predicting noise from noise, and its gradient by all weights in one vector."""
    net = setting.net()
    if setting.compiled:
        net.compile()
    x_t = noise(setting)
    t = torch.linspace(1, 1000, len(x_t), device=x_t.device).long()
    with autocast(x_t.device, setting.precision):
        out = net(x_t, t)
    loss = nn.functional.mse_loss(out.float(), x_t)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), _flat(net)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return a context in which networks compute in the precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _flat(net: UNet) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
