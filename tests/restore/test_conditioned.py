"""Conditioned restorers against Gaussian data, where every posterior is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import degrade
from degrade import Degradation, expand_level, make
from restore import BaseRestorer, Conditioned, FunctionRestorer, Measurement
from restore.conditioned import RULES, Gradient, Projection, Proximal, PseudoInverse
from restore.descent import descend
from samplers import Algorithm2, Ancestral, StepInput, sample

SHAPE = (3, 4, 6)
MEAN, SPREAD, NOISE = 0.2, 0.4, 0.3
NOISE_MODEL = make("gaussian_noise", T=100, schedule="cosine")
MEASUREMENTS = {
    "blur": (make("blur", T=6, kernel_size=5, sigmas="constant:sigma=1", padding_mode="symmetric"), 3),
    "pixelate": (make("pixelate", T=1, filter="area"), 1),
    "inpaint": (make("inpaint", T=20, center="random"), 15),
    "decolor": (make("decolor", T=5), 4),
    "mask_to_color": (make("mask_to_color", T=8), 5),
}


def gaussian(D: Degradation, spread: float = SPREAD, mean: float = MEAN) -> BaseRestorer:
    """The exact restorer of independent Gaussian pixels."""

    def restore(x_t: Tensor, t: Tensor) -> Tensor:
        a_t, b_t = D.coefficients(t, x_t)
        return mean + a_t * spread**2 / (a_t**2 * spread**2 + b_t**2) * (x_t - a_t * mean)

    return FunctionRestorer(restore, D)


def dense(D: Degradation, t: int, z: object) -> tuple[Tensor, Tensor]:
    """A (n, n) and b (n,) with D(x, t, z) = A x + b, column by column."""
    n = torch.Size(SHAPE).numel()
    units = torch.eye(n, dtype=torch.float64).view(n, *SHAPE)
    zs = degrade.map_params(lambda v: v[:1].expand(n, *v.shape[1:]), z)
    b = D(torch.zeros_like(units), expand_level(t, units), zs).flatten(1)
    return (D(units, expand_level(t, units), zs).flatten(1) - b).T, b[0]


def measure(name: str, n: int = 1, seed: int = 0) -> tuple[Measurement, Tensor, Tensor]:
    """A measurement of n Gaussian images that share z, with the dense operator."""
    D, t = MEASUREMENTS[name]
    generator = torch.Generator().manual_seed(seed)
    x0 = MEAN + SPREAD * torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64)
    z = degrade.map_params(lambda v: v[:1].expand(n, *v.shape[1:]), D.draw(x0, generator))
    y = D(x0, expand_level(t, x0), z)
    y = y + NOISE * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return Measurement(D, y, expand_level(t, y), z, NOISE), *dense(D, t, z)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_the_pseudo_inverse_is_the_posterior_mean_of_independent_pixels(name):
    m, A, b = measure(name, n=3)
    R = gaussian(NOISE_MODEL)
    x_t = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.tensor([3, 40, 95])
    a_t, b_t = NOISE_MODEL.coefficients(t, x_t)
    variance = SPREAD**2 * b_t**2 / (a_t**2 * SPREAD**2 + b_t**2)
    prior = R(x_t, t)
    expected = torch.empty_like(x_t)
    for i, r2 in enumerate(variance.flatten()):
        gain = r2 * A.T @ torch.linalg.inv(r2 * A @ A.T + NOISE**2 * torch.eye(len(A), dtype=torch.float64))
        known = prior[i].flatten()
        expected[i] = (known + gain @ (m.y[i].flatten() - A @ known - b)).view(SHAPE)
    found = Conditioned(R, m, PseudoInverse(spread=SPREAD))(x_t, t)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("rule", RULES.names())
def test_a_measurement_that_tells_nothing_changes_nothing_and_one_that_tells_all_is_believed(rule):
    D = make("decolor", T=5)
    x_t, t = torch.randn(2, *SHAPE, dtype=torch.float64), torch.tensor([30, 60])
    y = torch.randn(2, *SHAPE, dtype=torch.float64) / 2
    R = gaussian(NOISE_MODEL)
    deaf = Conditioned(R, Measurement(D, y, torch.tensor([2, 2]), noise=1e8), rule)(x_t, t)
    torch.testing.assert_close(deaf, R(x_t, t), rtol=0, atol=1e-6)
    if rule != "gradient":  # which takes one step of a length that suits A A^T = 1 only
        known = PseudoInverse(spread=SPREAD) if rule == "pseudo_inverse" else rule  # which must know the spread
        sure = Conditioned(R, Measurement(D, y, torch.tensor([2, 2]), noise=1e-7), known)(x_t, t)
        torch.testing.assert_close(D(sure, torch.tensor([2, 2])), y, rtol=0, atol=1e-5)


def test_the_gradient_is_the_posterior_mean_where_the_operator_keeps_lengths():
    @degrade.register("shift_for_test")
    class Shift(Degradation):
        """Every level moves the image by one pixel."""

        T: degrade.NumLevels = 3
        affine = True

        def apply(self, x0, t, z):
            return torch.stack([image.roll(int(level), -1) for image, level in zip(x0, t)])

    D, y = Shift(), torch.randn(2, *SHAPE, dtype=torch.float64)
    x_t, t = torch.randn(2, *SHAPE, dtype=torch.float64), torch.tensor([10, 70])
    m = Measurement(D, y, torch.tensor([1, 2]), noise=NOISE)
    R = gaussian(NOISE_MODEL)
    found, expected = (Conditioned(R, m, rule(spread=SPREAD))(x_t, t) for rule in (Gradient, PseudoInverse))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["snow", "jpeg"])
def test_a_measurement_that_is_not_affine_is_followed_down_its_gradient(name):
    D = make(name, T=4)
    x0 = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    z = D.draw(x0, torch.Generator().manual_seed(1))
    y = D(x0, torch.tensor([3, 3]), z)
    x_t, t = 0.8 * x0, torch.tensor([30, 30])
    R = gaussian(NOISE_MODEL)
    misfits = [
        (y - D(restorer(x_t, t), torch.tensor([3, 3]), z)).square().mean()
        for restorer in (R, Conditioned(R, Measurement(D, y, torch.tensor([3, 3]), z), Gradient(scale=0.2)))
    ]
    assert misfits[1] < misfits[0]


@pytest.mark.parametrize("rule", [PseudoInverse, Gradient])
def test_the_step_of_guidance_has_the_best_length(rule):
    """For R(x_t) = M x_t / a_t, whose C = q_t M^T is known: no other length fits N(x0_hat, C) and y better."""
    D, t = MEASUREMENTS["blur"]
    y, x_t = torch.randn(2, 2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level, severity = expand_level(40, y), expand_level(t, y)
    a_t, b_t = NOISE_MODEL.coefficients(level, y)
    smooth = make("blur", T=1, sigmas="constant:sigma=1.5", kernel_size=5, padding_mode="circular")
    R = FunctionRestorer(lambda x_t, t: smooth(x_t / a_t, expand_level(1, x_t)), NOISE_MODEL)
    m = Measurement(D, y, severity, noise=NOISE)
    x0_hat = R(x_t, level)
    step, unit = (Conditioned(R, m, rule(scale=scale))(x_t, level) - x0_hat for scale in (None, 1.0))
    k = (step * unit).sum((1, 2, 3), keepdim=True) / unit.square().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(step, k * unit, rtol=0, atol=1e-12)
    assert ((k > 0.01) & (k < 4) & ((k - 1).abs() > 0.01)).all()
    pulled = smooth.prox(0 * unit, unit / (b_t / a_t) ** 2, expand_level(1, y), None, 1e-12)  # C^-1 unit

    def objective(k: Tensor) -> Tensor:
        misfit = (y - D(x0_hat + k * unit, severity)).square().sum((1, 2, 3))
        return misfit / NOISE**2 + k.flatten() ** 2 * (pulled * unit).sum((1, 2, 3))

    assert (objective(k) < torch.minimum(objective(0.99 * k), objective(1.01 * k))).all()


@pytest.mark.parametrize("rule", ["pseudo_inverse", "gradient"])
def test_guidance_does_not_diverge_where_neighbors_are_alike(rule):
    """A Gaussian field with the spectrum of photographs, its exact restorer, and a walk by the rule's defaults."""
    f = torch.fft.fftfreq(32, dtype=torch.float64)
    S = 1 / (0.02 + torch.hypot(f[:, None], f[None])) ** 3
    S = S * 0.16 / S.mean()

    def filtered(x: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.ifft2(gain * torch.fft.fft2(x)).real

    noise_model = make("gaussian_noise", T=1000)

    def restore(x_t: Tensor, t: Tensor) -> Tensor:
        a_t, b_t = noise_model.coefficients(t, x_t)
        return filtered(x_t, a_t * S / (a_t**2 * S + b_t**2))

    generator = torch.Generator().manual_seed(0)
    x0, z = (torch.randn(2, 1, 32, 32, generator=generator, dtype=torch.float64) for _ in range(2))
    x0 = filtered(x0, S.sqrt())
    D, t = make("pixelate", T=1), torch.tensor([1, 1])
    m = Measurement(D, D(x0, t), t)

    def error(rule: str) -> float:
        R = Conditioned(FunctionRestorer(restore, noise_model), m, rule)
        walked = sample(R, Ancestral(), z, z, steps=20, generator=torch.Generator().manual_seed(1))
        return float((walked - x0).square().mean().sqrt())

    degraded = float((m.y - x0).square().mean().sqrt())
    assert error(rule) < 1.5 * degraded, "a draw of the posterior has sqrt(2) times the error of its mean"
    assert error(f"{rule}:scale=1") > 10 * degraded


def test_descent_reaches_the_proximal_map_where_there_is_one_and_a_better_fit_where_there_is_none():
    m, _, _ = measure("blur", n=2)
    near = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rho = torch.tensor([0.05, 0.5]).double().view(-1, 1, 1, 1)
    found = descend(lambda v: m.degradation(v, m.t, m.z), near, m.y, rho, 100)
    torch.testing.assert_close(found, m.degradation.prox(near, m.y, m.t, m.z, rho.flatten()), rtol=0, atol=1e-6)
    D, t = make("jpeg", T=4), torch.tensor([3, 3])
    x0 = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double() - 0.5
    y, near = D(x0, t), (0.7 * x0 + 0.1)
    values = [
        (D(v, t) - y).square().sum((1, 2, 3)) + rho.flatten() * (v - near).square().sum((1, 2, 3))
        for v in (near, *(descend(lambda v: D(v, t), near, y, rho, steps) for steps in (1, 8)))
    ]
    assert (values[1] < 0.9 * values[0]).all()
    assert (values[2] < 0.9 * values[1]).all()
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    R, level = gaussian(NOISE_MODEL), torch.tensor([30, 60])
    a_t, b_t = NOISE_MODEL.coefficients(level, x_t)
    expected = descend(lambda v: D(v, t), R(x_t, level), y, 2 * NOISE**2 * (a_t / b_t) ** 2)
    found = Conditioned(R, Measurement(D, y, t, noise=NOISE), Proximal(2.0))(x_t, level)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["blur", "pixelate"])
