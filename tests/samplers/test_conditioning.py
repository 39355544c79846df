"""Pictures restored by a noise model that never saw what was done to them."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade import expand_level
from restore import Conditioned, FunctionRestorer, LinearInverse, Measurement
from restore.conditioned import RULES
from samplers.applications.restore_image import RestoreOptions, restore_image
from samplers.loop import sample
from tests.photographs import photo
from tests.restorers import FACE, NEAR, trained

NOISE = degrade.make("gaussian_noise", T=40)
BLUR = degrade.make("blur", T=8, sigmas="constant:sigma=0.8", kernel_size=5, padding_mode="symmetric")
X0 = FACE.double()


def shrinking(D=NOISE, seen=None):
    """The exact restorer of independent pixels N(0, 0.5^2), which notes the sizes it is given."""

    def restore(x_t, t):
        if seen is not None:
            seen.append(x_t.shape[2:])
        a_t, b_t = D.coefficients(t, x_t)
        return a_t * 0.25 / (a_t**2 * 0.25 + b_t**2) * x_t

    return restore


@pytest.mark.parametrize(
    ("D", "t", "rule"),
    [
        (BLUR, 4, "proximal"),
        (BLUR, 4, "pseudo_inverse"),
        (degrade.make("pixelate", T=2), 2, "projection"),
        (degrade.make("decolor", T=5), 5, "proximal:weight=2.5"),
        (degrade.make("jpeg", T=5), 3, "gradient"),
        (degrade.make("jpeg", T=5), 3, "proximal"),
    ],
)
def test_a_picture_is_sampled_around_the_conditioned_restorer_from_noise_on_its_inverse(D, t, rule):
    """The application is a trajectory of the contract: nothing is added to it."""
    y = D(X0, expand_level(t, X0))
    options = RestoreOptions(6, degradation=D, rule=rule, noise=0.02)
    found, severity = restore_image(
        FunctionRestorer(shrinking(), NOISE), y, t, "ddim:eta=0.7", options, torch.Generator().manual_seed(3)
    )
    assert severity.t == t
    generator, level = torch.Generator().manual_seed(3), expand_level(t, y)
    guess = D.invert(y, level, None, 0.02).clamp(-1, 1) if D.affine else y
    z = NOISE.draw(y, generator)
    R = Conditioned(FunctionRestorer(shrinking(), NOISE), Measurement(D, y, level, None, 0.02), rule)
    x_T = NOISE(guess, expand_level(NOISE.T, y), z)
    expected = sample(R, "ddim:eta=0.7", x_T, z, [40, 33, 27, 20, 13, 7, 0], generator)
    torch.testing.assert_close(found, expected.clamp(-1, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ["proximal", "projection", "pseudo_inverse", "gradient"])
def test_the_network_works_in_tiles_and_what_was_done_on_the_whole_picture(rule):
    x0 = torch.rand(1, 3, 45, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = BLUR(x0, expand_level(3, x0))
    seen = []

    def restored(tile):
        R = FunctionRestorer(lambda x_t, t: seen.append(x_t.shape[2:]) or 0.8 * NEAR(x_t), NOISE)
        options = RestoreOptions(3, degradation=BLUR, rule=rule, noise=0.05, tile_size=tile)
        return restore_image(R, y, 3, "ddpm", options, torch.Generator().manual_seed(0)).image

    whole = restored(128)
    assert set(seen) == {(45, 70)}
    seen.clear()
    torch.testing.assert_close(restored(24), whole, rtol=0, atol=1e-10)
    assert set(seen) == {(24, 24)}


def test_an_oracle_of_independent_pixels_restores_what_is_known_and_its_mean_elsewhere():
    """Where pixels are independent, what is missing is the mean of the prior within its spread, and the rest is y."""
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[8:20, 10:30] = True
    for rule in RULES.names():
        R = FunctionRestorer(shrinking(), NOISE)
        restored, found = restore_image(R, X0, options=RestoreOptions(mask=hole, rule=rule))
        assert torch.equal(restored[:, :, ~hole], X0[:, :, ~hole])
        inside = restored[:, :, hole]
        assert abs(inside.mean()) < 0.1
        assert 0.2 < inside.std() < 0.6
        assert found.t == 1


@pytest.mark.parametrize("rule", RULES.names())
@pytest.mark.parametrize("sampler", [None, "ddim:eta=0.7"])
def test_a_mask_is_a_measurement_like_any_other(rule, sampler):
    """The restorer sees two pixels at a time, so that what is known changes what is missing."""
    x0 = torch.rand(2, 3, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    hole = torch.rand(9, 11, generator=torch.Generator().manual_seed(1)) < 0.4
    D = degrade.make("missing_pixels", T=7, share_at_T=0.5)

    def restored(severity, x, **options):
        R = FunctionRestorer(lambda x_t, t: shrinking()(x_t, t) + 0.3 * shrinking()(x_t, t).roll(1, 3), NOISE)
        return restore_image(
            R, x, severity, sampler, RestoreOptions(5, rule=rule, **options), torch.Generator().manual_seed(3)
        ).image

    y = torch.where(hole, 0, x0)
    for z in (~hole, (~hole).double()):
        assert torch.equal(D(x0, torch.tensor([1, 7]), z.expand(2, 1, 9, 11)), y)
        for severity in (1, 7):
            measured = restored(severity, y, degradation=D, z=z[None, None])
            expected = torch.where(hole, measured, x0)
            assert torch.equal(restored("auto", x0, mask=hole), expected)
    assert (expected[..., hole] - restored("auto", 0 * x0, mask=hole)[..., hole]).abs().max() > 0.1


def test_a_cold_restorer_is_held_to_the_picture_by_projection():
    D = degrade.make("decolor", T=6)
    y = D(X0, expand_level(6, X0))
    options = RestoreOptions(degradation=D, rule="projection")
    restored, _ = restore_image(FunctionRestorer(lambda x_t, t: 0 * x_t + 0.3, D), y, 6, options=options)
    assert (D(restored, expand_level(6, X0)) - y).abs().max() < 1e-3
    assert (D(0 * y + 0.3, expand_level(6, X0)) - y).abs().max() > 0.1


def test_the_linear_inverse_is_given_the_whole_picture():
    x0 = torch.rand(3, 150, 170, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    y = BLUR(x0[None], torch.tensor([8]))
    restored = restore_image(LinearInverse(BLUR), y[0], 8).image
    expected = BLUR.invert(y, torch.tensor([8]))[0].clamp(-1, 1)
    assert torch.equal(restored, expected)
    odd = restore_image(LinearInverse(degrade.make("pixelate", T=2)), x0[:, :-1, :-1], 2).image
    assert odd.shape == (3, 149, 169)


def test_what_was_drawn_is_given():
    D = degrade.make("inpaint", T=20, center="random")
    z = D.draw(X0, torch.Generator().manual_seed(0))
    y = D(X0, expand_level(20, X0), z)
    options = RestoreOptions(5, degradation=D, z=z)
    restored, _ = restore_image(FunctionRestorer(lambda x_t, t: X0, NOISE), y, 20, options=options)
    torch.testing.assert_close(restored, X0, rtol=0, atol=1e-4)


JPEG, SNOW, MASK = degrade.make("jpeg", T=5), degrade.make("snow", T=5), torch.zeros(29, 37, dtype=torch.bool)


@pytest.mark.parametrize(
    ("D", "severity", "options", "message"),
    [
        (
            NOISE,
            3,
            {"degradation": JPEG, "rule": "pseudo_inverse"},
            "rule 'pseudo_inverse' needs an affine degradation, not 'jpeg': use the rule 'proximal'",
        ),
        (NOISE, 3, {"degradation": BLUR, "noise": 0.0}, "noise is 0.0; a measurement has some error"),
        (NOISE, 3, {"degradation": BLUR, "noise": -1.0}, "noise is -1.0; "),
        (NOISE, 3, {"degradation": BLUR, "rule": "prox"}, "no rule is called 'prox': did you mean 'proximal'"),
        (NOISE, 3, {"degradation": BLUR, "rule": 3}, "3 is no rule: give one, its name"),
        (NOISE, 3, {"rule": "prox"}, "no rule is called 'prox'"),
        (NOISE, 9, {"degradation": BLUR}, "severity is 9; blur has severities 1..8"),
        (NOISE, 3.0, {"degradation": BLUR}, "severity is 3.0; "),
        (NOISE, "auto", {"degradation": BLUR}, "severity is auto; .* give it, in 1..8"),
        (NOISE, 3, {"degradation": SNOW, "rule": "gradient"}, "snow drew something .* model that was trained on snow"),
        (NOISE, 3, {"degradation": BLUR, "mask": MASK}, "mask and degradation 'blur' are both given"),
        (NOISE, 3, {"mask": MASK}, "severity is 3; missing_pixels has severities 1..1"),
        (NOISE, 3, {"degradation": BLUR, "sampler": "bridge"}, "bridge"),
        (BLUR, 3, {"degradation": BLUR}, "rule 'proximal' needs a restorer of Gaussian noise, and .* restores 'blur'"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(D, severity, options, message):
    sampler = options.pop("sampler", None)
    with pytest.raises(ValueError, match=message) as caught:
        restore_image(trained(D=D), photo("RGB"), severity, sampler, RestoreOptions(**options))
    assert "\n" not in str(caught.value)
