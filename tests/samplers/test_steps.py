"""What each sampler beyond Algorithms 1 and 2 reduces to, and the precision that all of them keep."""

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
    AveragedPrediction,
    BrownianBridge,
    Heun,
    InDI,
    MaskReplacement,
    RePaint,
    StandardNormal,
    StepInput,
    direct,
    generate,
    sample,
    spaced_timesteps,
    trajectory,
)
from tests.cases import CASES, build, images
from tests.oracles import GaussianMean, imperfect
from tests.walks import EXACT, SHAPE, ends, start, straight


def test_a_function_without_a_degradation_is_refused_with_the_remedy():
    x_T, prior = images(1, 3, 4, 4), StandardNormal((3, 4, 4))
    for call in (
        lambda: trajectory(imperfect, "algorithm2", x_T),
        lambda: sample(imperfect, "algorithm2", x_T),
        lambda: direct(imperfect, x_T, 1),
        lambda: generate(imperfect, "algorithm2", prior, 1),
    ):
        with pytest.raises(ValueError, match=r"^R is .*, not a restorer; pass restore\.FunctionRestorer\("):
            call()


@dataclasses.dataclass(frozen=True)
class OwnNoise(degrade.Degradation):
    """x_t = x0 + t / T z of a class of its own, which declares that it is Gaussian noise."""

    T: int = 12
    additive = gaussian = True
    identifiable = True

    def draw(self, x0, generator=None):
        return torch.randn(x0.shape, generator=generator, dtype=x0.dtype)

    def coefficients(self, t, like):
        b = (t / self.T).to(like)[:, None, None, None] * 0.9
        return (1 - b**2).sqrt(), b

    def apply(self, x0, t, z):
        a_t, b_t = self.coefficients(t, x0)
        return a_t * x0 + b_t * z

    def estimate(self, x_t, x0, t, z):
        a_t, b_t = self.coefficients(t, x_t)
        return (x_t - a_t * x0) / b_t


@pytest.mark.parametrize(
    "sampler", [DDPM(), DDIM(0.5), BrownianBridge(0.1), RePaint(DDPM(), repeats=2)], ids=lambda sampler: sampler.name
)
def test_what_declares_gaussian_noise_is_sampled_as_such(sampler):
    """The table of the same schedule makes `gaussian_noise` the same process."""
    own = OwnNoise()
    a, b = (v.flatten().tolist() for v in own.coefficients(torch.arange(13), images(1, 1, 1, 1)))
    noise = degrade.make("gaussian_noise", T=12, schedule={"name": "table", "arguments": {"a": a, "b": b}})
    _, z, x_T = start(own)
    torch.testing.assert_close(*(ends(D, imperfect, sampler, x_T, z) for D in (own, noise)), **EXACT)


