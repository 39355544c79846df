"""Samplers against closed forms and identities, in float64."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import degrade
from restore import FunctionRestorer
from samplers import (
    DDIM,
    DDPM,
    Algorithm1,
    Algorithm2,
    Ancestral,
    StepInput,
    direct,
    sample,
    spaced_timesteps,
    trajectory,
)
from tests.cases import CASES, build, images
from tests.oracles import FiniteSetMean, GaussianMean, imperfect
from tests.walks import EXACT, ends, start


@pytest.mark.parametrize("schedule", ["linear_beta", "cosine"])
@pytest.mark.parametrize("steps", [None, 7])
def test_algorithm2_with_estimated_noise_is_ddim(schedule, steps):
    """Identity 1."""
    D = degrade.make("gaussian_noise", T=40, schedule=schedule)
    _, z, x_T = start(D)
    times = spaced_timesteps(D.T, steps)
    ours, ddim = (ends(D, imperfect, step, x_T, z, times) for step in (Algorithm2(), DDIM()))
    assert len(ours) == (steps or D.T)
    for a, b in zip(ours, ddim):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize(("name", "schedule"), [("gaussian_noise", "linear_beta"), ("interpolation", "rectified")])
@pytest.mark.parametrize("steps", [None, 5])
def test_on_a_mixture_the_two_algorithms_agree(name, schedule, steps):
    """Identity 2."""
    D = build(name, {"T": 30, "schedule": schedule}, (3, 12, 16))
    _, z, x_T = start(D)
    times = spaced_timesteps(D.T, steps)
    for a, b in zip(*(ends(D, imperfect, step, x_T, z, times) for step in (Algorithm1(), Algorithm2()))):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("step", [Algorithm1(), Algorithm2(), Algorithm1(estimate=False), Algorithm2(estimate=False)])
@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_with_a_perfect_restorer_the_walk_is_the_degradation(name, arguments, step):
    """Identity 3: every visited state is D(x0, s, z)."""
    D = build(name, arguments, (3, 12, 16))
    x0, z, x_T = start(D)
    for visit in trajectory(FunctionRestorer(lambda x_t, t: x0, D), step, x_T, z, spaced_timesteps(D.T, min(D.T, 20))):
        torch.testing.assert_close(visit.x_s, D(x0, torch.full((2,), visit.s), z), rtol=0, atol=1e-11)
    torch.testing.assert_close(visit.x_s, x0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("t", [1, 2, 17, 50])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_step_is_the_posterior(t, variance):
    """Identity 4: mean and variance of Ho et al., eq. 6 and 7, or their beta_t."""
    D = degrade.make("gaussian_noise", T=50)
    x0, _, x_T = start(D)
    alpha_bar = D.schedule(D.T)[0] ** 2
    alpha, before = alpha_bar[t] / alpha_bar[t - 1], alpha_bar[t - 1]
    beta = 1 - alpha
    mean = before.sqrt() * beta / (1 - alpha_bar[t]) * x0 + alpha.sqrt() * (1 - before) / (1 - alpha_bar[t]) * x_T
    deviation = ((1 - before) / (1 - alpha_bar[t]) * beta).sqrt() if variance == "small" or t == 1 else beta.sqrt()

    level = torch.full((2,), t)
    seed = 5
    walked = DDPM(variance).step(
        FunctionRestorer(lambda x_t, t: x0, D),
        StepInput(x_T, level, level - 1, None, torch.Generator().manual_seed(seed)),
    )
    eps = torch.randn(x_T.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(walked.x_s, mean + deviation * eps, **EXACT)


@given(st.integers(2, 1000), st.data())
def test_eta_multiplies_the_standard_deviation(T, data):
    """Song et al., eq. 16: sigma = eta sqrt((1 - ab_s) / (1 - ab_t)) sqrt(1 - ab_t / ab_s), any stride."""
    t = data.draw(st.integers(1, T))
    s = data.draw(st.integers(0, t - 1))
    eta = data.draw(st.floats(0, 1))
    D = degrade.make("gaussian_noise", T=T, schedule="cosine")
    x0, x_t = images(1, 1, 2, 2, seed=0), images(1, 1, 2, 2, seed=1)
    ab = D.schedule(T)[0] ** 2
    sigma = eta * ((1 - ab[s]) / (1 - ab[t])).sqrt() * (1 - ab[t] / ab[s]).sqrt()
    eps_hat = (x_t - ab[t].sqrt() * x0) / (1 - ab[t]).sqrt()
    eps = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = ab[s].sqrt() * x0 + (1 - ab[s] - sigma**2).clamp(min=0).sqrt() * eps_hat + sigma * eps
    levels = torch.tensor([t]), torch.tensor([s])
    x_s = (
        Ancestral(eta=eta)
        .step(FunctionRestorer(lambda x, t: x0, D), StepInput(x_t, *levels, None, torch.Generator().manual_seed(3)))
        .x_s
    )
    torch.testing.assert_close(x_s, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("s", [0, 1, 30, 39])
@pytest.mark.parametrize("eta", [0.0, 0.85, 1.0])
def test_a_constant_share_of_the_noise_is_drawn_again_however_short_the_step(eta, s):
    """Kawar et al., eq. 7, where nothing was measured: mean x0 + sqrt(1 - eta^2) b_s z, deviation eta b_s."""
    D = degrade.make("gaussian_noise", T=40, schedule="cosine")
    x0, _, x_t = start(D)
    (a_t, b_t), (a_s, b_s) = (D.coefficients(torch.tensor([t]), x0) for t in (40, s))
    eps = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = a_s * x0 + b_s * ((1 - eta**2) ** 0.5 * (x_t - a_t * x0) / b_t + eta * eps)
    at = StepInput(x_t, torch.full((2,), 40), torch.full((2,), s), None, torch.Generator().manual_seed(3))
    walked = Ancestral(eta, "constant").step(FunctionRestorer(lambda x, t: x0, D), at)
    torch.testing.assert_close(walked.x_s, expected, **EXACT)


class Drift(degrade.Degradation):
    """x + t e with a fixed image e: the degradation of the paper's argument for Algorithm 2."""

    def apply(self, x0, t, z):
        e = torch.linspace(-1, 1, x0[0].numel(), dtype=x0.dtype).view_as(x0[0])
        return x0 + t.view(-1, 1, 1, 1) * e


