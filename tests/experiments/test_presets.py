"""The presets of the training program against the publications that they follow."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

import degrade
import restore
from experiments.run.presets import PRESETS, shrink
from experiments.train import Config
from restore import EMAConfig
from restore.losses import L1
from restore.optimizers import Adam
from tests.experiments.test_train import config


def test_arguments_add_to_those_of_the_preset_of_the_same_degradation():
    assert config("--preset", "mnist-blur", "--degradation-args", "T=9").degradation_args == {
        **PRESETS["mnist-blur"]["degradation_args"],
        "T": 9,
    }
    assert config(
        "--preset", "mnist-blur", "--degradation", "snow", "--degradation-args", "strength=2"
    ).degradation_args == {"strength": 2}
    assert config("--preset", "mnist-blur", "--degradation", "snow").degradation_args == {}


PUBLISHED = {
    "mnist-blur": (
        "mnist",
        32,
        "blur",
        {"T": 20, "kernel_size": 11, "sigmas": "constant:sigma=7", "padding_mode": "circular"},
    ),
    "mnist-inpaint": ("mnist", 32, "inpaint", {"T": 50, "sigmas": "incremental:step=0.1", "center": "random"}),
    "mnist-pixelate": ("mnist", 32, "pixelate", {"T": 3}),
    "cifar10-blur": ("cifar10", 32, "blur", {"T": 50, "sigmas": "cifar10"}),
    "cifar10-snow": ("cifar10", 32, "snow", {"T": 200, "strength": 3}),
    "celeba-blur": ("celeba", 128, "blur", {"T": 200, "kernel_size": 15, "padding_mode": "reflect"}),
    "celeba-inpaint": ("celeba", 128, "inpaint", {"T": 100, "sigmas": "incremental:step=0.2", "center": "middle"}),
    "celeba-snow": ("celeba", 128, "snow", {"T": 200, "strength": 4}),
    "generation-blur": ("celeba", 128, "blur", {"T": 300, "kernel_size": 27, "mean_at_T": True}),
    "generation-mask": ("celeba", 128, "mask_to_color", {"T": 750, "sigmas": "incremental:step=0.05"}),
    "generation-pixelate": ("celeba", 128, "pixelate", {"T": 6}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_are_what_was_published(name):
    data, size, degradation, arguments = PUBLISHED[name]
    given = config("--preset", name)
    assert (given.data, given.size, given.degradation) == (data, size, degradation)
    D = degrade.make(degradation, **given.degradation_args)
    assert degrade.make(degradation, **{**given.degradation_args, **arguments}) == D
    training = given.training(0)
    assert (training.loss, training.optimizer, training.steps) == (L1(), Adam(lr=2e-5), 700_000)
    assert (training.batch_size, training.micro_batch_size) == (64, 32)
    assert training.ema == EMAConfig(0.995, update_every=10, update_after=2000)
    assert given.quantize_input == (name in ("mnist-inpaint", "generation-blur"))
    assert (given.prior is not None) == name.startswith("generation")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_whole_and_has_a_quick_variant(name):
    small = Config(**shrink(PRESETS[name]))
    for given in (Config(**PRESETS[name]), small):
        D = degrade.make(given.degradation, **given.degradation_args)
        with torch.device("meta"):
            net = given.build_network(1 if given.data == "mnist" else 3, T=1, with_inverse=given.inverse_input)
            if given.inverse_input:
                restore.Restorer(net, D, inverse_input=restore.InverseInput(given.inverse_noise))
        assert given.prior != "auto" or D.T > 0
    assert isinstance(PRESETS[name], Mapping)
    assert small.degradation_args == PRESETS[name]["degradation_args"]
    assert small.steps < 5000


def test_the_photo_presets_are_the_recipe_that_the_shipped_models_were_trained_by():
    noise, blur = (config("--preset", name, "--data", "photos") for name in ("photo-noise", "photo-blur"))
    for given in (noise, blur):
        assert (given.size, given.resize, given.flip, given.rotate) == (64, "none", True, True)
        training = given.training(0)
        assert (training.loss, training.optimizer, training.batch_size) == (L1(), Adam(lr=1e-3), 16)
        rates = [training.lr_schedule.lr_at(1e-3, step, 10_000) for step in (1, 150, 300, 8000, 10_000)]
        assert rates == pytest.approx([1e-3 / 300, 5e-4, 1e-3, 1e-3, 0], abs=1e-12)
    D = degrade.make(noise.degradation, **noise.degradation_args)
    x0, z, t = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), torch.tensor([25])
    assert (D.T, round((D(x0, t, z) * 127.5).mean().item(), 5)) == (75, 25)
    assert (noise.prediction_type, noise.quantize_input, noise.inverse_input) == ("eps", False, False)
    B = degrade.make(blur.degradation, **blur.degradation_args)
    assert (B.T, B.cumulative_sigma[24], B.cumulative_sigma[-1], B.padding_mode) == (50, 2.0, 4.0, "symmetric")
    assert (blur.prediction_type, blur.quantize_input, blur.inverse_input) == ("x0", True, True)
    with torch.device("meta"):
        net = noise.build_network(3, T=75)
    assert sum(p.numel() for p in net.parameters()) == 3_671_180
    assert net.size_divisor == 4


def test_the_network_of_cifar_has_the_published_size():
    with torch.device("meta"):
        net = config("--preset", "cifar10-blur").build_network(3, T=1)
    assert sum(p.numel() for p in net.parameters()) == 35_746_307
