"""The samplers beyond Algorithms 1 and 2: what each reduces to, and what it does that they do not."""

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
    StepOutput,
    direct,
    generate,
    renoise,
    sample,
    spaced_timesteps,
    trajectory,
)
from tests.cases import CASES, build, images
from tests.oracles import GaussianMean, imperfect

EXACT = {"rtol": 0, "atol": 1e-12}
SHAPE = (3, 12, 16)


def straight(T=12):
    return build("interpolation", {"T": T, "schedule": "rectified"}, SHAPE)


def start(D, n=2):
    x0 = images(n, *SHAPE)
    z = D.draw(x0, torch.Generator().manual_seed(1))
    return x0, z, D(x0, degrade.expand_level(D.T, x0), z)


def ends(D, R, step, x_T, z, times=None):
    return torch.stack(
        [
            visit.x_s
            for visit in trajectory(FunctionRestorer(R, D), step, x_T, z, times, torch.Generator().manual_seed(2))
        ]
    )


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


def same_walk(D, one, other, times=None, R=imperfect):
    _, z, x_T = start(D)
    torch.testing.assert_close(*(ends(D, R, step, x_T, z, times) for step in (one, other)), **EXACT)


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


@pytest.mark.parametrize("step", [Algorithm2(), Algorithm1(estimate=False), Heun(), DDPM()])
def test_wrapped_steps_that_do_nothing_are_the_inner_step(step):
    D = degrade.make("gaussian_noise", T=9)
    same_walk(D, AveragedPrediction(sampler=step, momentum=0), step)
    same_walk(D, RePaint(sampler=step, repeats=1), step)
    same_walk(D, MaskReplacement(sampler=step, image=images(1, *SHAPE), mask=torch.ones(1, 1, 1, 1)), step)


def test_the_average_is_exponential_and_is_the_guess_that_is_used():
    D = straight(4)
    _, z, x_T = start(D)

    def level(x_t, t):
        return t.to(x_t).view(-1, 1, 1, 1).expand_as(x_t)

    used = [
        visit.x0_hat[0, 0, 0, 0].item()
        for visit in trajectory(FunctionRestorer(level, D), AveragedPrediction(momentum=0.75), x_T, z)
    ]
    assert used == [4.0, 0.75 * 4 + 0.25 * 3, 3.75 * 0.75 + 0.25 * 2, 3.3125 * 0.75 + 0.25 * 1]
    # The memory belongs to the walk, not to the step: a second walk with the same step starts anew.
    again = [
        visit.x0_hat[0, 0, 0, 0].item()
        for visit in trajectory(FunctionRestorer(level, D), AveragedPrediction(momentum=0.75), x_T, z)
    ]
    assert again == used


def test_an_average_of_an_average_keeps_both_memories():
    D = straight(3)
    _, z, x_T = start(D)

    def level(x_t, t):
        return t.to(x_t).view(-1, 1, 1, 1).expand_as(x_t)

    nested = AveragedPrediction(sampler=AveragedPrediction(momentum=0.5), momentum=0.5)
    used = [visit.x0_hat[0, 0, 0, 0].item() for visit in trajectory(FunctionRestorer(level, D), nested, x_T, z)]
    inner = [3.0]
    outer = [3.0]
    for guess in (2.0, 1.0):  # the outer's average is of what the inner one used, which is what it was given, averaged
        outer_given = 0.5 * outer[-1] + 0.5 * guess
        inner.append(0.5 * inner[-1] + 0.5 * outer_given)
        outer.append(inner[-1])
    assert used == inner


def test_climbing_gaussian_noise_is_the_forward_process():
    """q(x_t | x_s) whatever the guess, and the z that is handed on explains where it led."""
    D = degrade.make("gaussian_noise", T=20, schedule="cosine")
    x0, eps, _ = start(D)
    t, s = (degrade.expand_level(level, x0) for level in (15, 6))
    x_s = D(x0, s, eps)
    x_t, z = renoise(D, StepOutput(x_s, x0, eps), s, t, torch.Generator().manual_seed(3))
    ab = D.schedule(D.T)[0] ** 2
    fresh = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    alpha = ab[15] / ab[6]
    torch.testing.assert_close(x_t, alpha.sqrt() * x_s + (1 - alpha).sqrt() * fresh, **EXACT)
    torch.testing.assert_close(D(x0, t, z), x_t, **EXACT)
    other, _ = renoise(D, StepOutput(x_s, -x0, None), s, t, torch.Generator().manual_seed(3))
    assert torch.equal(other, x_t)


@pytest.mark.parametrize("name", ["inpaint", "blur", "interpolation"])
def test_resampling_without_fresh_randomness_iterates_algorithm_1_and_leaves_algorithm_2(name):
    D = build(name, {"T": 8}, SHAPE)
    _, z, x_T = start(D)
    fixed = {"estimate": False}
    same_walk(D, RePaint(Algorithm2(**fixed), repeats=3), Algorithm2(**fixed))
    t, s = (degrade.expand_level(level, x_T) for level in (8, 3))
    walked = RePaint(Algorithm1(**fixed), repeats=3).step(FunctionRestorer(imperfect, D), StepInput(x_T, t, s, z))
    guess = imperfect(x_T, t)
    for _ in range(2):
        guess = imperfect(D(guess, t, z), t)
    torch.testing.assert_close(walked.x_s, D(guess, s, z), **EXACT)


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


def test_known_needs_an_image_and_a_mask():
    D = degrade.make("decolor")
    with pytest.raises(ValueError, match="give both"):
        trajectory(FunctionRestorer(imperfect, D), MaskReplacement(), images(1, *SHAPE))
    step = dataclasses.replace(MaskReplacement(BrownianBridge()), image=images(1, *SHAPE), mask=torch.ones(1))
    with pytest.raises(ValueError, match="which 'decolor' is not"):
        trajectory(FunctionRestorer(imperfect, D), step, images(1, *SHAPE))
