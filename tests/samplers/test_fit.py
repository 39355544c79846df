"""Fitted priors: their moments are those of the data, and what they need to know of an image is measured."""

from __future__ import annotations

import json

import pytest
import torch

import degrade
from degrade.random import seeded_generator
from samplers import (
    PRIORS,
    DatasetPrior,
    DegradedData,
    DegradedZero,
    FitOptions,
    LowResolution,
    StandardNormal,
    UniformColor,
    fit_prior,
    measure_remaining_detail,
)
from samplers.priors.fit import fit_thumbnail, tensor_source
from samplers.priors.low_resolution import UPSAMPLINGS, downsample, upsample
from tests.cases import build, images, partners, seed

SHAPE = (3, 16, 16)
AREA = degrade.make("pixelate", T=3, filter="area")  # 16 pixels become 2 x 2
TO_MEAN = {"T": 5, "padding_mode": "circular", "mean_at_T": True}
WEIGHTS = (0.25, 0.75)
MEANS = ((-0.5, -0.5, -0.5, -0.5), (0.5, 0.0, 0.25, 0.5))


def covariance(seed):
    root = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.01 * (root @ root.T + torch.eye(4))


COVARIANCES = tuple(tuple(map(tuple, covariance(seed).tolist())) for seed in (0, 1))


def mixture(**more):
    return LowResolution(AREA, (1, 16, 16), 2, "blocks", WEIGHTS, MEANS, COVARIANCES, **more)


def every_prior(jitter=0.0):
    D = build("compose", {"T": 6, "parts": ["decolor", {"name": "gaussian_noise", "arguments": {"T": 7}}]}, SHAPE)
    x0 = images(200, *SHAPE)
    return [
        StandardNormal(SHAPE, jitter=jitter),
        DatasetPrior(partners(*SHAPE), jitter=jitter),
        DegradedData(D, partners(*SHAPE), jitter=jitter),
        DegradedZero(degrade.make("mask_to_color", T=4, sigmas="incremental:step=2"), SHAPE, jitter=jitter),
        UniformColor(D, SHAPE, (-0.5, 0.0, 0.0), (0.5, 0.0, 1.0), jitter=jitter),
        fit_prior(D, x0, "low_resolution", FitOptions(k=2, components=2, jitter=jitter)),
    ]


def test_draws_of_a_mixture_have_its_moments():
    x_T, z = mixture()(40_000, seed(0))
    y = downsample(x_T.double(), "blocks", 2).flatten(1)
    torch.testing.assert_close(upsample(y.view(-1, 1, 2, 2), "blocks", 16, 16).float(), x_T, rtol=0, atol=1e-6)
    assert z is None
    upper = y.sum(1) > -0.6  # between the two components' sums, -2 and 1.25
    assert upper.double().mean() == pytest.approx(WEIGHTS[1], abs=0.01)
    for component, rows in enumerate((y[~upper], y[upper])):
        S = torch.tensor(COVARIANCES[component]).double()
        torch.testing.assert_close(rows.mean(0), torch.tensor(MEANS[component]).double(), rtol=0, atol=0.01)
        torch.testing.assert_close(rows.T.cov(), S, rtol=0, atol=0.03 * float(S.diagonal().max()))


def test_one_component_is_the_mean_and_covariance_of_the_data():
    """Exactly, but for what scikit-learn adds to the variances so that they are never 0."""
    x0 = images(300, 1, 16, 16)
    prior = fit_prior(AREA, x0)
    assert (prior.k, prior.upsampling, prior.weights) == (2, "blocks", (1.0,))
    y = torch.nn.functional.avg_pool2d(x0, 8).flatten(1)
    torch.testing.assert_close(torch.tensor(prior.means[0]), y.mean(0), check_dtype=False, rtol=0, atol=1e-9)
    expected = y.T.cov(correction=0) + 1e-6 * torch.eye(4)
    torch.testing.assert_close(torch.tensor(prior.covariances[0]).double(), expected, rtol=0, atol=1e-7)


def test_a_mixture_is_found_again_in_its_own_draws():
    x0 = mixture().images(8000, seed(1))
    prior = fit_prior(AREA, x0, options=FitOptions(components=2))
    order = sorted(range(2), key=lambda i: prior.weights[i])
    assert [prior.weights[i] for i in order] == pytest.approx(WEIGHTS, abs=0.02)
    for mine, true in zip(order, range(2)):
        assert prior.means[mine] == pytest.approx(MEANS[true], abs=0.02)
        S = torch.tensor(COVARIANCES[true])
        torch.testing.assert_close(torch.tensor(prior.covariances[mine]), S, rtol=0, atol=0.06 * float(S.max()))