@given(st.integers(1, 30), st.integers(0, 10**6), st.booleans())
def test_algorithm2_is_exact_where_the_degradation_is_a_drift(T, seed, estimate):
    """Identity 5: x0 comes back whatever R says, and with Algorithm 1 it does not."""
    D = Drift(T=T)
    x0, _, x_T = start(D)

    def nonsense(x_t, t):
        return torch.randn(x_t.shape, generator=torch.Generator().manual_seed(seed), dtype=x_t.dtype)

    x_0 = sample(FunctionRestorer(nonsense, D), Algorithm2(estimate=estimate), x_T)
    torch.testing.assert_close(x_0, x0, rtol=0, atol=1e-11)
    assert (sample(FunctionRestorer(nonsense, D), Algorithm1(estimate=estimate), x_T) - x0).abs().max() > 0.1


class Fade(degrade.Degradation):
    """A smooth degradation: contrast falls and each pixel mixes with its neighbor."""

    def apply(self, x0, t, z):
        u = (t / self.T).view(-1, 1, 1, 1)
        return (1 - 0.5 * u**2) * x0 + 0.2 * u * torch.roll(x0, 1, -1)


def test_algorithm2_beats_algorithm1_along_a_smooth_degradation():
    """The same imperfect restorer, the error of each along the way: what the paper claims of the two algorithms."""
    D = Fade(T=50)
    x0, _, x_T = start(D)

    def off_by_a_little(x_t, t):
        return x0 + 0.1 * imperfect(x_t, t)

    errors = {}
    for step in (Algorithm1(), Algorithm2()):
        walk = trajectory(FunctionRestorer(off_by_a_little, D), step, x_T)
        errors[step] = [(v.x_s - D(x0, torch.full((2,), v.s), None)).pow(2).mean().sqrt().item() for v in walk]
    first, second = errors.values()
    # Algorithm 1 is off by D(error of R) everywhere; Algorithm 2 only by what that error changes from T to s.
    assert all(b < a for a, b in zip(first, second))
    assert second[0] < first[0] / 20
    assert second[-1] < 0.6 * first[-1]


def test_samplers_reproduce_gaussian_data():
    """Identity 7: with the exact posterior mean, samples have the mean and covariance of the data."""
    torch.manual_seed(0)
    D = degrade.make("gaussian_noise", T=200, schedule="cosine")
    root = torch.tensor([[0.6, 0.0, 0.0, 0.0], [0.3, 0.4, 0, 0], [-0.2, 0.1, 0.5, 0], [0, 0.3, 0.1, 0.3]]).double()
    mean, covariance = torch.tensor([0.3, -0.2, 0.1, 0.0]).double(), root @ root.T
    R = GaussianMean(D, mean, covariance)
    n = 20_000
    x_T = torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (DDPM(), DDPM("large"), DDIM(), Algorithm1(), Algorithm2(), DDIM(eta=0.5)):
        x_0 = sample(FunctionRestorer(R, D), step, x_T, None, None, torch.Generator().manual_seed(1)).flatten(1)
        # Monte-Carlo error of a mean is sigma / sqrt(n), below 0.005; the rest is the finite number of steps.
        torch.testing.assert_close(x_0.mean(0), mean, rtol=0, atol=0.02, msg=lambda m, step=step: f"{step}: {m}")
        torch.testing.assert_close(x_0.T.cov(), covariance, rtol=0, atol=0.025, msg=lambda m, step=step: f"{step}: {m}")


