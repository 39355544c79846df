"""The variational bound of a Gaussian diffusion model, in bits per dimension, term by term (Ho et al., arXiv
2006.11239, 2020, eq. 5, 8 and 13; Sohl-Dickstein et al., arXiv 1503.03585, 2015).

    -log2 p(x0) <= L_T + sum_{t=2..T} L_{t-1} + L_0
    L_T        KL(q(x_T | x0) || N(0, I))
    L_{t-1}    KL(q(x_{t-1} | x_t, x0) || N(m_t(x_t, x0_hat), v_t I))
    L_0        -log p(x0 | x_1): 8-bit data, each value the probability of its bin of N(x0_hat, v_1 I)

For x_t = a_t x0 + b_t eps, with s = t - 1, a = a_t / a_s and beta = b_t^2 - a^2 b_s^2, the posterior is

    q(x_s | x_t, x0) = N(m_t(x_t, x0), v),    m_t = (a_s beta x0 + a b_s^2 x_t) / b_t^2,    v = beta b_s^2 / b_t^2

and the model puts x0_hat = R(x_t, t) in the place of x0. Its variance v_t is v ("small") or beta ("large"). At t = 1,
where v = 0, both take that of t = 2, as Ho et al. do. A bin is 2/255 wide; the outermost reach to infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, expand_level
from degrade.random import Generators, randn_like
from restore import BaseRestorer

__all__ = ["VariationalBound", "bits_per_dim"]

Variance = Literal["small", "large"]


class VariationalBound(NamedTuple):
    """The terms for each of B images, float64, in bits per dimension.

    `L_t` (B, n) holds L_{t-1} for the n severities `timesteps`; `total` counts each of them (T - 1) / n times.
    """

    L_T: Tensor
    L_t: Tensor
    L_0: Tensor
    total: Tensor
    timesteps: tuple[int, ...]


class LevelTables(NamedTuple):
    """What the terms need of each level t = 0..T, float64 (T + 1,): entry 0, and entry 1 of v, are not used."""

    a: Tensor
    b: Tensor
    beta: Tensor
    v: Tensor
    weight: Tensor  # of x0 in m_t


def tables(D: Degradation) -> LevelTables:
    """Return the tables of a degradation."""
    levels = torch.zeros(D.T + 1, 1, 1, 1, dtype=torch.float64)
    a, b = (v.flatten() for v in D.coefficients(torch.arange(D.T + 1), levels))
    a_s, b_s = a[:-1], b[:-1]
    beta = b[1:] ** 2 - (a[1:] / a_s * b_s) ** 2
    rows = (beta, beta * b_s**2 / b[1:] ** 2, a_s * beta / b[1:] ** 2)
    return LevelTables(a, b, *(torch.cat([torch.zeros(1, dtype=torch.float64), row]) for row in rows))


@torch.no_grad()
def bits_per_dim(
    R: BaseRestorer,
    x0: Tensor,
    timesteps: Sequence[int] | None = None,
    variance: Variance = "small",
    generator: Generators = None,
) -> VariationalBound:
    """Evaluate the bound for images, with one noise for each image and severity.

    Args:
        R: a restorer of Gaussian noise with T of 2 or more, and a_t > 0 before T; a network must be in evaluation mode.
        x0: (B, C, H, W) images of 8 bits, in [-1, 1].
        timesteps: severities in 2..T whose L_{t-1} is evaluated; None for all. Of a uniformly random choice the total
            is an unbiased estimate.
        variance: variance of the model's steps, `small` or `large`.
        generator: for the noise; one for the batch, or a sequence with one for each image.

    Raises:
        ValueError: if R does not undo Gaussian noise of two levels or more, or a severity is not in 2..T.

    >>> from restore import FunctionRestorer
    >>> import degrade
    >>> D, x0 = degrade.make("gaussian_noise", T=50), torch.zeros(2, 1, 4, 4)
    >>> R = FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), D)
    >>> bound = bits_per_dim(R, x0)
    >>> bound.L_t.abs().max().item() < 1e-9, bound.L_0.shape
    (True, torch.Size([2]))
    """
    D = R.degradation
    if not (D.additive and D.gaussian) or D.T < 2:
        raise ValueError(f"{D} has no such bound; it needs 'gaussian_noise' with T of 2 or more")
    times = tuple(range(2, D.T + 1)) if timesteps is None else tuple(timesteps)
    if not times or min(times) < 2 or max(times) > D.T:
        raise ValueError(f"timesteps {times}: the terms between are those of severities 2..{D.T}")
    known = tables(D)
    L_T = _nats_to_bits(_prior_term(known, x0))
    L_t = torch.stack([_between(R, known, x0, t, generator, variance) for t in times], 1)
    x_1 = D(x0, expand_level(1, x0), randn_like(x0, generator))
    L_0 = _nats_to_bits(-log_decoder(x0, R(x_1, expand_level(1, x0)), math.sqrt(float(known.v[2]))))
    total = L_T + (D.T - 1) * L_t.mean(1) + L_0
    return VariationalBound(L_T, L_t, L_0, total, times)


def _prior_term(known: LevelTables, x0: Tensor) -> Tensor:
    """Return the KL divergence of q(x_T | x0) from N(0, I) per pixel, in nats, shaped like x0."""
    a, b = float(known.a[-1]), float(known.b[-1])
    return (_wide(x0) * a) ** 2 / 2 + (b**2 - 1) / 2 - math.log(b)


def _between(
    R: BaseRestorer, known: LevelTables, x0: Tensor, t: int, generator: Generators, variance: Variance
) -> Tensor:
    """Return L_{t-1} (B,)."""
    x_t = R.degradation(x0, expand_level(t, x0), randn_like(x0, generator))
    error = float(known.weight[t]) * (_wide(R(x_t, expand_level(t, x0))) - _wide(x0))
    v = float(known.v[t])
    model = v if variance == "small" else float(known.beta[t])
    return _nats_to_bits((math.log(model / v) + v / model - 1 + error**2 / model) / 2)


def log_decoder(x0: Tensor, mean: Tensor, std: float) -> Tensor:
    """Return log of the probability that N(mean, std^2) gives to the bin of each 8-bit value of x0, in nats.

    Far from the mean it is the difference of two tails that is needed, taken on logarithms so that none underflows.

    >>> every = torch.linspace(-1, 1, 256, dtype=torch.float64)
    >>> round(log_decoder(every, torch.full_like(every, 0.3), 0.2).exp().sum().item(), 12)
    1.0
    """
    d = _wide(x0) - _wide(mean)
    # By symmetry every bin can be looked at from the side on which its tails are small.
    lower, upper = -(d.abs() + 1 / 255) / std, -(d.abs() - 1 / 255) / std
    last = (x0.abs() > 1 - 1 / 255) & (d * x0 >= 0)  # an outermost bin, seen from within: all of the tail
    first = (x0.abs() > 1 - 1 / 255) & ~last  # the same seen from beyond: all but a tail
    near, far = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    inside = near + torch.log(-torch.expm1(far - near))
    rest: Tensor = torch.special.log_ndtr(-lower)
    return torch.where(last, near, torch.where(first, rest, inside))


def _nats_to_bits(nats: Tensor) -> Tensor:
    """Return the mean over all but the first dimension, in bits."""
    return nats.flatten(1).mean(1) / math.log(2)


def _wide(x: Tensor) -> Tensor:
    """Return x in float64, where the device has it."""
    return x.float() if x.device.type == "mps" else x.double()
