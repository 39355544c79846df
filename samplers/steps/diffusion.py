"""Sampler steps: from severity t to severity s < t, given the guess x0_hat = R(x_t, t).

    Algorithm 1    x_s = D(x0_hat, s, z)
    Algorithm 2    x_s = x_t - D(x0_hat, t, z) + D(x0_hat, s, z)

(Bansal et al., arXiv 2208.09392, 2022.) Both first ask the degradation for the z that explains x_t if x0_hat were the
clean image, z = D.estimate(x_t, x0_hat, t, z); with `estimate=False` they keep the z the trajectory started with, the
paper's "fixed noise".

For Gaussian noise, x_t = a_t x0 + b_t eps, there is also the family

    tau = eta^2 (1 - (a_t b_s / (a_s b_t))^2)
    x_s = D(x0_hat, s, sqrt(1 - tau) z + sqrt(tau) eps),    eps ~ N(0, I)

eta = 1 draws from the posterior q(x_s | x_t, x0_hat), which is the ancestral step of DDPM (Ho et al., arXiv 2006.11239,
2020, eq. 6 and 7); eta = 0 is DDIM (Song et al., arXiv 2010.02502, 2021, eq. 12 and 16). It is Algorithm 1 with a part
of z drawn anew. Since b_0 = 0 the step to level 0 adds no noise.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, GaussianNoise, Params
from degrade.random import Generators, randn_like
from samplers.base import Algorithm, Restore, Sampler, StepOutput
from samplers.registry import register_sampler

__all__ = ["DDIM", "DDPM", "Algorithm1", "Algorithm2", "Ancestral", "Restore", "Sampler", "StepOutput"]


@register_sampler("algorithm1")
class Algorithm1(Algorithm):
    """x_s = D(x0_hat, s, z): degrade the guess again; each step starts from all the errors of the guess.

    >>> import degrade
    >>> D = degrade.make("gaussian_noise", T=2, schedule="rectified")
    >>> x_T, t, s = torch.full((1, 1, 1, 1), 4.0), torch.tensor([2]), torch.tensor([1])
    >>> Algorithm1()(D, lambda x_t, t: torch.zeros_like(x_t), x_T, t, s).x_s.item()
    2.0
    """

    def move(self, D: Degradation, x_t: Tensor, t: Tensor, s: Tensor, x0_hat: Tensor, z: Params) -> Tensor:
        """Return D(x0_hat, s, z)."""
        return D(x0_hat, s, z)


@register_sampler("algorithm2")
class Algorithm2(Algorithm):
    """x_s = x_t + D(x0_hat, s, z) - D(x0_hat, t, z): move by the change of the guess, so that its errors cancel.

    >>> import degrade
    >>> D = degrade.make("interpolation", T=2, schedule="rectified")
    >>> x_T, t, s = torch.full((1, 1, 1, 1), 4.0), torch.tensor([2]), torch.tensor([1])
    >>> Algorithm2(estimate=False)(D, lambda x_t, t: torch.zeros_like(x_t), x_T, t, s, z=x_T).x_s.item()
    2.0
    """

    def move(self, D: Degradation, x_t: Tensor, t: Tensor, s: Tensor, x0_hat: Tensor, z: Params) -> Tensor:
        """Return x_t + (D(x0_hat, s, z) - D(x0_hat, t, z))."""
        return x_t + D.delta(x0_hat, t, s, z)


@register_sampler("ancestral")
class Ancestral(Algorithm1):
    """Algorithm 1 with a share tau of the noise drawn anew at each step; Gaussian noise only.

    Args:
        eta: 1 for DDPM, 0 for DDIM; it multiplies the standard deviation of what is added, not the variance.
        variance: of the added noise: `small` is that of the posterior, b_s^2 tau; `large` is b_t^2 tau, which for
            neighboring levels and eta = 1 is beta_t (Ho et al., section 3.2); none is added on the step to level 0.
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    variance: Literal["small", "large"] = "small"

    def __post_init__(self) -> None:
        if not self.estimate:
            raise ValueError("the ancestral step draws z anew and cannot keep it fixed; use Algorithm1 or Algorithm2")

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless z is Gaussian noise, for that is what the step draws."""
        if not isinstance(D, GaussianNoise):
            raise ValueError(f"{self} needs 'gaussian_noise', not {D.name!r}; Algorithm2 takes any degradation")

    def resample_params(self, D: Degradation, z: Params, t: Tensor, s: Tensor, generator: Generators) -> Tensor:
        """Return sqrt(1 - tau) z + sqrt(tau) eps, or with the larger variance sqrt(tau) b_t / b_s eps."""
        assert isinstance(D, GaussianNoise)
        noise: Tensor = z
        if not self.eta:
            return noise  # as below, without drawing what tau = 0 would not add
        (a_t, b_t), (a_s, b_s) = D.coefficients(t, noise), D.coefficients(s, noise)
        tau = self.eta**2 * (1 - (a_t * b_s / (a_s * b_t)) ** 2)
        added = tau.sqrt()
        if self.variance == "large":
            # In units of b_s, which is 0 at level 0: nothing may be added there.
            added = added * torch.where(b_s > 0, b_t / b_s.clamp(min=torch.finfo(b_s.dtype).tiny), 0)
        return (1 - tau).sqrt() * noise + added * randn_like(noise, generator)


def DDPM(variance: Literal["small", "large"] = "small") -> Ancestral:
    """Return the step of Ho et al., with the variance of the posterior ("small") or of the forward step ("large")."""
    return Ancestral(eta=1.0, variance=variance)


def DDIM(eta: float = 0.0) -> Ancestral:
    """Return the step of Song et al.; deterministic for eta = 0."""
    return Ancestral(eta=eta)
