"""The models that come with the package: they load, their cards say what a reader needs, and they do what they claim.

The bounds are far from what the cards report, and are met by no untrained or mixed-up weights.
"""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional as F

import degrade
import restore
from degrade.constants import ROUNDING_NOISE
from degrade.demo_image import demo_image
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.examples import take_examples
from experiments.evaluation.feature_networks import make_feature_network
from experiments.run.model import ModelSource, load_model
from restore.models.catalog import find_model, model_names
from samplers import restore_image, sample

THUMBNAILS = ("cifar10-blur", "cifar10-inpaint", "cifar10-pixelate", "mnist-blur", "mnist-inpaint")
NAMES = (*THUMBNAILS, "faces-from-animals", "mnist-ddpm", "photo-blur", "photo-noise")
MOST_BYTES = 30e6


def psnr(x, truth):
    return float(10 * torch.log10(4 / (x - truth).square().mean()))


def test_the_models_are_listed_and_small_enough_to_ship():
    assert set(NAMES) <= set(model_names())
    files = [file for name in model_names() for file in find_model(name).iterdir()]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_data_license_command_seed_time_quality_and_limits(name):
    card = (find_model(name) / "card.md").read_text(encoding="utf-8")
    for part in ("| data |", "| license |", "| training |", "| seed |", "| time |", "Limits:"):
        assert part in card, part
    assert re.search(r"^Command: `python experiments/\w+\.py .*--preset ", card, re.MULTILINE)
    (steps,) = re.findall(r"\| training \| ([\d,]+) steps", card)
    config = json.loads((find_model(name) / "model.json").read_text())
    assert int(steps.replace(",", "")) == config["step"]


def test_faces_come_back_from_half_way():
    R = restore.load("faces-from-animals", source=DrawnAnimals(64))
    generator = torch.Generator().manual_seed(7)
    x0 = DrawnFaces(64)(8, generator)
    z = R.degradation.draw(x0, generator)
    t = torch.full((8,), R.degradation.T // 2)
    with torch.inference_mode():
        x_0 = R(R.degradation(x0, t, z), t)
    assert psnr(x_0, x0) > 24.5  # RMSE 0.06 in [0, 1]


def test_blur_in_a_picture_goes_and_how_much_there_is_is_found():
    R = restore.load("photo-blur")
    x0 = degrade.quantize_8bit(demo_image(192)[None])
    x_t = degrade.quantize_8bit(R.degradation(x0, torch.tensor([20])))
    restored = restore_image(R, x_t, 20).image
    assert psnr(restored, x0) > psnr(x_t, x0) + 4
    found = restore_image(R, x_t).severity
    assert found.confident
    assert abs(found.t - 20) <= 6
    assert found.low <= 20 <= found.high


def grays(folder, size, count=16):
    """Write gray noise of a size (H, W) as pictures, the last eighth of which are held out; return them."""
    folder.mkdir()
    pictures = torch.randint(256, (count, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture.numpy()).save(folder / f"{i:02}.png")
    return pictures.float() / 127.5 - 1


def held_out(model, folder):
    data = load_model(ModelSource(model, str(folder)), torch.device("cpu")).data
    return take_examples(data.validation, 2, torch.Generator().manual_seed(0))


def test_pictures_are_read_as_they_were_in_the_training_of_a_model(tmp_path):
    """Digits get a border of two pixels; of photographs windows are taken, which are not scaled."""
    digits = grays(tmp_path / "digits", (28, 28))
    for x in held_out("mnist-blur", tmp_path / "digits"):
        assert (x[:, :2] == -1).all()
        assert (digits - x[0, 2:30, 2:30]).abs().amax((1, 2)).min() < 1e-6
    photographs = grays(tmp_path / "photographs", (96, 80))
    windows = photographs.unfold(1, 64, 1).unfold(2, 64, 1)
    for x in held_out("photo-blur", tmp_path / "photographs"):
        assert (windows[..., 0, :] - x[0, 0]).abs().amax(-1).min() < 1e-6
        assert torch.equal(x[0], x[2])


def thumbnails(channels):
    """Return pictures of 32 pixels of another kind than those of the training: pieces of a landscape, or digits."""
    if channels == 3:
        small = F.avg_pool2d(demo_image(256)[None], 2)[0]
        return small.unfold(1, 32, 16).unfold(2, 32, 16).flatten(1, 2).transpose(0, 1).contiguous()
    digits = torch.from_numpy(load_digits().images[:64]).float()[:, None] / 8 - 1
    return F.pad(F.interpolate(digits, (20, 20), mode="bicubic").clamp(-1, 1), [6] * 4, value=-1.0)


@pytest.mark.parametrize(
    ("name", "input_noise", "gain"),
    [
        ("cifar10-blur", ROUNDING_NOISE, 2.5),
        ("cifar10-blur", 0.0, 5),
        ("cifar10-inpaint", ROUNDING_NOISE, 4),
        ("cifar10-pixelate", ROUNDING_NOISE, 1),
        ("mnist-blur", ROUNDING_NOISE, 1.5),
        ("mnist-blur", 0.0, 3),
        ("mnist-inpaint", ROUNDING_NOISE, 7),
    ],
)
def test_what_the_paper_does_to_thumbnails_is_restored(name, input_noise, gain):
    """Better than x_T, and than the linear inverse that knows all that was drawn, in dB."""
    R = restore.load(name).with_input_noise(input_noise)
    D, x0 = R.degradation, thumbnails(R.image_channels)
    t = torch.full((len(x0),), D.T)
    z = D.draw(x0, torch.Generator().manual_seed(0))
    x_t = degrade.quantize_8bit(D(x0, t, z)) if input_noise else D(x0, t, z)
    with torch.inference_mode():
        found = psnr(R(x_t, t).clamp(-1, 1), x0)
    assert found > psnr(x_t, x0) + gain
    assert found > psnr(D.invert(x_t, t, z, noise=input_noise or 5e-6).clamp(-1, 1), x0)


@pytest.mark.parametrize(("sigma", "gain"), [(15, 5), (50, 9)])
def test_noise_in_a_picture_goes(sigma, gain):
    R = restore.load("photo-noise")
    x0 = demo_image(128)[None]
    t = torch.tensor([sigma])
    x_t = R.degradation(x0, t, R.degradation.draw(x0, torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        x_0 = R(x_t, t)
    assert psnr(x_t, x0) == pytest.approx(20 * math.log10(255 / sigma), abs=0.1)
    assert psnr(x_0, x0) > psnr(x_t, x0) + gain


def test_digits_are_of_the_class_that_was_asked_for():
    label = torch.arange(10).repeat(2)
    R = restore.load("mnist-ddpm").with_cond(label=label)
    digits = sample(R, "ddim", torch.randn(20, 1, 32, 32, generator=torch.Generator().manual_seed(0)), steps=20)
    logits = make_feature_network("mnist_classifier")(digits).logits
    assert (logits.argmax(1) == label).float().mean() >= 0.75
