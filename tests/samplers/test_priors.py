"""Priors: x_T and the z in it belong together, whatever jitter is added."""

from __future__ import annotations

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers import (
    Algorithm1,
    Algorithm2,
    DatasetPrior,
    DegradedData,
    StandardNormal,
    fit_prior,
    generate,
    sample,
    trajectory,
)
from tests.cases import ARGUMENTS, build, images, partners, seed

SHAPE = (3, 12, 16)
MIXTURES = [
    ("gaussian_noise", {"T": 12}),
    ("gaussian_noise", {"T": 12, "schedule": "cosine"}),
    ("interpolation", {"T": 12}),
    ("interpolation", {"T": 12, "schedule": "rectified", "coupling": "optimal"}),
    ("compose", {"T": 12, "parts": ["decolor", {"name": "gaussian_noise", "arguments": {"T": 7}}]}),
]
every_mixture = pytest.mark.parametrize(("name", "arguments"), MIXTURES, ids=str)
every_jitter = pytest.mark.parametrize("jitter", [0.0, 0.002, 0.5])
cold = pytest.mark.parametrize("name", ["blur", "decolor", "pixelate", "inpaint"])


def clean(n, generator):
    """A source of clean images."""
    return partners(*SHAPE)(n, generator).roll(1, 0) * 0.8


def top(D, n):
    return torch.full((n,), D.T)


def every_prior(jitter=0.002):
    D = build("interpolation", {"T": 12}, SHAPE)
    return [
        StandardNormal(SHAPE, jitter=jitter),
        DatasetPrior(partners(*SHAPE), jitter=jitter),
        DegradedData(D, clean, jitter=jitter),
    ]


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_standard_normal_has_the_moments_it_says(jitter):
    x_T, z = StandardNormal((3, 32, 32), jitter=jitter)(64, seed(0))
    assert z is x_T
    assert x_T.shape == (64, 3, 32, 32)
    assert x_T.dtype == torch.float32
    assert abs(x_T.mean()) < 0.01 * (1 + jitter)
    assert x_T.var() == pytest.approx(1 + jitter**2, rel=0.015)
    standard = x_T / (1 + jitter**2) ** 0.5
    assert standard.pow(4).mean() == pytest.approx(3, rel=0.03)
    neighbors = (standard[..., 1:] * standard[..., :-1]).mean()
    assert abs(neighbors) < 0.01


def test_the_jitter_is_drawn_apart_from_what_it_is_added_to():
    """One and the same noise twice would give a variance of (1 + jitter)^2."""
    plain, add_noise = (StandardNormal((3, 32, 32), jitter=jitter)(16, seed(0)).x_T for jitter in (0.0, 0.5))
    added = (add_noise - plain) / 0.5
    assert added.std() == pytest.approx(1, rel=0.02)
    assert abs((added * plain).mean()) < 0.02


@every_jitter
def test_another_set_starts_at_z_with_the_jitter_in_it(jitter):
    x_T, z = DatasetPrior(partners(*SHAPE), jitter=jitter)(40, seed(1))
    assert torch.equal(z, x_T)
    drawn = partners(*SHAPE)(40, seed(1))
    assert x_T.dtype == drawn.dtype
    assert (x_T - drawn).std().item() == pytest.approx(jitter, rel=0.03)
    assert abs((x_T - drawn).mean()) <= 0.02 * jitter


@every_jitter
@every_mixture
def test_z_of_degraded_images_explains_them(name, arguments, jitter):
    """D(x0, T, z) = x_T, jitter included."""
    D = build(name, arguments, SHAPE)
    x_T, z = DegradedData(D, clean, jitter=jitter)(8, seed(2))
    x0 = clean(8, seed(2))
    torch.testing.assert_close(D(x0, top(D, 8), z), x_T, rtol=0, atol=1e-12)
    plain = DegradedData(D, clean)(8, seed(2)).x_T
    assert (x_T - plain).std().item() == pytest.approx(jitter, rel=0.05)


