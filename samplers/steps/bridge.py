"""The Brownian bridge sampler: Algorithm 1 on x_t = a_t x0 + b_t z, with the noise of a bridge between x0 and z.

With the clock sigma_t^2 = noise^2 b_t,

    x_s = a_s x0_hat + (sigma_s^2 / sigma_t^2) (x_t - a_t x0_hat) + sqrt(sigma_s^2 (1 - sigma_s^2 / sigma_t^2)) eps

On the rectified interpolation (a = 1 - b) the mean is a point on the straight line from x_t to x0_hat, and the step is
the posterior of the bridge between image and partner of Liu et al. ("I2SB", arXiv 2302.05872, 2023). With noise = 0 it
is Algorithm 1. Given x0 and z, a trajectory with a perfect R from x_T = z at b_T = 1 has, at every level it visits,

    E[x_s] = a_s x0 + b_s z,    Var[x_s] = noise^2 b_s (1 - b_s)

for any number of steps. R was trained without that variance, so `noise` should be small; it lets one partner lead to
several images. For Gaussian noise, whose z is noise already, `Ancestral` stays within what R was trained on.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, Params
from degrade.random import randn_like
from samplers.base import SinglePrediction, StepInput
from samplers.registry import register_sampler

__all__ = ["BrownianBridge"]


@register_sampler("brownian_bridge")
class BrownianBridge(SinglePrediction):
    """Algorithm 1 with the noise of a Brownian bridge between x0 and z, added at every step but the last.

    Args:
        noise: standard deviation of the bridge's clock at b = 1, 0 or more; 0 adds no noise.

    >>> import degrade, restore, samplers
    >>> D = degrade.make("interpolation", T=10, schedule="rectified")
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.5 * x_t, D)
    >>> x_T = torch.ones(2, 1, 4, 4)
    >>> samplers.sample(R, "brownian_bridge:noise=0.2", x_T, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 1, 4, 4])
    """

    noise: Annotated[float, Field(ge=0)] = 0.1

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless x_t = a_t x0 + b_t z, since only then is there a partner z to bridge to."""
        if not D.additive:
            raise ValueError(f"{self} needs x_t = a_t x0 + b_t z, which {D.name!r} is not; Algorithm2 takes any")

    def resample_params(self, D: Degradation, at: StepInput, z: Params) -> Params:
        """Return z with the bridge's noise in units of b_s."""
        (_, b_t), (_, b_s) = D.coefficients(at.t, z), D.coefficients(at.s, z)
        # At level 0, where b_s = 0 and nothing is added, any positive number will do.
        units = torch.where(b_s > 0, b_s, 1)
        added = torch.where(b_s > 0, self.noise * (units * (1 - units / b_t)).clamp(min=0).sqrt() / units, 0)
        return z + added * randn_like(z, at.generator)

    def update(self, D: Degradation, at: StepInput, x0_hat: Tensor, z: Params) -> Tensor:
        """Return D(x0_hat, s, z)."""
        return D(x0_hat, at.s, z)
