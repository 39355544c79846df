"""A network that sees the linear inverse: what it gets, what it predicts; it is trained and used as any other."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
import torch
from torch import nn

import degrade
import restore
from degrade.constants import ROUNDING_NOISE
from degrade.functional.quantization import is_8bit
from restore import (
    FunctionRestorer,
    InverseInput,
    LinearInverse,
    Restorer,
    TiledRestorer,
    TrainConfig,
    Trainer,
    UNet,
    UNetConfig,
)
from restore.guidance import Guided
from samplers import Algorithm2, sample
from tests.cases import images
from tests.trainings import states

BLUR = degrade.make("blur", T=6, sigmas="constant:sigma=0.4", kernel_size=5)
TABLE = InverseInput(noise=(1.0, 0.001, 0.002, 0.004, 0.01, 0.02, 0.05), spread=0.4)
SHAPE = {"image_size": 16, "model_channels": 8, "channel_mult": (1,), "norm_groups": 4, "attention_resolutions": ()}
PAIR = UNetConfig(**SHAPE, in_channels=2, out_channels=1)
CHANNELS = {"in_channels": 2, "out_channels": 1}
NETWORKS = {
    "residual_cnn": {"channels": 8, "num_layers": 1, "max_timestep": 6, **CHANNELS},
    "res_unet": {"level_channels": (8, 16), "num_res_blocks": 1, "max_timestep": 6, **CHANNELS},
    "unet": {**SHAPE, **CHANNELS},
}
CLEAN = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
LEVELS = torch.tensor([1, 2, 3, 6])


class Recorded(nn.Module):
    """Return `out`, or 0, and remember what was seen."""

    def __init__(self, out=None):
        super().__init__()
        self.out = out

    def forward(self, x, t):
        self.seen = x
        return torch.zeros_like(x[:, : x.shape[1] // 2]) if self.out is None else self.out


def random_network(name, seed=0):
    torch.manual_seed(seed)
    net = restore.make_network(name, **NETWORKS[name])
    for p in net.parameters():
        nn.init.normal_(p, std=0.1)
    return net


def training(steps, seed=0, inverse_input=TABLE, **changes):
    torch.manual_seed(seed)
    return Trainer(Restorer(UNet(PAIR), BLUR, inverse_input=inverse_input), TrainConfig(steps=steps, **changes))


def test_a_network_that_returns_0_makes_it_the_linear_inverse():
    x_t, noise = images(4, 3, 16, 16), torch.tensor(TABLE.noise)
    R = Restorer(Recorded(), BLUR, inverse_input=TABLE)
    assert torch.equal(R(x_t, LEVELS), LinearInverse(BLUR, noise, 0.4)(x_t, LEVELS))
    assert torch.equal(R.net.seen, torch.cat([x_t, BLUR.invert(x_t, LEVELS, None, noise[LEVELS], 0.4)], dim=1))
    default = Restorer(Recorded(), BLUR, inverse_input=InverseInput())
    assert torch.equal(default(x_t, LEVELS), BLUR.invert(x_t, LEVELS))


@pytest.mark.parametrize("name", ["blur", "decolor", "pixelate", "inpaint"])
def test_a_perfect_prediction_of_what_is_missing_gives_back_x0(name):
    D, x0 = degrade.make(name, T=3), images(3, 3, 16, 16)
    t = torch.tensor([1, 2, 3])
    x_t = degrade.quantize_8bit(D(x0, t))
    R = Restorer(Recorded(), D, inverse_input=InverseInput(noise=0.01))
    R.net.out = R.target(x0, t, None, R.prepare(x_t, t))
    torch.testing.assert_close(R.net.out, x0 - D.invert(x_t, t, noise=0.01), rtol=0, atol=0)
    torch.testing.assert_close(R(x_t, t), x0, rtol=0, atol=1e-12)


def test_the_inverse_keeps_its_precision_under_autocast():
    """In bfloat16, an inverse that amplifies by 1e4 would be noise."""
    x0 = images(4, 1, 16, 16).float()
    x_t = BLUR(x0, LEVELS)
    R = Restorer(Recorded(), BLUR, precision="bfloat16", inverse_input=InverseInput(noise=5e-6))
    with torch.autocast("cpu", torch.bfloat16):
        found = R(x_t, LEVELS)
    assert torch.equal(found, BLUR.invert(x_t, LEVELS, noise=5e-6))
    assert (found - x0).abs().max() < 0.05


@pytest.mark.parametrize("rounded", [False, True])
def test_the_trainer_minimizes_what_is_missing_from_the_inverse_of_what_it_shows(rounded):
    """A new network returns 0, so the first losses are those of the linear inverse."""
    trainer = training(1, batch_size=8, quantize_input=rounded)
    seen = []
    trainer.restorer.net.register_forward_hook(lambda net, arguments, out: seen.append(arguments))
    stats = next(trainer.run(CLEAN))
    (shown, t), least = seen[0], ROUNDING_NOISE if rounded else 0.0
    inverse = LinearInverse(BLUR, torch.tensor(TABLE.noise).clamp(min=least), 0.4)
    assert torch.equal(t, stats.t)
    x_t, given = shown.chunk(2, dim=1)
    torch.testing.assert_close(given, inverse(x_t, t))
    assert torch.equal(x_t, degrade.quantize_8bit(x_t)) is rounded
    errors = torch.stack([(x0 - given).abs().mean((1, 2, 3)) for x0 in CLEAN], 1)  # of each shown, to each clean one
    nearest = torch.stack([(BLUR(x0.expand_as(x_t), t) - x_t).abs().mean((1, 2, 3)) for x0 in CLEAN], 1).argmin(1)
    torch.testing.assert_close(stats.losses, errors.gather(1, nearest[:, None]).flatten())


def test_one_network_is_trained_on_what_was_rounded_and_what_was_not():
    """Each forward pass has the inverse of its own precision; which are rounded depends on the seed alone."""
    fine = InverseInput(noise=1e-5)
    changes = {"batch_size": 8, "micro_batch_size": 4, "quantize_input": True, "quantize_probability": 0.5}
    trainer = training(6, inverse_input=fine, **changes)
    seen = []
    trainer.restorer.net.register_forward_hook(lambda net, arguments, out: seen.append(arguments))
    list(trainer.run(CLEAN))
    rounded = []
    for shown, t in seen:
        x_t, given = shown.chunk(2, dim=1)
        rounded.append(is_8bit(x_t))
        assert torch.equal(given, BLUR.invert(x_t, t, noise=ROUNDING_NOISE if rounded[-1] else 1e-5))
    assert len(seen) == 12
    assert 2 <= sum(rounded) <= 10
    again = training(6, inverse_input=fine, **changes)
    list(again.run(CLEAN))
    assert all(torch.equal(a, b) for a, b in zip(states(again), states(trainer), strict=True))
    with pytest.raises(ValueError, match=r"quantize_probability is 0\.5 and quantize_input is False"):
        training(1, quantize_probability=0.5)


def test_a_restorer_can_be_told_the_error_of_its_pictures():
    x_t = images(4, 3, 16, 16)
    R = Restorer(Recorded(), BLUR, inverse_input=InverseInput(noise=1e-5))
    told = R.with_input_noise(0.01)
    assert torch.equal(told(x_t, LEVELS), BLUR.invert(x_t, LEVELS, noise=0.01))
    assert torch.equal(R(x_t, LEVELS), BLUR.invert(x_t, LEVELS, noise=1e-5))  # it is not changed
    assert (told.net, told.inverse_input) == (R.net, R.inverse_input)
    assert torch.equal(told.with_input_noise(1e-7)(x_t, LEVELS), told(x_t, LEVELS))  # an error never becomes smaller
    by_severity = Restorer(Recorded(), BLUR, inverse_input=TABLE).with_input_noise(0.003)
    least = torch.tensor(TABLE.noise).clamp(min=0.003)[LEVELS]
    assert torch.equal(by_severity(x_t, LEVELS), BLUR.invert(x_t, LEVELS, None, least, 0.4))
    tiled = TiledRestorer(R.with_cond(), 16, 8, 4).with_input_noise(0.01)
    assert torch.equal(tiled(x_t, LEVELS), told(x_t, LEVELS))
    oracle = FunctionRestorer(lambda x, t: x, BLUR)
    assert oracle.with_input_noise(0.01) is oracle


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_is_trained_saved_loaded_and_sampled(name, tmp_path):
    trainer = Trainer(Restorer(random_network(name), BLUR, inverse_input=TABLE), TrainConfig(steps=2))
    assert all(torch.isfinite(stats.loss) for stats in trainer.run(CLEAN))
    restore.save(tmp_path, trainer)
    assert restore.read_checkpoint_config(restore.latest(tmp_path)).inverse_input == TABLE
    R = restore.load(tmp_path)
    assert (R.inverse_input, R.image_channels) == (TABLE, 1)
    x_T = BLUR(CLEAN, torch.full((6,), 6))
    assert torch.equal(R(x_T, torch.full((6,), 6)), trainer.ema(x_T, torch.full((6,), 6)))
    assert torch.equal(sample(R, Algorithm2(), x_T, steps=3), sample(trainer.ema, Algorithm2(), x_T, steps=3))


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    whole, first, second = training(4), training(4), training(4, seed=9)
    list(whole.run(CLEAN))
    list(itertools.islice(first.run(CLEAN), 2))
    restore.save(tmp_path, first)
    assert restore.resume(tmp_path, second) == 2
    list(second.run(CLEAN))
    assert all(torch.equal(a, b) for a, b in zip(states(second), states(whole), strict=True))


@pytest.mark.parametrize("other", [InverseInput(), dataclasses.replace(TABLE, spread=0.5)])
def test_resuming_with_another_inverse_is_refused(other, tmp_path):
    trainer = training(1)
    list(trainer.run(CLEAN))
    restore.save(tmp_path, trainer)
    with pytest.raises(ValueError, match=r"another inverse_input: .* and this run asks for"):
        restore.resume(tmp_path, training(2, inverse_input=other))


def test_a_checkpoint_from_before_there_was_an_inverse_is_read(tmp_path):
    trainer = Trainer(Restorer(UNet(UNetConfig(**SHAPE, in_channels=1)), BLUR), TrainConfig(steps=1))
    list(trainer.run(CLEAN))
    restore.save(tmp_path, trainer)
    assert restore.load(tmp_path).inverse_input is None


@pytest.mark.parametrize("shape", [(40, 52), (37, 50)])
def test_tiles_see_the_inverse_of_the_whole_image(shape):
    """A tile inverted on its own rings at its cuts, which are no edges of the image."""
    D = degrade.make("blur", T=6, sigmas="constant:sigma=1", kernel_size=11)
    x0, t = images(1, 1, *shape), torch.tensor([6])
    x_t, fine = degrade.quantize_8bit(D(x0, t)), InverseInput(noise=1e-3)
    inverse = LinearInverse(D, 1e-3)
    whole = inverse(x_t, t)
    for R in (Restorer(Recorded(), D, inverse_input=fine), inverse, Guided(inverse, 1.0)):
        assert torch.equal(TiledRestorer(R, 16, 8, 4)(x_t, t), whole)
    in_tiles = TiledRestorer(FunctionRestorer(inverse, D), 16, 8, 4)(x_t, t)
    assert (in_tiles - x0).square().mean() > 1.5 * (whole - x0).square().mean()


def test_tiles_of_a_convolutional_network_are_the_whole_image():
    R = Restorer(random_network("residual_cnn").double(), BLUR, inverse_input=TABLE)
    x, t = images(1, 1, 47, 60), torch.tensor([3])
    torch.testing.assert_close(TiledRestorer(R, 32, 16, 1)(x, t), R(x, t), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("snow", {}, "needs a linear inverse, and 'snow' is not affine; use inverse_input=None"),
        ("gaussian_noise", {}, "R(x_t, t) does not know its z"),
        ("inpaint", {"center": "random"}, "R(x_t, t) does not know its z"),
    ],
)
def test_degradations_without_a_known_inverse_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Restorer(Recorded(), degrade.make(name, T=6, **arguments), inverse_input=TABLE)


def test_arguments_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"it needs .* 7 such"):
        Restorer(Recorded(), BLUR, inverse_input=InverseInput(noise=(0.1, 0.1)))
    for bad in ({"noise": 0.0}, {"noise": (0.1, float("inf"))}, {"noise": "0.1"}, {"spread": -1.0}, {"spread": True}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            InverseInput(**bad)
    for channels in ({"in_channels": 1}, {"in_channels": 2}, {"in_channels": 3, "out_channels": 2}):
        with pytest.raises(ValueError, match=r"it maps \d channels to \d; .*in_channels=6, out_channels=3"):
            Restorer(UNet(UNetConfig(**SHAPE, **channels)), BLUR, inverse_input=TABLE)