def test_walks_end_at_the_posterior(name):
    m, A, b = measure(name)
    n = 2000
    eye = torch.eye(len(A), dtype=torch.float64)
    gain = SPREAD**2 * A.T @ torch.linalg.inv(SPREAD**2 * A @ A.T + NOISE**2 * eye)
    mean = MEAN + gain @ (m.y.flatten() - A @ torch.full((len(A),), MEAN, dtype=torch.float64) - b)
    covariance = SPREAD**2 * (eye - gain @ A)
    D = make("gaussian_noise", T=200, schedule="cosine")
    R = Conditioned(gaussian(D), m, PseudoInverse(spread=SPREAD))
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64)
    ends = sample(R, Ancestral(), z, z, generator=generator).flatten(1)
    error = (ends.mean(0) - mean).abs() / (covariance.diagonal() / n).sqrt()
    assert error.max() < 5, "in standard errors, the largest of 72"
    off = (ends.T.cov() - covariance).abs().max()
    assert off < 6 * SPREAD**2 * (2 / n) ** 0.5, off


def test_all_noise_drawn_again_is_a_step_of_ddrm_where_pixels_are_known_exactly():
    """Kawar et al., eq. 8, eta = eta_b = 1: s is 1 or 0 under a mask, so x_s is y + b_s eps or x0_hat + b_s eps."""
    D = make("inpaint", T=3, sigmas=(1e-3, 1e-3, 1e-3))  # one pixel is lost, entirely
    y = D(torch.randn(2, *SHAPE, dtype=torch.float64), torch.tensor([3, 3]))
    lost = D.missing(y, torch.tensor([3, 3]))
    assert lost.sum() == 2
    x_t, R = torch.randn(2, *SHAPE, dtype=torch.float64), gaussian(NOISE_MODEL)
    t, s = torch.tensor([80, 80]), torch.tensor([30, 30])
    conditioned = Conditioned(R, Measurement(D, y, torch.tensor([3, 3]), noise=1e-9), "projection")
    at = StepInput(x_t, t, s, generator=torch.Generator().manual_seed(0))
    found = Ancestral(1.0, "constant").step(conditioned, at).x_s
    eps = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a_s, b_s = NOISE_MODEL.coefficients(s, x_t)
    expected = a_s * torch.where(lost, R(x_t, t), y) + b_s * eps
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_it_walks_with_every_sampler_and_inside_inference_mode():
    m, _, _ = measure("blur")
    z = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for rule in RULES.names():
        R = Conditioned(gaussian(NOISE_MODEL), m, rule)
        x_0 = sample(R, Algorithm2(), z, z, steps=4)
        assert x_0.isfinite().all()
        assert not x_0.is_inference()


