"""The variational bound against cases in which every term is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers.applications.likelihood import bits_per_dim, log_decoder
from tests.oracles import GaussianMean

MEAN, STD = 0.1, 0.3
SHAPE = (1, 4, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def levels(probabilities, n):
    """n images of independent 8-bit values with these 256 probabilities."""
    k = torch.multinomial(probabilities, n * math.prod(SHAPE), replacement=True, generator=generator(7))
    return (k.double() / 127.5 - 1).view(n, *SHAPE)


def gaussian_levels():
    """The probabilities that N(MEAN, STD^2) gives to the bins of the 256 values."""
    edges = (torch.arange(257, dtype=torch.float64) - 128) / 127.5
    edges[0], edges[-1] = -math.inf, math.inf
    return torch.special.ndtr((edges - MEAN) / STD).diff()


def exact(D):
    """The posterior mean for independent N(MEAN, STD^2) pixels."""
    n = math.prod(SHAPE)
    return GaussianMean(D, torch.full((n,), MEAN, dtype=torch.float64), STD**2 * torch.eye(n, dtype=torch.float64))


def in_bits(nats):
    return nats / math.log(2)


def by_hand(D, t, variance):
    """Variance of q(x_{t-1} | x_t, x0), of the model, and the weight of x0 in the mean, from Ho et al., eq. 6 and 7."""
    alpha_bar = D.schedule(D.T)[0] ** 2
    beta = 1 - alpha_bar[t] / alpha_bar[t - 1]
    q = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta
    weight = alpha_bar[t - 1].sqrt() * beta / (1 - alpha_bar[t])
    return float(q), float(q if variance == "small" else beta), float(weight)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
def test_every_term_of_a_guess_that_is_off_by_a_constant(variance, schedule):
    D = degrade.make("gaussian_noise", T=30, schedule=schedule)
    x0, off = levels(gaussian_levels(), 3), 0.07
    bound = bits_per_dim(FunctionRestorer(lambda x_t, t: x0 + off, D), x0, None, variance, generator())
    for t, term in zip(bound.timesteps, bound.L_t.T):
        q, p, weight = by_hand(D, t, variance)
        expected = in_bits(0.5 * (math.log(p / q) + q / p - 1 + (weight * off) ** 2 / p))
        assert torch.allclose(term, torch.full((3,), expected, dtype=torch.float64), rtol=1e-9, atol=1e-13)
    a, b = (float(v[-1]) for v in D.schedule(D.T))
    known = torch.distributions.kl_divergence(
        torch.distributions.Normal(a * x0, b), torch.distributions.Normal(torch.zeros_like(x0), 1)
    )
    assert torch.allclose(bound.L_T, in_bits(known).mean((1, 2, 3)), rtol=1e-9, atol=1e-15)
    assert torch.allclose(bound.total, bound.L_T + bound.L_t.sum(1) + bound.L_0)
    std = by_hand(D, 2, "small")[0] ** 0.5
    assert torch.allclose(bound.L_0, in_bits(-log_decoder(x0, x0 + off, std)).mean((1, 2, 3)))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_gaussian_data_with_their_posterior_mean(variance):
    D = degrade.make("gaussian_noise", T=40)
    x0 = MEAN + STD * torch.randn(400, *SHAPE, generator=generator(1), dtype=torch.float64)
    bound = bits_per_dim(FunctionRestorer(exact(D), D), x0, None, variance, generator())
    a, b = D.schedule(D.T)
    for t, term in zip(bound.timesteps, bound.L_t.T):
        q, p, weight = by_hand(D, t, variance)
        spread = float(STD**2 * b[t] ** 2 / (a[t] ** 2 * STD**2 + b[t] ** 2))  # variance of x0 given x_t
        expected = in_bits(0.5 * (math.log(p / q) + q / p - 1 + weight**2 * spread / p))
        assert abs(float(term.mean()) - expected) < 5 * float(term.std()) / 20 + 1e-12, t


def test_the_bound_comes_down_to_the_entropy_as_steps_get_finer():
    probabilities = gaussian_levels()
    entropy = float(-(probabilities * probabilities.log2()).sum())
    x0 = levels(probabilities, 200)
    slack = []
    for T in (8, 32, 128):
        # b / a grows by equal factors from half of half a bin to 30, whatever the number of steps.
        ratio = torch.logspace(math.log10(0.002), math.log10(30), T, dtype=torch.float64)
        a = torch.cat([torch.ones(1, dtype=torch.float64), 1 / (1 + ratio**2).sqrt()])
        b = torch.cat([torch.zeros(1, dtype=torch.float64), ratio * a[1:]])
        D = degrade.make(
            "gaussian_noise", T=T, schedule={"name": "table", "arguments": {"a": a.tolist(), "b": b.tolist()}}
        )
        total = bits_per_dim(FunctionRestorer(exact(D), D), x0, None, "large", generator()).total
        slack.append(float(total.mean()) - entropy)
    assert 7 < entropy < 8
    # The average over these images is off the entropy by 0.03, the standard error.
    assert slack[0] > slack[1] + 0.3 > slack[2] + 0.4
    assert -0.1 < slack[2] < 0.3


def test_a_random_choice_of_severities_estimates_the_same_total():
    D = degrade.make("gaussian_noise", T=12)
    x0 = levels(gaussian_levels(), 2)

    def R(x_t, t):  # whose terms do not depend on the noise
        return x0 + 0.01 * t.view(-1, 1, 1, 1)

    def total(times):
        return bits_per_dim(FunctionRestorer(R, D), x0, times, generator=generator()).total

    every = torch.stack([total([t]) for t in range(2, 13)])
    assert torch.allclose(every.mean(0), total(None), rtol=1e-10)
    assert every.std(0).min() > 0.005
    pairs = torch.stack([total([t, s]) for t in range(2, 13) for s in range(2, t)])
    assert torch.allclose(pairs.mean(0), total(None), rtol=1e-10)


@pytest.mark.parametrize("std", [1e-3, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-1.5, -1.0, 0.2, 0.996, 1.0])
def test_the_decoder_is_a_distribution_and_that_of_the_bins(mean, std):
    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    log_p = log_decoder(values, torch.full_like(values, mean), std)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    normal = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), std)
    lower = torch.where(values < -0.999, -math.inf, values - 1 / 255)
    upper = torch.where(values > 0.999, math.inf, values + 1 / 255)
    p = normal.cdf(upper) - normal.cdf(lower)
    seen = p > 1e-10  # below, differences of numbers near 1 have no digits left
    assert torch.allclose(log_p[seen], p[seen].log(), rtol=1e-6, atol=1e-9)
    assert log_p.isfinite().all()


def test_the_decoder_keeps_its_digits_where_probabilities_underflow():
    value, mean, std = torch.tensor([0.0], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64), 0.005
    # The density times the bin is a lower and the nearest edge an upper bound of the tail's logarithm.
    edge = (0.9 - 1 / 255) / std
    at_edge = -(edge**2) / 2 - math.log(edge * math.sqrt(2 * math.pi))
    assert float(log_decoder(value, mean, std)) == pytest.approx(at_edge, abs=1e-3)
    assert at_edge < -16_000


def test_what_has_no_bound_is_refused():
    x0 = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="needs 'gaussian_noise' with T of 2 or more"):
        bits_per_dim(FunctionRestorer(lambda x_t, t: x_t, degrade.make("decolor")), x0)
    with pytest.raises(ValueError, match="T of 2 or more"):
        bits_per_dim(FunctionRestorer(lambda x_t, t: x_t, degrade.make("gaussian_noise", T=1)), x0)
    for times in ([1], [11], []):
        with pytest.raises(ValueError, match=r"severities 2\.\.10"):
            bits_per_dim(FunctionRestorer(lambda x_t, t: x_t, degrade.make("gaussian_noise", T=10)), x0, times)
