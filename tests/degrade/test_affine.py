"""What `affine` promises, and what Algorithm 2 makes of it: identity 6, the law of its error."""

from __future__ import annotations

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers import Algorithm1, Algorithm2, sample, trajectory
from tests.cases import CASES, SHAPES, build, images
from tests.oracles import imperfect

AFFINE = [(name, arguments) for name, arguments in CASES if build(name, arguments, SHAPES[0]).affine]


def test_who_is_affine():
    names = {name for name, _ in AFFINE}
    assert {"blur", "inpaint", "mask_to_color", "pixelate", "decolor", "gaussian_noise", "interpolation"} <= names
    assert "snow" not in names


@pytest.mark.parametrize(("name", "arguments"), AFFINE, ids=str)
def test_affine_means_a_linear_map_plus_a_constant(name, arguments):
    D = build(name, arguments, SHAPES[0])
    x, y = images(3, *SHAPES[0], seed=1), images(3, *SHAPES[0], seed=2)
    z = D.draw(x, torch.Generator().manual_seed(0))
    t = torch.tensor([1, (D.T + 1) // 2, D.T])
    torch.testing.assert_close(D(0.3 * x + 0.7 * y, t, z), 0.3 * D(x, t, z) + 0.7 * D(y, t, z), rtol=0, atol=1e-12)


def test_snow_is_not_affine():
    D, x = degrade.Snow(T=5), images(1, *SHAPES[0])
    z, t = D.draw(x, torch.Generator().manual_seed(0)), torch.tensor([5])
    assert (D(0.5 * x, t, z) - 0.5 * D(x, t, z) - 0.5 * D(0 * x, t, z)).abs().max() > 1e-2


@pytest.mark.parametrize(("name", "arguments"), AFFINE, ids=str)
def test_the_error_of_algorithm_2_grows_by_the_change_of_the_error_of_the_guess(name, arguments):
    """e_s = e_t + (D_s - D_t)(x0_hat - x0) with e_t = x_t - D(x0, t, z), D_t without its constant."""
    D = build(name, arguments, SHAPES[0])
    x0 = images(2, *SHAPES[0])
    z = D.draw(x0, torch.Generator().manual_seed(0))
    x_T = D(x0, torch.full((2,), D.T), z) + 0.01 * images(2, *SHAPES[0], seed=3)
    for visit in trajectory(
        FunctionRestorer(imperfect, D), Algorithm2(estimate=False), x_T, z, steps=sorted({0, D.T // 2, D.T})[::-1]
    ):
        t, s = torch.full((2,), visit.t), torch.full((2,), visit.s)
        e_t, e_s = visit.x_t - D(x0, t, z), visit.x_s - D(x0, s, z)
        grown = D.delta(visit.x0_hat, t, s, z) - D.delta(x0, t, s, z)
        torch.testing.assert_close(e_s, e_t + grown, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("blur", {"T": 20, "sigmas": "constant:sigma=0.6", "kernel_size": 5}),
        ("inpaint", {"T": 10, "sigmas": "constant:sigma=3"}),
        ("pixelate", {"T": 2}),
        ("decolor", {}),
    ],
)
def test_algorithm_2_ends_nearer_to_the_image(name, arguments):
    """With a restorer that is wrong everywhere, what x_T still shows survives Algorithm 2 and not Algorithm 1."""
    D = degrade.make(name, **arguments)
    x0 = images(4, *SHAPES[0])
    x_T = D(x0, torch.full((4,), D.T))
    ends = [
        (sample(FunctionRestorer(imperfect, D), step, x_T) - x0).square().mean()
        for step in (Algorithm1(), Algorithm2())
    ]
    assert ends[1] < ends[0]
