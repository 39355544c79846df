"""The linear inverse as a restorer: what it returns, under every sampler, at every size."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade import expand_level, map_params
from restore import LinearInverse
from samplers import direct, sample
from tests.cases import images

BLUR = degrade.make("blur", T=6, sigmas="constant:sigma=0.4", kernel_size=5)


def test_it_is_invert_with_the_noise_of_each_severity():
    x_t, t = images(4, 3, 8, 9), torch.tensor([1, 2, 6, 6])
    noise = torch.linspace(0.1, 0.7, 7).double()
    found = LinearInverse(BLUR, noise=noise, spread=0.4)(x_t, t)
    assert torch.equal(found, BLUR.invert(x_t, t, noise=noise[t], spread=0.4))
    assert torch.equal(LinearInverse(BLUR)(x_t, t), BLUR.invert(x_t, t))
    assert torch.equal(LinearInverse(BLUR, clip_sample=True)(x_t, t), BLUR.invert(x_t, t).clamp(-1, 1))


@pytest.mark.parametrize("size", [(16, 16), (9, 31), (40, 7)], ids=str)
def test_it_restores_pictures_of_any_size(size):
    x0 = images(2, 3, *size)
    x_t = degrade.quantize_8bit(BLUR(x0, expand_level(6, x0)))
    found = direct(LinearInverse(BLUR), x_t, 6)
    assert (found - x0).square().mean() < 0.5 * (x_t - x0).square().mean()


@pytest.mark.parametrize("size", [(16, 16), (9, 13)], ids=str)
def test_sides_that_the_degradation_does_not_divide_are_continued(size):
    D, x0 = degrade.make("pixelate", T=3), images(1, 3, *size)
    x_t = x0[..., :1, :1].expand_as(x0).contiguous()
    found = LinearInverse(D)(x_t, torch.tensor([3]))
    torch.testing.assert_close(found, x_t, rtol=0, atol=1e-3)  # a picture of one color is what it is


@pytest.mark.parametrize("sampler", ["algorithm1", "algorithm2", "heun", "averaged_prediction"])
def test_samplers_walk_with_it(sampler):
    """With noise as good as none, its guess is x0, and every sampler that stays on D(x0, s) ends there."""
    x0 = images(2, 3, 9, 11)
    x_T = BLUR(x0, expand_level(6, x0))
    ended = sample(LinearInverse(BLUR, noise=1e-7), sampler, x_T, steps=3)
    torch.testing.assert_close(ended, x0, rtol=0, atol=1e-4)
    assert (x_T - x0).abs().max() > 0.1  # the walk had something to do


def test_steps_of_algorithm2_amplify_the_error_of_an_erased_wave_and_algorithm1_does_not():
    """By the square root of (1 + rho) / (g_T^2 + rho), in the limit of short steps; the noise grows to `spread`."""
    T, noise, spread = 2000, 0.01, 0.5
    totals = torch.linspace(0, 8, T + 1)[1:].double()
    D = degrade.make("blur", T=T, cumulative_sigma=totals.tolist(), padding_mode="circular")
    n = torch.arange(8, dtype=torch.float64)
    error = noise * torch.cos(torch.pi * n).expand(1, 1, 8, 8)  # alone at the Nyquist frequency of the rows
    g_T = torch.exp(-((8 * torch.pi) ** 2) / torch.tensor(2.0).double())
    rho = (noise / spread) ** 2
    R = LinearInverse(D, noise, spread)
    amplified = sample(R, "algorithm2", error)
    torch.testing.assert_close(amplified, error * ((1 + rho) / (g_T**2 + rho)) ** 0.5, rtol=0.05, atol=0)
    assert amplified.abs().max() > 0.9 * spread
    assert direct(R, error, T).abs().max() < 1e-9
    assert sample(R, "algorithm1", error).abs().max() < 1e-9


@pytest.mark.parametrize("name", ["inpaint", "motion_blur"])
def test_what_is_random_is_given_once_for_a_batch_or_an_image(name):
    arguments = {"T": 4, "center": "random"} if name == "inpaint" else {"T": 4, "kernel_size": 3}
    D, x0 = degrade.make(name, **arguments), images(3, 3, 8, 8)
    t = torch.tensor([1, 2, 4])
    z = D.draw(x0, torch.Generator().manual_seed(0))
    x_t = D(x0, t, z)
    assert torch.equal(LinearInverse(D, z=z)(x_t, t), D.invert(x_t, t, z))
    first = map_params(lambda part: part[:1], z)
    repeated = map_params(lambda part: part[[0, 0, 0]], z)
    assert torch.equal(LinearInverse(D, z=first)(x_t, t), D.invert(x_t, t, repeated))


def test_on_noise_it_is_the_posterior_mean_of_white_images():
    """E[x0 | x_t] = a s^2 x_t / (a^2 s^2 + b^2) for x0 ~ N(0, s^2 I) and x_t = a x0 + b eps."""
    D, x_t = degrade.make("gaussian_noise", T=8), images(3, 1, 4, 5)
    t = torch.tensor([1, 4, 8])
    a, b = D.coefficients(t, x_t)
    every = torch.arange(9)
    noise = D.coefficients(every, x_t)[1].flatten()
    found = LinearInverse(D, noise=noise, spread=0.3, z=torch.zeros(1, 1, 4, 5).double())(x_t, t)
    torch.testing.assert_close(found, a * 0.09 * x_t / (a**2 * 0.09 + b**2), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": 0.0}, "noise is 0.0; it needs a number above 0"),
        ({"noise": True}, "noise is True"),
        ({"noise": torch.ones(6)}, r"noise is torch.float32 \(6,\); it needs .* 7 such"),
        ({"noise": torch.arange(7)}, "noise is torch.int64"),
        ({"noise": torch.tensor([0.0, 1, 1, 0, 1, 1, 1])}, r"noise spans 0\.\.1"),
        ({"spread": -1}, "spread is -1; it needs a number above 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearInverse(BLUR, **arguments)


def test_a_degradation_that_is_not_affine_is_refused():
    with pytest.raises(ValueError, match=r"snow is not affine.*trained network"):
        LinearInverse(degrade.make("snow"))
