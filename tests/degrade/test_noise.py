"""Mixtures x_t = a_t x0 + b_t z against their formula, and z estimated from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import degrade
from tests.cases import SCHEDULES, images, seed

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def noise(**arguments):
    return degrade.make("gaussian_noise", **arguments)


@every_schedule
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_mixture_is_its_formula(schedule, dtype):
    D, x0, z = noise(T=9, schedule=schedule), images(10, 2, 4, 4, dtype=dtype), images(10, 2, 4, 4, seed=1, dtype=dtype)
    a, b = (table.to(dtype) for table in schedule(9))
    x_t = D(x0, torch.arange(10), z)
    for t in range(10):
        torch.testing.assert_close(x_t[t], a[t] * x0[t] + b[t] * z[t], rtol=0, atol=0)
    assert torch.equal(x_t[0], x0[0])


@every_schedule
@given(T=st.integers(1, 2000), data=st.data())
def test_estimate_inverts_apply(schedule, T, data):
    D = noise(T=T, schedule=schedule)
    t = torch.tensor([data.draw(st.integers(1, T)) for _ in range(3)])
    x0, z, other = (images(3, 1, 4, 4, seed=k) for k in range(3))
    found = D.estimate(D(x0, t, z), x0, t, other)
    _, b = schedule(T)
    assert ((found - z).abs().amax((1, 2, 3)) <= 1e-15 / b[t] + 1e-14).all()
    assert torch.equal(D.estimate(D(x0, t, z), x0, t, None), found)


@every_schedule
def test_half_precision_is_full_precision_rounded(schedule):
    D, x0 = noise(T=20, schedule=schedule), images(4, 3, 8, 8, dtype=torch.bfloat16)
    z, t = D.draw(x0, seed(0)), torch.tensor([0, 1, 10, 20])
    assert z.dtype == torch.bfloat16
    x_t = D(x0, t, z)
    assert x_t.dtype == torch.bfloat16
    assert torch.equal(x_t, D(x0.float(), t, z.float()).bfloat16())
    assert torch.equal(x_t[0], x0[0])
    z_hat = D.estimate(x_t, x0, t.clamp(min=1), z)
    assert z_hat.dtype == torch.float32
    assert torch.equal(D(x0, t, z_hat)[1:], x_t[1:])


@every_schedule
def test_single_precision_is_double_precision_to_a_few_bits(schedule):
    D, x0, z = noise(T=1000, schedule=schedule), images(4, 3, 8, 8), images(4, 3, 8, 8, seed=1)
    t = torch.tensor([1, 2, 500, 1000])
    single = D(x0.float(), t, z.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), D(x0, t, z), rtol=0, atol=5e-7)
    torch.testing.assert_close(D.coefficients(t, x0.float())[1].double(), D.coefficients(t, x0)[1], rtol=1e-7, atol=0)