@pytest.mark.parametrize("schedule", ["cosine", "rectified"])
def test_heun_is_of_second_order_and_algorithm2_of_first(schedule):
    """Gaussian data, exact posterior mean: with small steps x_t - a_t mean goes as (a_t^2 c + b_t^2)^(1/2)."""
    n, c, mean = 4, 0.3, 0.2
    x_t = images(1, 1, 2, 2, seed=3)

    def error(step, steps):
        # Every level is visited, so nothing but the size of the steps differs.
        D = degrade.make("gaussian_noise", T=2 * steps, schedule=schedule)
        R = GaussianMean(D, torch.full((n,), mean).double(), c * torch.eye(n, dtype=torch.float64))
        times = list(range(steps * 7 // 4, steps * 3 // 4 - 1, -1))
        (a_t, b_t), (a_s, b_s) = (D.coefficients(torch.tensor([level]), x_t) for level in (times[0], times[-1]))
        exact = a_s * mean + (x_t - a_t * mean) * ((a_s**2 * c + b_s**2) / (a_t**2 * c + b_t**2)).sqrt()
        return float((sample(FunctionRestorer(R, D), step, x_t, None, times) - exact).abs().max())

    for step, order in ((Algorithm2(), 1), (Heun(), 2)):
        coarse, fine = error(step, 16), error(step, 64)
        assert abs(math.log(coarse / fine, 4) - order) < 0.1, f"{step}: {coarse} -> {fine}"
    assert error(Heun(), 16) < error(Algorithm2(), 32) / 5  # at the same number of guesses


@pytest.mark.parametrize(
    "step",
    [Heun(), Heun(estimate=False), AveragedPrediction(), AveragedPrediction(sampler=Heun()), RePaint(Algorithm1())],
)
@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_with_a_perfect_restorer_the_walk_is_the_degradation(name, arguments, step):
    """Identity 3, where Heun, too, is Algorithm 2."""
    D = build(name, arguments, SHAPE)
    x0, z, x_T = start(D)
    for visit in trajectory(FunctionRestorer(lambda x_t, t: x0, D), step, x_T, z, spaced_timesteps(D.T, min(D.T, 6))):
        # Resampling renews Gaussian noise, and says what it is now.
        mine = visit.z if (name, type(step)) == ("gaussian_noise", RePaint) else z
        torch.testing.assert_close(visit.x_s, D(x0, degrade.expand_level(visit.s, x0), mine), rtol=0, atol=1e-10)
    torch.testing.assert_close(visit.x_s, x0, rtol=0, atol=1e-10)


def test_heun_ends_with_eulers_step_and_never_asks_at_severity_0():
    D, asked = straight(), []
    _, z, x_T = start(D)

    def watched(x_t, t):
        asked.append(t.tolist())
        return imperfect(x_t, t)

    x_s = ends(D, watched, Heun(), x_T, z, [12, 5, 0])
    assert asked == [[12, 12], [5, 5], [5, 5]]
    last = (
        Algorithm2()
        .step(FunctionRestorer(imperfect, D), StepInput(x_s[0], torch.tensor([5, 5]), torch.tensor([0, 0])))
        .x_s
    )
    torch.testing.assert_close(x_s[-1], last, **EXACT)
    mixed = Heun().step(FunctionRestorer(watched, D), StepInput(x_T, torch.tensor([12, 5]), torch.tensor([5, 0]))).x_s
    alone = [
        Heun().step(FunctionRestorer(imperfect, D), StepInput(x_T[i : i + 1], torch.tensor([t]), torch.tensor([s]))).x_s
        for i, t, s in [(0, 12, 5), (1, 5, 0)]
    ]
    torch.testing.assert_close(mixed, torch.cat(alone), **EXACT)
    assert min(map(min, asked)) >= 1


HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "step",
    [
        *(
            Algorithm1(),
            Algorithm2(),
            Algorithm2(estimate=False),
            DDPM(),
            DDPM("large"),
            BrownianBridge(),
            Heun(),
            InDI(),
        ),
        *(
            AveragedPrediction(),
            RePaint(DDPM(), 2),
            RePaint(Algorithm2(), 2),
            MaskReplacement(),
            MaskReplacement(rule="guidance"),
        ),
    ],
    ids=str,
)
def test_a_walk_keeps_the_precision_of_its_images(step, dtype):
    """R meets no other, and where the walk leads is near to where that of the same images in float32 does."""
    D = degrade.make("gaussian_noise", T=300, schedule="cosine")
    x0 = images(2, *SHAPE).to(dtype)
    if isinstance(step, MaskReplacement):
        step = dataclasses.replace(step, image=x0, mask=torch.zeros(1, 1, *SHAPE[1:]))

    def walked(x0):
        def R(x_t, t):
            assert x_t.dtype == x0.dtype
            return (0.3 * x_t + 0.5 * x0).to(x0)

        x_T, z = D(x0, degrade.expand_level(299, x0), noise.to(x0)), noise.to(x0)
        visits = list(
            trajectory(FunctionRestorer(R, D), step, x_T, z, [299, 257, 100, 30, 0], torch.Generator().manual_seed(0))
        )
        assert {visit.x_s.dtype for visit in visits} == {x0.dtype}
        return visits[-1].x_s.float()

    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(4))
    coarse = 0.1 if dtype == torch.bfloat16 else 0.02
    assert (walked(x0) - walked(x0.float())).abs().max() < coarse
