"""The bridge step: a mixture's step down, with the noise of a Brownian bridge.

With x_t = a_t x0 + b_t z, and a clock sigma_t^2 = noise^2 b_t,

    x_s = a_s x0_hat + (sigma_s^2 / sigma_t^2) (x_t - a_t x0_hat) + sqrt(sigma_s^2 (1 - sigma_s^2 / sigma_t^2)) eps

On a straight mixture (a = 1 - b) the mean is the straight pull from x_t towards x0_hat, and the step is the posterior
of the bridge between image and partner of Liu et al. ("I2SB", arXiv 2302.05872, 2023). With noise = 0 it is Algorithm
1. Given x0 and z, a walk with a perfect R from x_T = z at b_T = 1 has, at every level it visits,

    E[x_s] = a_s x0 + b_s z,    Var[x_s] = noise^2 b_s (1 - b_s)

however many steps it takes. R was trained on mixtures without that variance, so noise is a small number; it lets one
partner lead to several images. For `gaussian_noise`, whose z is noise already, `ancestral` keeps to what R has seen.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade import AffinePath, Degradation, Params
from degrade.random import Generators, randn_like
from samplers.registry import register_sampler
from samplers.steps.diffusion import Algorithm1

__all__ = ["BrownianBridge"]


@register_sampler("bridge")
class BrownianBridge(Algorithm1):
    """Algorithm 1 on a mixture, with the noise of a bridge between x0 and z added to every step but the last.

    Args:
        noise: standard deviation of the bridge's clock at b = 1; 0 for none.
    """

    noise: Annotated[float, Field(ge=0)] = 0.1

    def __post_init__(self) -> None:
        if not self.estimate:
            raise ValueError("the bridge's noise becomes a part of z and cannot keep it fixed; use Algorithm1")

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless D is a mixture, which alone has a partner to bridge to."""
        if not isinstance(D, AffinePath):
            raise ValueError(f"{self} needs x_t = a_t x0 + b_t z, which {D.name!r} is not; Algorithm2 takes any")

    def resample_params(self, D: Degradation, z: Params, t: Tensor, s: Tensor, generator: Generators) -> Tensor:
        """Return z with the bridge's noise in units of b_s."""
        assert isinstance(D, AffinePath)
        partner: Tensor = z
        (_, b_t), (_, b_s) = D.coefficients(t, partner), D.coefficients(s, partner)
        # At level 0, where b_s = 0 and nothing is added, any positive number will do.
        units = torch.where(b_s > 0, b_s, 1)
        added = torch.where(b_s > 0, self.noise * (units * (1 - units / b_t)).clamp(min=0).sqrt() / units, 0)
        return partner + added * randn_like(partner, generator)