@every_jitter
@every_mixture
@pytest.mark.parametrize("step", [Algorithm2(estimate=False), Algorithm2(), Algorithm1(estimate=False)], ids=str)
def test_with_a_perfect_restorer_x0_comes_back_through_the_jitter(name, arguments, jitter, step):
    D = build(name, arguments, SHAPE)
    x_T, z = DegradedData(D, clean, jitter=jitter)(4, seed(3))
    x0 = clean(4, seed(3))
    torch.testing.assert_close(sample(FunctionRestorer(lambda x_t, t: x0, D), step, x_T, z), x0, rtol=0, atol=1e-12)


@every_mixture
def test_a_walk_with_fixed_z_stays_on_the_trajectory_of_its_prior(name, arguments):
    """With the z from before the jitter, the same walk misses x0 by all of it."""
    D = build(name, arguments, SHAPE)
    x_T, z = DegradedData(D, clean, jitter=0.5)(4, seed(3))
    _, ignorant = DegradedData(D, clean)(4, seed(3))
    x0 = clean(4, seed(3))
    step = Algorithm2(estimate=False)
    for visit in trajectory(FunctionRestorer(lambda x_t, t: x0, D), step, x_T, z):
        torch.testing.assert_close(visit.x_s, D(x0, torch.full((4,), visit.s), z), rtol=0, atol=1e-12)
    missed = sample(FunctionRestorer(lambda x_t, t: x0, D), step, x_T, ignorant) - x0
    assert missed.std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    "prior", [StandardNormal(SHAPE, jitter=0.3), DatasetPrior(partners(*SHAPE), jitter=0.3)], ids=["noise", "set"]
)
@pytest.mark.parametrize("name", ["gaussian_noise", "interpolation"])
def test_where_no_image_is_left_at_T_x_T_is_z(prior, name):
    D = build(name, {"T": 10, "schedule": "rectified"}, SHAPE)
    x_T, z = prior(4, seed(4))
    x0 = images(4, *SHAPE).to(x_T)
    assert torch.equal(D(x0, top(D, 4), z), x_T)
    x_0 = sample(FunctionRestorer(lambda x_t, t: x0, D), Algorithm2(estimate=False), x_T, z)
    torch.testing.assert_close(x_0, x0, rtol=0, atol=1e-5 if x_T.dtype == torch.float32 else 1e-12)


@cold
def test_degraded_images_without_jitter_are_those_of_the_degradation(name):
    D = build(name, ARGUMENTS[name][0], SHAPE)
    x_T, z = DegradedData(D, lambda n, g: images(n, 3, 16, 16))(3, seed(5))
    x0 = images(3, 3, 16, 16)
    expected = D.draw(x0, seed(5))
    assert z is None if expected is None else torch.equal(z, expected)
    assert torch.equal(x_T, D(x0, top(D, 3), z))


@cold
def test_jitter_is_added_to_degraded_images_of_any_kind(name):
    D = build(name, ARGUMENTS[name][0], SHAPE)
    x0 = images(6, *SHAPE)
    x_T, z = DegradedData(D, lambda n, g: x0[:n], jitter=0.1)(6, seed(5))
    assert (x_T - D(x0, top(D, 6), z)).std() == pytest.approx(0.1, rel=0.05)


def test_a_broken_symmetry_tells_constant_images_apart():
    """What jitter is for: two blurred images that are the same color need not become the same image."""
    D = degrade.make("blur", T=5, mean_at_T=True)
    prior = DegradedData(D, lambda n, g: torch.full((n, *SHAPE), 0.3), jitter=0.002)
    x_T, _ = prior(2, seed(0))
    assert (x_T[0] - x_T[1]).std() == pytest.approx(0.002 * 2**0.5, rel=0.1)


@pytest.mark.parametrize("index", range(3))
def test_a_start_is_a_function_of_the_generator(index):
    prior, state = every_prior()[index], torch.get_rng_state()
    generator = seed(6)
    first, next_one, again = prior(4, generator), prior(4, generator), prior(4, seed(6))
    assert torch.equal(first.x_T, again.x_T)
    assert torch.equal(first.z, again.z)
    assert not torch.equal(first.x_T, next_one.x_T)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.x_T.shape == first.z.shape == (4, *SHAPE)


