"""Known pixels follow the known image through the levels, and the rest agrees with them."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers import (
    DDIM,
    DDPM,
    Algorithm1,
    Algorithm2,
    BrownianBridge,
    MaskReplacement,
    RePaint,
    sample,
    spaced_timesteps,
    trajectory,
)
from tests.cases import build, images
from tests.oracles import imperfect
from tests.walks import EXACT, SHAPE, start


@pytest.mark.parametrize("name", ["gaussian_noise", "inpaint", "interpolation", "decolor"])
def test_known_pixels_follow_the_known_image_down(name):
    D = build(name, {"T": 6}, SHAPE)
    x0, z, x_T = start(D)
    mask = torch.ones(1, 1, *SHAPE[1:])
    mask[..., :8] = 0
    step = MaskReplacement(Algorithm2(), image=x0, mask=mask)
    for visit in trajectory(FunctionRestorer(imperfect, D), step, x_T, z):
        known = D(x0, degrade.expand_level(visit.s, x0), visit.z)
        assert torch.equal(visit.x_s[..., :8], known[..., :8])
    assert torch.equal(visit.x_s[..., :8], x0[..., :8])
    assert not torch.allclose(visit.x_s[..., 8:], x0[..., 8:], atol=0.05)


def pairs(n=4000, known=0.6):
    """Gaussian pairs, an exact restorer of them and what is known: one of each pair; the other's mean is 0.8 known."""
    D = degrade.make("gaussian_noise", T=60, schedule="cosine")
    axes = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double() / math.sqrt(2)
    variances = torch.tensor([0.9, 0.1]).double()

    def R(x_t, t):
        a, b = (v.view(-1, 1) for v in D.coefficients(t, x_t))
        return ((x_t.flatten(1) @ axes) * (a * variances / (a**2 * variances + b**2)) @ axes.T).view_as(x_t)

    image, mask = (torch.tensor(v, dtype=torch.float64).view(1, 1, 1, 2) for v in ([known, 0.0], [0.0, 1.0]))
    x_T = torch.randn(n, 1, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return D, R, {"image": image, "mask": mask}, x_T


@pytest.mark.parametrize("step", [DDPM(), DDIM(0.3), Algorithm2(), Algorithm1(estimate=False), RePaint(DDPM(), 3)])
def test_known_pixels_have_the_law_of_the_forward_process(step):
    """x_s ~ N(a_s known, b_s^2), whatever R makes of the rest."""
    D, R, live, x_T = pairs()
    a, b = D.schedule(D.T)
    for visit in trajectory(
        FunctionRestorer(R, D),
        MaskReplacement(step, **live),
        x_T,
        x_T,
        spaced_timesteps(60, 12),
        torch.Generator().manual_seed(1),
    ):
        if visit.s:
            standard = (visit.x_s[..., 0] - a[visit.s] * 0.6) / b[visit.s]
            assert abs(standard.mean()) < 0.07  # four standard errors
            assert abs(standard.std() - 1) < 0.05


def test_known_pixels_and_their_noise_go_through_the_levels_together():
    """cov(x_t, x_s) of the forward process is a_t / a_s b_s^2: a draw of its own at every level would have none."""
    D, R, live, x_T = pairs(20_000)
    a, b = D.schedule(D.T)
    visits = trajectory(
        FunctionRestorer(R, D),
        MaskReplacement(DDPM(), **live),
        x_T,
        None,
        spaced_timesteps(60, 6),
        torch.Generator().manual_seed(1),
    )
    for visit in list(visits)[1:-1]:
        v, u = ((x[..., 0] - a[t] * 0.6).flatten() for x, t in ((visit.x_t, visit.t), (visit.x_s, visit.s)))
        assert float((v * u).mean()) == pytest.approx(float(a[visit.t] / a[visit.s] * b[visit.s] ** 2), abs=0.03)


@pytest.mark.parametrize("rule", ["forward", "guidance"])
def test_repaint_finds_the_conditional_mean(rule):
    """Gaussian pairs, one pixel known: the mean of the other given it, with no model of the mask."""
    D, R, live, x_T = pairs()
    means = {}
    for repeats in (1, 10):
        step = RePaint(MaskReplacement(DDPM(), rule=rule, **live), repeats=repeats)
        x_0 = sample(
            FunctionRestorer(R, D), step, x_T, None, spaced_timesteps(60, 30), torch.Generator().manual_seed(1)
        )
        torch.testing.assert_close(x_0[..., 0], torch.full_like(x_0[..., 0], 0.6), rtol=0, atol=1e-6)
        means[repeats] = float(x_0[..., 1].mean())
    exact = 0.8 * 0.6
    assert abs(means[10] - exact) < 0.1 * exact
    assert abs(means[10] - exact) < abs(means[1] - exact) / 2  # what the paper resamples for


def test_guidance_pushes_the_known_pixels_off_the_forward_process():
    """By (a_t b_s / b_t) (known - R(x_t, t)), as its rule says."""
    D, R, live, x_T = pairs()
    a, b = D.schedule(D.T)
    off = []
    for visit in trajectory(
        FunctionRestorer(R, D),
        MaskReplacement(Algorithm2(), rule="guidance", **live),
        x_T,
        None,
        spaced_timesteps(60, 12),
    ):
        pushed = a[visit.t] * b[visit.s] / b[visit.t] * (0.6 - visit.x0_hat[..., 0])
        plain = a[visit.s] * 0.6 + b[visit.s] / b[visit.t] * (visit.x_t[..., 0] - a[visit.t] * 0.6)
        torch.testing.assert_close(visit.x_s[..., 0], plain + pushed, **EXACT)
        off.append(float((visit.x_s[..., 0].mean() - a[visit.s] * 0.6) / b[visit.s].clamp(min=1e-9)))
    assert max(off[:-1]) > 1


@pytest.mark.parametrize("step", [Algorithm1(), Algorithm2()])
def test_under_a_blur_the_known_part_moves_with_the_guess_of_the_rest(step):
    """With the true image for the rest, no border is seen between the two."""
    D = build("blur", {"T": 8}, SHAPE)
    x0, z, x_T = start(D)
    mask = (torch.arange(SHAPE[2]) >= 8).expand(1, 1, *SHAPE[1:])
    known = torch.where(mask, 9.0, x0)  # what is not known may be anything
    for visit in trajectory(
        FunctionRestorer(lambda x_t, t: torch.where(mask, x0, -9.0), D), MaskReplacement(step, known, mask), x_T, z
    ):
        torch.testing.assert_close(visit.x_s, D(x0, degrade.expand_level(visit.s, x0), z), **EXACT)


def test_what_is_half_known_is_the_mean_of_both():
    D = degrade.make("gaussian_noise", T=6)
    x0, z, x_T = start(D)
    step = MaskReplacement(DDIM(), image=x0, mask=torch.full((1, 1, *SHAPE[1:]), 0.75))
    for visit in trajectory(FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), D), step, x_T, z):
        torch.testing.assert_close(visit.x0_hat, 0.25 * x0, **EXACT)