def test_starts_from_a_fitted_prior_have_the_moments_of_degraded_images():
    D, x0 = degrade.make("blur", **TO_MEAN), images(3000, *SHAPE)
    x_T = fit_prior(D, x0)(20_000, seed(2)).x_T
    color = x_T[:, :, 0, 0].double()
    assert (x_T - color[:, :, None, None]).abs().max() < 1e-5
    true = x0.mean((2, 3))
    torch.testing.assert_close(color.mean(0), true.mean(0), rtol=0, atol=0.01)
    torch.testing.assert_close(color.T.cov(), true.T.cov(), rtol=0.05, atol=0.005)


@pytest.mark.parametrize(
    ("name", "arguments", "k"),
    [
        ("gaussian_noise", {"T": 20, "schedule": "rectified"}, 0),
        ("interpolation", {"T": 20}, 0),
        ("mask_to_color", {"T": 5, "sigmas": "incremental:step=2"}, 0),
        ("blur", TO_MEAN, 1),
        ("blur", {"T": 5, "cumulative_sigma": [1, 2, 4, 8, 24], "padding_mode": "symmetric"}, 1),
        ("pixelate", {"T": 4, "filter": "area"}, 1),
        ("pixelate", {"T": 3}, 2),
        ("pixelate", {"T": 2}, 4),
        ("decolor", {}, None),
        ("inpaint", {"T": 3}, None),
    ],
    ids=str,
)
def test_what_is_left_at_T_is_measured(name, arguments, k):
    D, x0 = build(name, arguments, SHAPE), images(60, *SHAPE)
    left = measure_remaining_detail(D, x0)
    assert (left and left.k) == k
    prior = fit_prior(D, x0)
    assert prior.name == {None: "degraded_data", 0: "degraded_zero"}.get(k, "low_resolution")
    assert getattr(prior, "k", k) == k


def test_a_degradation_of_ones_own_has_its_prior():
    class Upside(degrade.Degradation):
        """Every image turns upside down, and into its left column."""

        def apply(self, x0, t, z):
            return torch.where((t > 0).view(-1, 1, 1, 1), x0.flip(2)[..., :1].expand(x0.shape), x0)

    columns = images(100, 1, 4, 1).expand(100, 1, 4, 4)
    assert measure_remaining_detail(Upside(T=1), columns)[:2] == (4, "blocks")
    assert fit_prior(Upside(T=1), columns).k == 4


def test_a_version_is_corrected_by_what_the_degradation_tells():
    """Reflected borders count less than the middle, so the color that is left is not the mean."""
    D, x0 = degrade.make("blur", T=200), images(20, 3, 32, 32)
    x_T, t = D(x0, degrade.expand_level(200, x0)), degrade.expand_level(200, x0)
    plain, corrected = (
        (D(upsample(y, "blocks", 32, 32), t) - x_T).abs().max()
        for y in (downsample(x0, "blocks", 1), fit_thumbnail(D, x0, None, "blocks", 1))
    )
    assert 10 * corrected < 1e-3 < plain


@pytest.mark.parametrize("how", UPSAMPLINGS)
@pytest.mark.parametrize("size", [(12, 12), (13, 17)])
def test_the_small_version_of_an_enlarged_picture_is_itself(how, size):
    y = images(3, 2, 5, 5)
    torch.testing.assert_close(downsample(upsample(y, how, *size), how, 5), y, rtol=0, atol=1e-12)
    ones = torch.ones(1, 1, 5, 5).double()
    torch.testing.assert_close(upsample(ones, how, *size), torch.ones(1, 1, *size).double(), rtol=0, atol=1e-12)
    x0 = images(4, 2, *size)
    missed = x0 - upsample(downsample(x0, how, 5), how, *size)
    assert downsample(missed, how, 5).abs().max() < 1e-12  # the nearest enlarged picture


@pytest.mark.parametrize("index", range(6))
def test_a_prior_is_rebuilt_from_its_name_and_arguments(index):
    prior = every_prior(0.002)[index]
    arguments = json.loads(json.dumps(prior.arguments))
    again = PRIORS.make(prior.name, **arguments, **prior.runtime)
    assert again == prior
    assert torch.equal(again(3, seed(3)).x_T, prior(3, seed(3)).x_T)


@pytest.mark.parametrize("index", range(6))
def test_an_image_has_the_same_start_alone_and_in_a_batch(index):
    prior = every_prior(0.1)[index]
    together = prior(3, [seeded_generator("cpu", i) for i in range(3)])
    for i in range(3):
        alone = prior(1, [seeded_generator("cpu", i)])
        assert torch.equal(alone.x_T, together.x_T[i : i + 1])
        for one, many in zip(*(z if isinstance(z, tuple) else (z,) for z in (alone.z, together.z))):
            assert one is None if many is None else torch.equal(one, many[i : i + 1])


