"""Equal-error respacing against quantiles known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import degrade
from restore import FunctionRestorer
from samplers import (
    Algorithm2,
    cumulative_change,
    equal_change_timesteps,
    equal_error_timesteps,
    spaced_timesteps,
    trajectory,
)
from tests.cases import CASES, build, images
from tests.oracles import imperfect


def telling(curve):
    """A restorer whose guess, the same in every pixel, is 1 at t = 0 and falls along a curve of t."""
    return lambda x_t, t: (1 - curve(t.double())).view(-1, 1, 1, 1).to(x_t).expand_as(x_t)


@given(st.integers(1, 400), st.data())
def test_equal_shares_of_an_even_change_are_strides(T, data):
    steps = data.draw(st.integers(1, T))
    scale, offset = data.draw(st.floats(1e-6, 1e6)), data.draw(st.floats(-10, 10))
    assert equal_change_timesteps([scale * t for t in range(T + 1)], steps) == spaced_timesteps(T, steps)
    assert equal_change_timesteps([offset] * (T + 1), steps) == spaced_timesteps(T, steps)


@given(st.lists(st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 1e9)), min_size=1, max_size=120), st.data())
def test_they_fall_from_T_to_0_in_distinct_steps_whatever_the_change(increments, data):
    change, T = [0.0], len(increments)
    for increment in increments:
        change.append(change[-1] + increment)
    steps = data.draw(st.integers(1, T))
    times = equal_change_timesteps(change, steps)
    assert (times[0], times[-1], len(times)) == (T, 0, steps + 1)
    assert all(t > s for t, s in pairwise(times))


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize(
    ("curve", "inverse"),
    [(lambda u: u**2, math.sqrt), (lambda u: 1 - (1 - u) ** 3, lambda q: 1 - (1 - q) ** (1 / 3))],
)
def test_times_are_the_quantiles_of_the_change(curve, inverse, steps):
    D, x0 = degrade.make("decolor", T=1000), torch.ones(2, 3, 2, 2)
    times = equal_error_timesteps(FunctionRestorer(telling(lambda t: curve(t / 1000)), D), x0, steps)
    expected = [1000 * inverse(k / steps) for k in range(steps, -1, -1)]
    assert max(abs(t - exact) for t, exact in zip(times, expected)) <= 0.51
    assert times != spaced_timesteps(1000, steps)


class Drift(degrade.Degradation):
    """x + t: a degradation that changes evenly, and that Algorithm 2 walks back exactly."""

    def apply(self, x0, t, z):
        return x0 + t.view(-1, 1, 1, 1)


def test_a_degradation_that_changes_evenly_gives_strides_and_one_that_R_sees_squared_gives_roots():
    D, x0 = Drift(T=50), torch.zeros(3, 1, 2, 2, dtype=torch.float64)
    assert equal_error_timesteps(FunctionRestorer(lambda x_t, t: x_t, D), x0, 7) == spaced_timesteps(50, 7)
    assert equal_error_timesteps(FunctionRestorer(lambda x_t, t: x_t, D), x0, 7, start=30) == spaced_timesteps(30, 7)
    times = equal_error_timesteps(FunctionRestorer(lambda x_t, t: x_t**2, D), x0, 5)
    assert max(abs(t - 50 * math.sqrt(1 - k / 5)) for k, t in enumerate(times)) <= 0.55


def test_the_change_is_the_sum_of_mean_differences_along_the_walk():
    D, x0 = degrade.make("gaussian_noise", T=6), images(3, 1, 4, 4)
    z = D.draw(x0, torch.Generator().manual_seed(0))

    def summed(times):
        walk = trajectory(FunctionRestorer(imperfect, D), Algorithm2(), D(x0, degrade.expand_level(6, x0), z), z, times)
        return [float((b.x0_hat - a.x0_hat).abs().mean()) / (a.t - b.t) for a, b in pairwise(walk)][::-1]

    change = cumulative_change(FunctionRestorer(imperfect, D), x0, torch.Generator().manual_seed(0))
    terms = summed(None)
    torch.testing.assert_close(torch.tensor(change), torch.tensor([0, terms[0], *terms]).cumsum(0))
    # A walk over 6, 4 and 2 only: C runs straight between them, and below 2 as it does above.
    coarse = cumulative_change(FunctionRestorer(imperfect, D), x0, torch.Generator().manual_seed(0), steps=[6, 4, 2, 0])
    low, high = summed([6, 4, 2, 0])
    torch.testing.assert_close(torch.tensor(coarse), torch.tensor([0, low, low, low, low, high, high]).cumsum(0))


def test_what_R_gets_wrong_near_the_clean_level_takes_no_steps():
    """An offset of every guess moves none of the times, and one level or none at all gives strides."""
    D, x0 = degrade.make("decolor", T=40), torch.ones(2, 3, 2, 2)
    even = telling(lambda t: t / 40)
    assert equal_error_timesteps(FunctionRestorer(lambda x_t, t: even(x_t, t) + 5, D), x0, 8) == spaced_timesteps(40, 8)
    assert equal_change_timesteps(cumulative_change(FunctionRestorer(even, D), x0, steps=1), 8) == spaced_timesteps(
        40, 8
    )
    assert equal_error_timesteps(FunctionRestorer(even, degrade.make("decolor", T=1)), x0, 1) == [1, 0]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_it_works_for_every_degradation(name, arguments):
    D = build(name, arguments, (3, 12, 16))
    steps = min(D.T, 5)
    change = cumulative_change(
        FunctionRestorer(imperfect, D), images(2, 3, 12, 16), torch.Generator().manual_seed(0), steps=min(D.T, 8)
    )
    assert all(high >= low for low, high in pairwise(change))
    times = equal_change_timesteps(change, steps)
    assert (times[0], times[-1], len(times)) == (D.T, 0, steps + 1)


@pytest.mark.parametrize("steps", [0, 11])
def test_impossible_step_counts_are_refused_before_R_is_asked(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}; .* between 1 and 10"):
        equal_error_timesteps(FunctionRestorer(None, degrade.make("decolor", T=10)), torch.ones(1, 3, 2, 2), steps)