@pytest.mark.parametrize("index", range(3))
def test_without_jitter_no_number_is_drawn_for_it(index):
    quiet, loud = every_prior(0.0)[index], every_prior(0.002)[index]
    generators = seed(7), seed(7)
    a, b = quiet(2, generators[0]), loud(2, generators[1])
    assert 0 < (a.x_T - b.x_T).abs().max() < 0.02
    assert not torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("jitter", [-0.002, float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "prior",
    [
        lambda jitter: StandardNormal(SHAPE, jitter=jitter),
        lambda jitter: DatasetPrior(clean, jitter=jitter),
        lambda jitter: DegradedData(degrade.make("decolor"), clean, jitter=jitter),
    ],
    ids=["noise", "set", "degraded"],
)
def test_a_negative_jitter_is_refused_at_once(prior, jitter):
    with pytest.raises(ValueError, match=r"jitter\n.*(greater than or equal to 0|finite number)"):
        prior(jitter)


def test_standard_normal_lies_where_it_is_asked_for():
    assert StandardNormal(SHAPE, device="meta")(2, seed(0)).x_T.device.type == "meta"
    assert StandardNormal(SHAPE)(0, seed(0)).x_T.shape == (0, *SHAPE)


def test_a_prior_is_frozen():
    for prior in every_prior():
        with pytest.raises(AttributeError):
            prior.jitter = -1.0


def test_starts_that_no_image_comes_to_are_named_where_they_are_chosen():
    """The schedule of 1000 levels, cut at 100, keeps 0.6 of an image."""
    a, b = degrade.make("gaussian_noise", T=1000).schedule(1000)
    table = {"name": "table", "arguments": {"a": tuple(a[:101].tolist()), "b": tuple(b[:101].tolist())}}
    short = degrade.make("gaussian_noise", T=100, schedule=table)
    said = (
        r"standard_normal starts from x_T = z, but gaussian_noise leaves x_T ="
        r" 0.\d+ x0 \+ 0.\d+ z at T = 100: off by 0.\d+"
    )
    prior = StandardNormal(SHAPE)
    for choose in (
        lambda: prior.check_compatible(short),
        lambda: fit_prior(short, images(8, *SHAPE), "standard_normal"),
    ):
        with pytest.warns(UserWarning, match=said):
            choose()
    prior.check_compatible(degrade.make("gaussian_noise", T=1000))
    prior.check_compatible(degrade.make("gaussian_noise", T=10, schedule="cosine"))
    with pytest.raises(ValueError, match="x_T = z, which is no image of 'blur': use fit_prior"):
        prior.check_compatible(degrade.make("blur"))


def test_a_prior_of_another_degradation_than_that_of_the_restorer_is_refused():
    prior = DegradedData(degrade.make("decolor", T=4), clean)
    prior.check_compatible(degrade.make("decolor", T=4))
    R = FunctionRestorer(lambda x_t, t: x_t, degrade.make("decolor", T=5))
    with pytest.raises(ValueError, match=r"'degraded_data' is made with .*T=4.*, and R undoes .*T=5"):
        generate(R, "algorithm2", prior, 1)


def test_priors_that_draw_from_different_sources_are_not_equal():
    D = degrade.make("decolor")
    assert DatasetPrior(clean) == DatasetPrior(clean) != DatasetPrior(lambda n, generator: clean(n, generator))
    assert DegradedData(D, clean) == DegradedData(D, clean) != DegradedData(degrade.make("decolor", T=3), clean)


@pytest.mark.parametrize("kind", ["degraded_zero", "uniform_color"])
def test_imagined_starts_are_compared_with_what_the_degradation_makes_of_images(kind):
    x0 = images(8, *SHAPE)
    with pytest.warns(UserWarning, match=rf"{kind} starts are off by 0.\d+ \(rms\) from what pixelate makes"):
        fit_prior(degrade.make("pixelate", T=1), x0, kind)
    fit_prior(degrade.make("gaussian_noise", T=1000), x0, kind)