def test_samplers_reproduce_a_finite_set():
    """Identity 7 on a set of three points: samples land on them, each as often as it should."""
    D = degrade.make("gaussian_noise", T=200, schedule="cosine")
    points = torch.tensor([[-0.8, 0.5], [0.1, -0.6], [0.9, 0.7]], dtype=torch.float64).view(3, 1, 1, 2)
    n = 3000
    x_T = torch.randn(n, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step in (DDPM(), DDIM(), Algorithm2()):
        x_0 = sample(
            FunctionRestorer(FiniteSetMean(D, points), D), step, x_T, None, None, torch.Generator().manual_seed(1)
        )
        distance, nearest = torch.cdist(x_0.flatten(1), points.flatten(1)).min(1)
        assert distance.max() < 0.05
        shares = torch.bincount(nearest, minlength=3) / n
        torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.04)


@given(st.integers(1, 2000), st.data())
def test_strided_times_fall_from_T_to_0(T, data):
    steps = data.draw(st.integers(1, T))
    times = spaced_timesteps(T, steps)
    assert (times[0], times[-1], len(times)) == (T, 0, steps + 1)
    gaps = [t - s for t, s in pairwise(times)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("steps", [1, 3, 7, 64, 99])
def test_few_step_ddim_ends_at_the_clean_level_for_any_number_of_steps(steps):
    """With an exact restorer even one step is exact, whether or not it divides T (a bug others shipped)."""
    D = degrade.make("gaussian_noise", T=100)
    x0, _, x_T = start(D)
    torch.testing.assert_close(
        sample(FunctionRestorer(lambda x_t, t: x0, D), DDIM(), x_T, None, spaced_timesteps(100, steps)), x0, **EXACT
    )


def test_one_step_of_algorithm1_is_the_direct_restoration():
    D = degrade.make("gaussian_noise", T=10)
    _, z, x_T = start(D)
    torch.testing.assert_close(
        sample(FunctionRestorer(imperfect, D), Algorithm1(), x_T, z, [10, 0]),
        direct(FunctionRestorer(imperfect, D), x_T, 10),
        **EXACT,
    )


def test_a_walk_may_mix_severities():
    """A step takes one t and one s per image; the batch equals its images."""
    D = degrade.make("gaussian_noise", T=20)
    x_t, t, s = images(3, 1, 4, 4), torch.tensor([20, 9, 1]), torch.tensor([3, 8, 0])
    batch = Algorithm2().step(FunctionRestorer(imperfect, D), StepInput(x_t, t, s)).x_s
    for i in range(3):
        row = slice(i, i + 1)
        torch.testing.assert_close(
            Algorithm2().step(FunctionRestorer(imperfect, D), StepInput(x_t[row], t[row], s[row])).x_s,
            batch[row],
            **EXACT,
        )


def test_sampling_turns_dropout_off_and_back_on():
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1))
    net[1].eval()
    D = degrade.make("gaussian_noise", T=3)
    x_T = images(2, 1, 4, 4, dtype=torch.float32)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x_t, t):
            assert not self.net[0].training
            return self.net(x_t)

    R = Wrapped()
    first, second = (sample(FunctionRestorer(R, D), Algorithm2(), x_T) for _ in range(2))
    assert torch.equal(first, second)
    assert R.training
    assert net[0].training
    assert not net[1].training


@pytest.mark.parametrize("times", [[5], [], [3, 3, 0], [0, 5], [11, 0], [5, -1]])
def test_times_that_do_not_fall_are_refused_before_the_first_step(times):
    D = degrade.make("gaussian_noise", T=10)
    with pytest.raises(ValueError, match="do not fall"):
        trajectory(FunctionRestorer(imperfect, D), Algorithm2(), images(1, 1, 2, 2), None, times)


@pytest.mark.parametrize("steps", [0, -1, 11])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}; .* between 1 and 10"):
        spaced_timesteps(10, steps)


def test_ancestral_sampling_needs_gaussian_noise():
    D = build("interpolation", {"T": 5}, (1, 4, 4))
    with pytest.raises(ValueError, match="needs Gaussian noise, which 'interpolation' is not"):
        trajectory(FunctionRestorer(imperfect, D), DDPM(), images(1, 1, 4, 4))