@pytest.mark.parametrize("rule", ["forward", "guidance"])
def test_known_takes_one_image_or_one_for_each_of_the_batch(rule):
    D = degrade.make("gaussian_noise", T=3)
    _, z, x_T = start(D, 4)
    mask = torch.zeros(1, 1, *SHAPE[1:])
    for n in (1, 4):
        image = images(n, *SHAPE)
        assert torch.equal(
            sample(FunctionRestorer(imperfect, D), MaskReplacement(image=image, mask=mask, rule=rule), x_T, z),
            image.expand_as(x_T),
        )
    for live, fault in (
        (
            {"image": images(2, *SHAPE), "mask": mask},
            r"image of shape \(2, 3, 12, 16\) for images \(4, 3, 12, 16\); it needs",
        ),
        (
            {"image": images(4, *SHAPE), "mask": mask[0]},
            r"mask of shape \(1, 12, 16\) for images \(4, 3, 12, 16\); it needs",
        ),
    ):
        with pytest.raises(ValueError, match=fault):
            sample(FunctionRestorer(imperfect, D), MaskReplacement(rule=rule, **live), x_T, z)


def test_known_needs_an_image_and_a_mask():
    D = degrade.make("decolor")
    with pytest.raises(ValueError, match="give both"):
        trajectory(FunctionRestorer(imperfect, D), MaskReplacement(), images(1, *SHAPE))
    step = dataclasses.replace(MaskReplacement(BrownianBridge()), image=images(1, *SHAPE), mask=torch.ones(1))
    with pytest.raises(ValueError, match="which 'decolor' is not"):
        trajectory(FunctionRestorer(imperfect, D), step, images(1, *SHAPE))
