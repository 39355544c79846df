"""Schedules against independent formulas, in float64."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import degrade
from degrade.functional.schedules import Cosine, LinearBeta, Rectified, TableSchedule
from restore import FunctionRestorer
from samplers import DDIM, sample
from tests.cases import SCHEDULES, images

VARIANCE_PRESERVING = [schedule for schedule in SCHEDULES if schedule.name in ("linear_beta", "cosine")]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
levels = st.integers(1, 2000)


def noise(**arguments):
    return degrade.make("gaussian_noise", **arguments)


def linear_alpha_bars(T, beta_start, beta_end):
    """Products of 1 - beta as Ho et al. define them, one factor after another."""
    alpha_bars = [1.0]
    for i in range(T):
        beta = beta_start + (beta_end - beta_start) * i / max(1, T - 1)
        alpha_bars.append(alpha_bars[-1] * (1 - beta))
    return torch.tensor(alpha_bars, dtype=torch.float64)


def cosine_alpha_bars(T, s, max_beta):
    """Nichol and Dhariwal, eq. 17: alpha_bar = f(t) / f(0), its betas cut, multiplied up again."""
    f = [math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2 for t in range(T + 1)]
    alpha_bars = [1.0]
    for t in range(1, T + 1):
        alpha_bars.append(alpha_bars[-1] * (1 - min(1 - f[t] / f[t - 1], max_beta)))
    return torch.tensor(alpha_bars, dtype=torch.float64)


@given(levels, st.floats(1e-5, 0.1), st.floats(1e-3, 0.5))
def test_linear_is_the_product_of_its_betas(T, beta_start, beta_end):
    a, _ = LinearBeta(beta_start=beta_start, beta_end=beta_end)(T)
    torch.testing.assert_close(a**2, linear_alpha_bars(T, beta_start, beta_end), rtol=1e-11, atol=1e-300)


def test_linear_ends_where_ddpm_ends():
    """Ho et al., section 4: T = 1000 and betas from 1e-4 to 0.02 leave 4.04e-5 of the variance."""
    a, b = noise().coefficients(torch.tensor([1000]), torch.zeros(1, dtype=torch.float64))
    assert a.item() ** 2 == pytest.approx(4.0358e-5, rel=1e-4)
    assert b.item() ** 2 == pytest.approx(1 - 4.0358e-5, rel=1e-8)


@pytest.mark.parametrize("T", [1, 2, 7, 100, 250, 999, 1000, 1001, 3000])
def test_the_published_process_reaches_noise_in_any_number_of_levels(T):
    """Sampling starts from pure noise, so a mean of -0.5 must be nearly forgotten: a_T = 0.0064, not 0.60 as it was."""
    a, b = LinearBeta()(T)
    published, _ = LinearBeta(beta_start=1e-4, beta_end=0.02)(1000)
    assert a[T].item() == pytest.approx(published[1000].item(), rel=1e-12)
    torch.testing.assert_close(a**2 + b**2, torch.ones_like(a), rtol=0, atol=1e-15)
    if 1000 % T == 0:  # strided levels of the published process
        torch.testing.assert_close(a, published[:: 1000 // T], rtol=1e-13, atol=0)
    else:
        assert (a.diff() < 0).all()


def test_the_published_process_is_a_straight_line_of_betas_at_its_own_length():
    for ours, theirs in zip(LinearBeta()(1000), LinearBeta(beta_start=1e-4, beta_end=0.02)(1000)):
        assert torch.equal(ours, theirs)


def test_one_beta_given_takes_the_other_from_the_published_line():
    assert LinearBeta(beta_end=0.3) == LinearBeta(beta_start=1e-4, beta_end=0.3)
    assert LinearBeta(beta_start=0.01) == LinearBeta(beta_start=0.01, beta_end=0.02)


@pytest.mark.parametrize("spread", [0.1, 0.4])
def test_ddim_in_few_levels_keeps_the_mean_of_the_data(spread):
    """Images of mean -0.5 and known spread: with the best guess, DDIM from pure noise must bring them back."""
    D = noise(T=100)
    generator = torch.Generator().manual_seed(0)
    x_T = torch.randn(4096, 1, 1, 1, generator=generator, dtype=torch.float64)

    def R(x_t, t):
        a, b = D.coefficients(t, x_t)
        return -0.5 + a * spread**2 / (a**2 * spread**2 + b**2) * (x_t + 0.5 * a)

    x = sample(FunctionRestorer(R, D), DDIM(), x_T)
    assert x.mean().item() == pytest.approx(-0.5, abs=0.01)  # -0.387 with the betas of T = 1000
    assert x.std().item() == pytest.approx(spread, rel=0.2)  # DDIM's steps shrink it


def test_a_table_without_z_at_a_level_is_refused():
    """What divides by b_t, the estimate of z, would give nan there."""
    with pytest.raises(ValueError, match=re.escape("b[2] = 0: only level 0 is without z")):
        noise(T=2, schedule={"name": "table", "arguments": {"a": [1, 0.9, 0.8], "b": [0, 0.5, 0]}})
    with pytest.raises(ValueError, match=re.escape("b[1] = 0")):
        noise(T=1, schedule={"name": "table", "arguments": {"a": [1, 1], "b": [0, 0]}})


@given(levels, st.floats(0, 0.1), st.floats(0.5, 0.9999))
def test_cosine_is_a_squared_cosine_with_its_betas_cut(T, s, max_beta):
    a, _ = Cosine(s=s, max_beta=max_beta)(T)
    torch.testing.assert_close(a**2, cosine_alpha_bars(T, s, max_beta), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("T", [1, 2, 200, 1000])
def test_the_cut_of_cosine_spares_a_last_trace_of_the_image(T):
    """Without the cut alpha_bar_T is 0, and what divides by it is not a number."""
    a, _ = Cosine()(T)
    assert a[T] ** 2 / a[T - 1] ** 2 == pytest.approx(0.001, rel=1e-9)
    torch.testing.assert_close((a[: T // 2 + 1] ** 2), cosine_alpha_bars(T, 0.008, 1.0)[: T // 2 + 1])


@given(levels)
def test_straight_is_a_straight_line(T):
    a, b = Rectified()(T)
    t = torch.arange(T + 1, dtype=torch.float64)
    torch.testing.assert_close(b, t / T, rtol=4e-16, atol=0)
    torch.testing.assert_close(a + b, torch.ones_like(a), rtol=0, atol=2e-16)


@every_schedule
@given(T=levels)
def test_tables_are_clean_at_0_and_lead_from_image_to_z(schedule, T):
    a, b = schedule(T)
    assert a.shape == b.shape == (T + 1,)
    assert a.dtype == b.dtype == torch.float64
    assert (a[0], b[0]) == (1, 0)
    assert (a.diff() <= 0).all()
    assert (b.diff() >= 0).all()
    assert ((a.diff() < 0) | (b.diff() > 0)).all()
    assert b[1] > 0
    assert a[T] >= 0
    assert b[T] <= 1


@pytest.mark.parametrize("schedule", VARIANCE_PRESERVING, ids=str)
@given(T=levels)
def test_variance_is_preserved(schedule, T):
    a, b = schedule(T)
    torch.testing.assert_close(a**2 + b**2, torch.ones_like(a), rtol=0, atol=1e-15)


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_b_has_all_its_digits_where_it_is_small(T):
    """Against 40 decimal digits; sqrt(1 - a^2) would lose five of sixteen of them."""
    _, b = LinearBeta(beta_start=1e-4, beta_end=0.02)(T)
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64).tolist()
    with localcontext(prec=40):
        alpha_bar = Decimal(1)
        for t, beta in enumerate(betas[:50], start=1):
            alpha_bar *= 1 - Decimal(beta)
            assert abs(Decimal(b[t].item()) / (1 - alpha_bar).sqrt() - 1) < Decimal("1e-14")


def test_b_of_cosine_is_precise_where_it_is_small():
    """cos^2 u - cos^2 v = sin(v - u) sin(v + u) is the difference without cancellation."""
    T, s = 1000, 0.008
    _, b = Cosine(s=s)(T)
    for t in (1, 2, 10, 100):
        u, v = (angle / (1 + s) * math.pi / 2 for angle in (s, t / T + s))
        step = t / T / (1 + s) * math.pi / 2
        assert b[t].item() == pytest.approx(math.sqrt(math.sin(step) * math.sin(v + u)) / math.cos(u), rel=1e-11)


def test_schedules_may_end_without_any_image():
    for schedule in (
        {"name": "linear_beta", "arguments": {"beta_end": 1}},
        {"name": "cosine", "arguments": {"max_beta": 1}},
        "rectified",
    ):
        D, eps = noise(T=20, schedule=schedule), images(1, 1, 4, 4)
        x_T = D(images(1, 1, 4, 4, seed=1), torch.tensor([20]), eps)
        torch.testing.assert_close(x_T, eps, rtol=0, atol=1e-14)


def test_noise_is_added_in_the_units_of_files_to_an_image_that_stays():
    D = noise(T=75, schedule={"name": "linear_sigma", "arguments": {"sigma_max": 150 / 255}})
    a, b = D.coefficients(torch.arange(76), torch.zeros(76, dtype=torch.float64))
    assert torch.equal(a, torch.ones_like(a))
    torch.testing.assert_close(b.flatten() * 127.5, torch.arange(76.0, dtype=torch.float64), rtol=1e-15, atol=0)
    x0, z, t = images(1, 3, 4, 4), images(1, 3, 4, 4, seed=1), torch.tensor([25])
    torch.testing.assert_close(D(x0, t, z) * 127.5, x0 * 127.5 + 25 * z, rtol=1e-14, atol=0)
    for sigma_max in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="sigma_max"):
            noise(T=3, schedule={"name": "linear_sigma", "arguments": {"sigma_max": sigma_max}})


def test_a_table_is_taken_as_it_is():
    a, b = TableSchedule(a=(1, 0.25, -0.5), b=(0, 2.0, 0.125))(2)
    assert a.tolist() == [1, 0.25, -0.5]
    assert b.tolist() == [0, 2, 0.125]
    D = noise(T=2, schedule={"name": "table", "arguments": {"a": (1, 0.25, -0.5), "b": (0, 2.0, 0.125)}})
    x0, z = torch.full((3, 1, 1, 1), 8.0), torch.full((3, 1, 1, 1), 16.0)
    assert D(x0, torch.tensor([2, 0, 1]), z).flatten().tolist() == [-2, 8, 34]
