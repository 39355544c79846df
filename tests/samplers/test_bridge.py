"""The Brownian bridge against its normal distribution, and InDI, its limit without noise."""

from __future__ import annotations

import math

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers import (
    DDIM,
    Algorithm1,
    Algorithm2,
    BrownianBridge,
    InDI,
    StepInput,
    trajectory,
)
from tests.cases import images
from tests.oracles import imperfect
from tests.walks import EXACT, SHAPE, ends, same_walk, start, straight


@pytest.mark.parametrize("times", [None, [12, 7, 0]])
@pytest.mark.parametrize("step", [Algorithm1(), Algorithm2()])
def test_indi_on_a_straight_mixture_is_both_algorithms(step, times):
    same_walk(straight(), InDI(), step, times)


def test_indi_applies_no_degradation_and_leaves_the_path_of_a_blur():
    D = degrade.make("blur", T=10)
    x0, z, x_T = start(D)
    walk = ends(D, lambda x_t, t: x0, InDI(), x_T, z, [10, 4, 0])
    torch.testing.assert_close(walk[0], 0.4 * x_T + 0.6 * x0, **EXACT)
    assert (walk[0] - D(x0, degrade.expand_level(4, x0))).abs().max() > 0.1
    torch.testing.assert_close(walk[1], x0, **EXACT)


@pytest.mark.parametrize("times", [None, [12, 7, 0]])
def test_the_bridge_without_noise_is_algorithm_1_and_indi(times):
    same_walk(straight(), BrownianBridge(noise=0), Algorithm1(), times)
    same_walk(straight(), BrownianBridge(noise=0), InDI(), times)
    same_walk(degrade.make("gaussian_noise", T=12), BrownianBridge(noise=0), DDIM(), times)


@pytest.mark.parametrize("times", [[16, 4, 0], [16, 13, 4, 0], list(range(16, -1, -1))])
def test_the_bridge_has_the_variance_of_a_brownian_bridge(times):
    """However many steps: mean a_s x0 + b_s z, variance noise^2 b_s (1 - b_s), here at b = 1/4 by Monte Carlo."""
    D = degrade.make("interpolation", T=16, schedule="rectified")
    x0, z = torch.full((1, 1, 200, 200), -0.5).double(), torch.full((1, 1, 200, 200), 0.7).double()
    walk = trajectory(
        FunctionRestorer(lambda x_t, t: x0, D),
        BrownianBridge(noise=0.6),
        z,
        None,
        times,
        torch.Generator().manual_seed(4),
    )
    end = {visit.s: visit.x_s for visit in walk}
    expected = 0.36 * 0.25 * 0.75
    # The relative error of a variance of n numbers is sqrt(2 / n) = 0.007.
    assert abs(float(end[4].var()) / expected - 1) < 0.03
    assert abs(float(end[4].mean()) - (0.75 * -0.5 + 0.25 * 0.7)) < 4 * math.sqrt(expected / 40_000)
    torch.testing.assert_close(end[0], x0, **EXACT)


def test_one_step_of_the_bridge_is_the_stated_normal_distribution():
    D = degrade.make("gaussian_noise", T=10, schedule="cosine")
    x0, _, x_t = start(D)
    t, s = (degrade.expand_level(level, x0) for level in (7, 3))
    x_s = (
        BrownianBridge(noise=0.4)
        .step(FunctionRestorer(lambda x_t, t: x0, D), StepInput(x_t, t, s, None, torch.Generator().manual_seed(6)))
        .x_s
    )
    (a_t, b_t), (a_s, b_s) = D.coefficients(t, x0), D.coefficients(s, x0)
    clock_t, clock_s = 0.4**2 * b_t, 0.4**2 * b_s
    share = clock_s / clock_t
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    expected = a_s * x0 + share * (x_t - a_t * x0) + (clock_s * (1 - share)).sqrt() * eps
    torch.testing.assert_close(x_s, expected, **EXACT)


def test_the_bridge_is_for_mixtures_that_estimate_z():
    with pytest.raises(ValueError, match="needs x_t = a_t x0 \\+ b_t z, which 'blur' is not"):
        trajectory(FunctionRestorer(imperfect, degrade.make("blur")), BrownianBridge(), images(1, *SHAPE))


def test_indi_takes_the_share_of_the_way_in_float32():
    """bfloat16 knows neither 999 nor 257: s / t would be 256 / 1000."""
    x_t, t, s = torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), torch.tensor([259]), torch.tensor([257])
    x_s = (
        InDI()
        .step(
            FunctionRestorer(lambda x_t, t: -127 * torch.ones_like(x_t), degrade.make("decolor", T=300)),
            StepInput(x_t, t, s),
        )
        .x_s
    )
    assert x_s.item() == pytest.approx(257 / 259 - 127 * 2 / 259, abs=1e-3)
