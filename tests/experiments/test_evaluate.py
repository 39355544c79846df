"""The program that measures models on whole pictures: its numbers computed by hand, and the file that it writes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
import restore
from degrade.command_line import UsageError
from degrade.random import seeded_generator
from experiments import evaluate
from experiments.data.packed import PackedImages
from experiments.evaluation.pictures import PictureOptions, measure_pairs, measure_pictures
from restore import FunctionRestorer, InverseInput, Restorer, UNet, UNetConfig

SIZES = ((40, 33), (21, 18), (16, 50))
SIGMA = {"name": "linear_sigma", "arguments": {"sigma_max": 0.1}}


def gray(level, sizes=SIZES):
    return PackedImages.pack([torch.full((3, *size), level, dtype=torch.uint8) for size in sizes])


def smooth(sizes=SIZES):
    """Pictures with waves in every channel."""
    found = []
    for k, (height, width) in enumerate(sizes):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        waves = [127.5 + 100 * torch.sin(0.3 * (x + k) + 0.2 * c * y) for c in range(3)]
        found.append(torch.stack(waves).byte())
    return PackedImages.pack(found)


def psnr(x, x0):
    return -10 * math.log10(float(((x.clamp(-1, 1) - x0).double() / 2).square().mean()))


def test_a_constant_error_gives_the_ratio_that_its_size_means():
    R = FunctionRestorer(lambda x, t: x + 0.1, degrade.make("blur", T=2, kernel_size=5))
    found = measure_pictures(R, gray(51), 2)
    assert found.value("direct", "psnr") == pytest.approx(-20 * math.log10(0.1 / 2), abs=1e-4)
    interval = found.rows["direct"]["psnr"].interval
    assert interval == pytest.approx((26.0206, 26.0206), abs=1e-3)
    assert (found.images, found.baseline) == (3, "direct")
    assert set(found.rows) == {"degraded", "linear inverse", "direct"}


@pytest.mark.parametrize("precision", ["float32", "8bit"])
def test_every_picture_counts_once_with_noise_of_its_own_that_is_not_clipped(precision):
    D, pictures = degrade.make("gaussian_noise", T=4, schedule=SIGMA), smooth()
    seen = []
    R = FunctionRestorer(lambda x, t: (seen.append(x), 0.9 * x)[1], D)
    found = measure_pictures(R, pictures, 3, PictureOptions(precision, seed=5, tile_size=64))
    noisy, restored = [], []
    for i, picture in enumerate(pictures):
        x0, t = picture[None].float() / 127.5 - 1, torch.tensor([3])
        x_t = D(x0, t, D.draw(x0, seeded_generator("cpu", 5, "degraded", i)))
        x_t = degrade.quantize_8bit(x_t) if precision == "8bit" else x_t
        assert torch.equal(seen[i], x_t)
        noisy.append(psnr(x_t, x0))
        restored.append(psnr(0.9 * x_t, x0))
    assert len({round(value, 3) for value in noisy}) == 3
    assert found.value("degraded", "psnr") == pytest.approx(sum(noisy) / 3, abs=1e-5)
    assert found.value("direct", "psnr") == pytest.approx(sum(restored) / 3, abs=1e-5)
    low, high = found.rows["direct"]["psnr"].interval
    assert min(restored) - 1e-5 <= low < high <= max(restored) + 1e-5
    assert found.differences["degraded"]["psnr"].value == pytest.approx((sum(noisy) - sum(restored)) / 3, abs=1e-5)


def test_pictures_are_cut_to_what_the_degradation_divides_by():
    seen = []
    R = FunctionRestorer(lambda x, t: (seen.append(tuple(x.shape)), x)[1], degrade.make("pixelate", T=2))
    measure_pictures(R, smooth(), 2, PictureOptions(tile_size=64))
    assert seen == [(1, 3, 40, 32), (1, 3, 20, 16), (1, 3, 16, 48)]


def model(D, channels=3, **how):
    """A restorer with an untrained network, whose output is 0."""
    seen = {"in_channels": 2 * channels, "out_channels": channels} if "inverse_input" in how else {}
    shape = {"image_size": 16, "in_channels": channels, "model_channels": 8, "channel_mult": (1,), "norm_groups": 4}
    config = UNetConfig(**{**shape, "attention_resolutions": (), "patch_size": 2, "num_res_blocks": 1, **seen})
    return Restorer(UNet(config), D, **how).eval()


def test_a_network_that_adds_nothing_to_the_inverse_of_the_whole_picture_scores_as_the_inverse():
    D = degrade.make("blur", T=4, cumulative_sigma=(0.5, 1.0, 1.5, 2.0), padding_mode="symmetric")
    R = model(D, inverse_input=InverseInput())
    found = measure_pictures(R, smooth(), 4, PictureOptions("8bit", tile_size=16))
    inverse, direct = (found.value(name, "psnr") for name in ("linear inverse", "direct"))
    assert direct == pytest.approx(inverse, abs=1e-4)
    assert inverse > found.value("degraded", "psnr") + 3


def test_a_noise_model_and_a_found_severity_restore_the_same_pictures():
    D = degrade.make("blur", T=4, cumulative_sigma=(0.5, 1.0, 1.5, 2.0), padding_mode="symmetric")
    pictures, seen = smooth(SIZES[:1]), []
    x0 = pictures[0][None].float() / 127.5 - 1
    R = FunctionRestorer(lambda x, t: (seen.append(int(t[0])), 0.95 * x0 if x.shape == x0.shape else x)[1], D)
    told = FunctionRestorer(lambda x, t: x0.clone(), degrade.make("gaussian_noise", T=4, schedule=SIGMA))
    options = PictureOptions("8bit", tile_size=64, noise_model=told, find_severity=True)
    found = measure_pictures(R, pictures, 3, options)
    assert list(found.rows) == ["degraded", "linear inverse", "noise model", "found severity", "direct"]
    # Its prediction is the truth, which agrees with what it is told; blurred pictures are rounded to 8 bits.
    assert found.value("noise model", "psnr") > 50
    assert found.value("found severity", "psnr") == found.value("direct", "psnr")
    assert seen[-1] == 3
    assert set(seen) - {3}  # severities that were tried
    assert list(measure_pictures(R, pictures, 3).rows) == ["degraded", "linear inverse", "direct"]


def photographs(folder, pictures):
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0))).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def exported(tmp_path):
    D = degrade.make("gaussian_noise", T=4, schedule=SIGMA)
    training = restore.TrainConfig(steps=1, quantize_input=True)
    return restore.export_model(model(D, prediction_type="eps"), tmp_path / "m", "# Nothing\n", training=training)


def run(*arguments):
    evaluate.main([*map(str, arguments), "--device", "cpu"])


@pytest.mark.filterwarnings("ignore:precision bfloat16")  # this processor may emulate it
def test_the_file_holds_every_severity_of_the_pictures_that_are_held_out(exported, tmp_path, capsys):
    photographs(tmp_path / "set" / "train", gray(0))
    photographs(tmp_path / "set" / "test", smooth())
    out = tmp_path / "found.json"
    run("--model", exported, "--data", tmp_path / "set", "--severities", "1,3", "--images", 2, "--out", out)
    written = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert [table["severity"] for table in written["tables"]] == [1, 3]
    assert (written["data"]["images"], written["input_precision"]) == (2, "8bit")
    first = PackedImages.pack([smooth()[0], smooth()[1]])
    assert written["data"]["sha256"] == first.sha256
    for table in written["tables"]:
        rows = table["evaluation"]["rows"]
        # x0_hat = x_t - b_t 0
        assert rows["direct"]["psnr"]["value"] == pytest.approx(rows["degraded"]["psnr"]["value"], abs=1e-5)
        assert len(rows["direct"]["psnr"]["interval"]) == 2
    assert "2 pictures, gaussian_noise, severity 3 of 4, 8bit:" in capsys.readouterr().out
    run("--model", exported, "--data", photographs(tmp_path / "all", smooth()), "--input-precision", "float32",
        "--precision", "bfloat16", "--tile-size", 8, "--out", out)  # fmt: skip
    written = json.loads(out.read_text())
    assert [table["severity"] for table in written["tables"]] == [1, 2, 3, 4]
    assert (written["data"]["images"], written["input_precision"]) == (3, "float32")


def test_pictures_that_something_else_has_blurred_are_restored_from_the_severity_that_is_found():
    D = degrade.make("blur", T=4, cumulative_sigma=(0.5, 1.0, 1.5, 2.0), padding_mode="symmetric")
    clean = smooth(((32, 32),))
    x0 = clean[0][None].float() / 127.5 - 1
    blurred = ((D(x0, torch.tensor([3]))[0] + 1) * 127.5).round().byte()
    pairs = PackedImages.pack([torch.cat([clean[0], blurred])])
    R = FunctionRestorer(lambda x, t: x0.expand_as(x), D)  # a perfect R finds the severity that explains the picture
    found, severities = measure_pairs(R, pairs, options=PictureOptions("8bit", tile_size=64))
    assert severities == [3]
    assert list(found.rows) == ["degraded", "linear inverse", "direct"]
    given, _ = measure_pairs(R, pairs, 3, PictureOptions("8bit", tile_size=64))
    assert given.rows["linear inverse"] == found.rows["linear inverse"]
    told = measure_pictures(R, clean, 3, PictureOptions("8bit", tile_size=64))
    assert given.value("linear inverse", "psnr") == pytest.approx(told.value("linear inverse", "psnr"), abs=1e-5)
    assert given.value("degraded", "psnr") == pytest.approx(told.value("degraded", "psnr"), abs=1e-5)


def test_pairs_are_read_by_name_and_the_file_holds_the_severities(exported, tmp_path):
    photographs(tmp_path / "clean", smooth())
    photographs(tmp_path / "noisy", list(smooth())[:2])
    out, both = tmp_path / "found.json", (tmp_path / "clean", tmp_path / "noisy")
    run("--model", exported, "--pairs", *both, "--data", tmp_path / "clean", "--out", out)
    written = json.loads(out.read_text())
    [table] = written["tables"]
    assert (table["severity"], written["data"]["images"], written["input_precision"]) == (None, 2, "8bit")
    assert len(table["found"]) == 2
    assert all(1 <= t <= 4 for t in table["found"])
    run("--model", exported, "--pairs", *both, "--severities", "2,3", "--out", out)
    assert [(t["severity"], t["found"]) for t in json.loads(out.read_text())["tables"]] == [(2, None), (3, None)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data {0}/set", "--model and --data (or --pairs) are both needed"),
        ("--model {0}/nowhere --data {0}/set", "--model {0}/nowhere: "),
        ("--model {0}/m --noise-model {0}/nowhere --data {0}/set", "--noise-model {0}/nowhere: "),
        ("--model {0}/m --pairs {0}/set {0}/nowhere", "{0}/nowhere does not exist"),
        ("--model {0}/m --data {0}/nowhere", "--data {0}/nowhere does not exist"),
        ("--model {0}/m --data {0}/set --severities 5", "--severities 5: "),
        ("--model {0}/m --data {0}/set --tile-size 7", "tile_size is 7; it must be a multiple of 2"),
        ("--model {0}/m --data {0}/set --severities 1 --out {0}", "cannot be written"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message, exported, tmp_path):
    photographs(tmp_path / "set", smooth(SIZES[1:2]))
    with pytest.raises(UsageError) as error:
        run(*arguments.format(tmp_path).split())
    assert message.format(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