def test_a_cold_restorer_is_held_to_the_picture_by_projection():
    D = make("blur", T=6, kernel_size=5, sigmas="constant:sigma=1", padding_mode="symmetric")
    x0 = torch.randn(2, *SHAPE, dtype=torch.float64) / 2
    t = torch.tensor([2, 2])
    y = D(x0, t)
    R = FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), D)
    held = Conditioned(R, Measurement(D, y, t, noise=1e-9), Projection())(y, t)
    torch.testing.assert_close(D(held, t), y, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        ({"noise": 0.0}, "projection", "noise is 0.0; .*above 0"),
        ({"noise": float("nan")}, "projection", "noise is nan"),
        ({"y": torch.zeros(3, 4, 6)}, "projection", "needs images"),
        (
            {"degradation": make("inpaint", T=8, center="random")},
            "projection",
            r"inpaint drew something in this picture \(its z\) that is not known: give its place, such as center=",
        ),
        (
            {"degradation": make("jpeg", T=3)},
            "projection",
            "an affine degradation, not 'jpeg': use the rule 'proximal'",
        ),
    ],
)
def test_what_cannot_be_conditioned_is_one_line(change, rule, message):
    m, _, _ = measure("blur")
    with pytest.raises(ValueError, match=message):
        Conditioned(gaussian(NOISE_MODEL), m._replace(**change), rule)


def test_a_cold_model_where_a_noise_model_is_needed_and_another_size_are_named():
    m, _, _ = measure("blur")
    cold = FunctionRestorer(nn.Identity(), make("blur", T=6))
    with pytest.raises(ValueError, match="needs a restorer of Gaussian noise, and this one restores 'blur'"):
        Conditioned(cold, m, "proximal")
    with pytest.raises(ValueError, match="their sizes must agree"):
        Conditioned(gaussian(NOISE_MODEL), m, "proximal")(torch.zeros(1, 3, 8, 8), torch.tensor([5]))
