"""Samplers of diffusion models: ancestral sampling, DDPM and DDIM, for Gaussian noise only.

With x_t = a_t x0 + b_t eps, x0_hat = R(x_t, t), and z the noise in x_t if x0_hat were the clean image, they are the
family

    tau = eta^2 (1 - (a_t b_s / (a_s b_t))^2)
    x_s = D(x0_hat, s, sqrt(1 - tau) z + sqrt(tau) eps),    eps ~ N(0, I)

eta = 1 draws from the posterior q(x_s | x_t, x0_hat), which is DDPM (Ho et al., arXiv 2006.11239, 2020, eq. 6 and 7);
eta = 0 is DDIM (Song et al., arXiv 2010.02502, 2021, eq. 12 and 16). It is Algorithm 1 with a part of z drawn again.
Since b_0 = 0 the step to level 0 adds no noise.

Methods that restore by conditioning take the same share in every step, tau = eta^2 (`constant`; DDRM, Kawar et al.,
arXiv 2201.11793, 2022, eq. 7 with eta = 0.85; DiffPIR, Zhu et al., arXiv 2305.08995, 2023, with zeta = eta^2). Short
steps of the posterior draw little again, so what x_T held of another image stays in the picture. See
`samplers.applications.conditioning` for what that is worth.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, Params
from degrade.frozen import frozen
from degrade.random import randn_like
from samplers.base import SinglePrediction, StepInput
from samplers.registry import register_sampler

__all__ = ["DDIM", "DDPM", "Ancestral"]

Eta = Annotated[float, Field(ge=0, le=1)]
Variance = Literal["small", "large"]
AnyVariance = Literal["small", "large", "constant"]


@frozen
class _GaussianSampler(SinglePrediction):
    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError unless z is Gaussian noise, which is what the sampler draws."""
        if not (D.additive and D.gaussian):
            raise ValueError(f"{self} needs Gaussian noise, which {D.name!r} is not; Algorithm2 takes any degradation")

    def update(self, D: Degradation, at: StepInput, x0_hat: Tensor, z: Params) -> Tensor:
        """Return D(x0_hat, s, z)."""
        return D(x0_hat, at.s, z)

    def _redraw(self, D: Degradation, at: StepInput, z: Tensor, eta: float, variance: AnyVariance) -> Tensor:
        """Return sqrt(1 - tau) z + sqrt(tau) eps, or with the larger variance sqrt(tau) b_t / b_s eps."""
        if not eta:
            return z  # as below, without drawing what tau = 0 would not add
        if variance == "constant":
            return math.sqrt(1 - eta**2) * z + eta * randn_like(z, at.generator)
        (a_t, b_t), (a_s, b_s) = D.coefficients(at.t, z), D.coefficients(at.s, z)
        tau = eta**2 * (1 - (a_t * b_s / (a_s * b_t)) ** 2)
        added = tau.sqrt()
        if variance == "large":
            # In units of b_s, which is 0 at level 0: nothing may be added there.
            added = added * torch.where(b_s > 0, b_t / b_s.clamp(min=torch.finfo(b_s.dtype).tiny), 0)
        return (1 - tau).sqrt() * z + added * randn_like(z, at.generator)


@register_sampler("ancestral")
class Ancestral(_GaussianSampler):
    """x_s = D(x0_hat, s, z') with a share tau of the noise in z' drawn again; `DDPM` and `DDIM` are special cases.

    Args:
        eta: 0..1; 1 for DDPM, 0 for DDIM. It multiplies the standard deviation of the added noise, not the variance.
        variance: variance of the added noise: `small` is that of the posterior, b_s^2 tau; `large` is b_t^2 tau, which
            for neighboring levels and eta = 1 is beta_t (Ho et al., section 3.2); `constant` is b_s^2 eta^2, a share of
            the noise that does not depend on the length of the step. None is added on the step to level 0.

    >>> Ancestral(eta=0.5)
    Ancestral(eta=0.5, variance='small')
    """

    eta: Eta = 1.0
    variance: AnyVariance = "small"

    def resample_params(self, D: Degradation, at: StepInput, z: Params) -> Params:
        """Return z with a share tau drawn again."""
        return self._redraw(D, at, z, self.eta, self.variance)


@register_sampler("ddpm")
class DDPM(_GaussianSampler):
    """DDPM (Ho et al., 2020): `Ancestral` with eta = 1, all of the noise that a step may draw again.

    Args:
        variance: variance of the added noise: that of the posterior (`small`) or of the forward step (`large`).

    >>> import degrade, restore, samplers
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.5 * x_t, degrade.make("gaussian_noise", T=20))
    >>> x_T = torch.randn(1, 3, 8, 8)
    >>> samplers.sample(R, DDPM("large"), x_T, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([1, 3, 8, 8])
    """

    variance: Variance = "small"

    def resample_params(self, D: Degradation, at: StepInput, z: Params) -> Params:
        """Return z with a share tau drawn again."""
        return self._redraw(D, at, z, 1.0, self.variance)


@register_sampler("ddim")
class DDIM(_GaussianSampler):
    """DDIM (Song et al., 2020): `Ancestral` with the posterior variance; with eta = 0 no noise is drawn again.

    Args:
        eta: 0..1, how much noise is drawn again; 0 is deterministic.

    >>> import degrade, restore, samplers
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.5 * x_t, degrade.make("gaussian_noise", T=20))
    >>> x_T = torch.randn(1, 3, 8, 8)
    >>> torch.equal(samplers.sample(R, "ddim", x_T, steps=5), samplers.sample(R, DDIM(), x_T, steps=5))
    True
    """

    eta: Eta = 0.0

    def resample_params(self, D: Degradation, at: StepInput, z: Params) -> Params:
        """Return z with a share tau drawn again."""
        return self._redraw(D, at, z, self.eta, "small")