@pytest.mark.filterwarnings("ignore:.* starts are off by")
@pytest.mark.parametrize("jitter", [0.0, 0.3])
@pytest.mark.parametrize("name", ["gaussian_noise", "interpolation", "compose"])
def test_z_of_made_up_images_explains_the_jitter(name, jitter):
    noise = {"name": "gaussian_noise", "arguments": {"T": 7}}
    arguments = {"T": 6, "parts": ["decolor", noise]} if name == "compose" else {"T": 6}
    D, x0 = build(name, arguments, SHAPE), images(300, *SHAPE)
    priors = [fit_prior(D, x0, kind, FitOptions(jitter=jitter)) for kind in ("degraded_zero", "uniform_color")]
    for prior in [*priors, fit_prior(D, x0, "low_resolution", FitOptions(k=2, jitter=jitter))]:
        x_T, z = prior(4, seed(4))
        made_up = prior.images(4, seed(4))
        torch.testing.assert_close(
            D(made_up, degrade.expand_level(6, made_up), z), x_T, check_dtype=False, rtol=0, atol=1e-5
        )


def test_where_nothing_can_be_solved_z_is_the_one_drawn():
    D = degrade.make("mask_to_color", T=4, sigmas="incremental:step=2")
    x_T, color = fit_prior(D, images(8, *SHAPE).float(), options=FitOptions(jitter=0.01))(50, seed(5))
    assert (x_T - color[:, :, None, None]).std() == pytest.approx(0.01, rel=0.02)
    assert color.aminmax()[0] >= -0.5
    assert color.aminmax()[1] <= 0.5
    assert color.std() == pytest.approx(12**-0.5, rel=0.1)


def test_uniform_colors_fill_the_box_of_the_mean_colors():
    D, x0 = degrade.make("blur", **TO_MEAN), images(100, *SHAPE)
    prior = fit_prior(D, x0, "uniform_color")
    low, high = (torch.tensor(v).double() for v in (prior.low, prior.high))
    torch.testing.assert_close((low, high), (x0.mean((2, 3)).amin(0), x0.mean((2, 3)).amax(0)))
    color = prior(5000, seed(6)).x_T[:, :, 0, 0].double()
    torch.testing.assert_close(color.mean(0), (low + high) / 2, rtol=0, atol=0.01)
    torch.testing.assert_close(color.T.cov(), torch.diag((high - low) ** 2 / 12), rtol=0, atol=0.005)


def test_a_fit_is_a_function_of_the_seed_and_leaves_global_randomness_alone():
    state = torch.get_rng_state()
    first, again, other = (
        fit_prior(AREA, partners(1, 16, 16), options=FitOptions(n=50, components=2, seed=s)) for s in (1, 1, 2)
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_a_source_chosen_from_images_has_them_all():
    x0 = torch.arange(5.0).view(5, 1, 1, 1)
    counts = tensor_source(x0)(500, seed(7)).flatten().long().bincount()
    assert counts.shape == (5,)
    assert counts.min() > 60


X0 = images(20, *SHAPE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_prior(AREA, X0, "gmm"), "no kind of prior is called 'gmm': choose from auto, standard_normal"),
        (
            lambda: fit_prior(AREA, X0, options=FitOptions(k=2)),
            "k = 2 is the side of thumbnails; it needs kind =",
        ),
        (lambda: fit_prior(AREA, X0, "low_resolution", FitOptions(k=17)), r"k = 17: .* have a side of 1 to 9"),
        (
            lambda: fit_prior(AREA, X0, "low_resolution", FitOptions(k=3)),
            "components = 1 of 27 numbers each cannot be fitted to 20",
        ),
        (lambda: fit_prior(AREA, X0, options=FitOptions(components=0)), "take 1 component or more"),
        (lambda: fit_prior(AREA, X0[0]), r"\(3, 16, 16\); it needs \(n, C, H, W\), n of 1 or more"),
        (lambda: fit_prior(AREA, X0[:0]), r"\(0, 3, 16, 16\); it needs"),
        (
            lambda: fit_prior(degrade.make("decolor"), X0, "low_resolution"),
            "decolor leaves more of an image at T = 20 than",
        ),
        (lambda: fit_prior(AREA, X0, options=FitOptions(jitter=-1)), "jitter"),
        (
            lambda: PRIORS.make("uniform_color", D=AREA, shape=SHAPE, low=[0], high=[1]),
            "need a number for each of 3 chan",
        ),
        (lambda: PRIORS.make("uniform_color", D=AREA, shape=(1, 2, 2), low=[1], high=[0]), "lies above high"),
        (lambda: PRIORS.make("standard_normal", shape=(3, 0, 8)), "greater than or equal to 1"),
        (lambda: LowResolution(AREA, (3, 64, 64), 10, "blocks", (1.0,), (), ()), "k = 10 gives 300 numbers"),
        (lambda: LowResolution(AREA, (1, 4, 4), 1, "blocks", (1.0,), ((0.0,),), ()), "1 weights need as many means"),
        (lambda: LowResolution(AREA, (1, 4, 4), 1, "blocks", (0.5,), ((0.0,),), (((1.0,),),)), "need to sum to 1"),
        (lambda: LowResolution(AREA, (1, 4, 4), 1, "blocks", (1.0,), ((0.0,),), (((-1.0,),),)), "positive definite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
