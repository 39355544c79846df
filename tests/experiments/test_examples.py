"""Images with what belongs to them: pairs from disk, second images and labels, from files to a measured model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import restore
from degrade import make
from degrade.command_line import UsageError, validated
from experiments import compare, train
from experiments.data.datasets import load_examples
from experiments.data.examples import Examples
from experiments.data.images import InMemoryImages
from experiments.data.options import ExampleOptions
from restore import Restorer, TrainConfig, Trainer
from restore.data_order import EpochSampler
from restore.optimizers import Adam
from samplers import Algorithm2, sample
from tests.experiments.test_train import TINY

CPU = torch.device("cpu")


def load(size=16, **options):
    return load_examples(validated(ExampleOptions, options), size, 0, CPU)


def ramps(folder, names, change=lambda v: v, side=20):
    """Gray ramps of different brightness, the darkest first, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        ramp = np.add.outer(np.arange(side) * 2, np.arange(side)) + 5 * i
        Image.fromarray(change(ramp).astype(np.uint8)).save(folder / name)
    return folder


def half(v):
    return v // 2 + 100


@pytest.fixture
def pairs(tmp_path):
    names = [f"{i:02}.png" for i in range(12)]
    ramps(tmp_path / "clean", [*names, "alone.png"])
    ramps(tmp_path / "degraded", names, half)
    ramps(tmp_path / "degraded", ["other.png"], half)
    return str(tmp_path / "clean"), str(tmp_path / "degraded")


def assert_paired(x0, z):
    """z is what `half` makes of x0, to the rounding of 8 bits."""
    assert torch.allclose(z, (((x0 + 1) * 127.5) // 2 + 100) / 127.5 - 1, atol=1.01 / 127.5)


def test_a_pair_shares_window_and_mirror_and_those_without_a_partner_are_named(pairs, capsys):
    data = load(pairs=pairs, flip=True)
    said = capsys.readouterr().err
    assert "left out 1 of 13 images without a partner of the same name: alone" in said
    assert "left out 1 of 13 images without a partner of the same name: other" in said
    assert (len(data.training), len(data.validation), data.channels) == (11, 1, 1)
    x0, given = data.training.at(torch.arange(11), torch.Generator().manual_seed(0))
    assert x0.shape == (11, 1, 16, 16)
    assert_paired(x0, given["z"])
    assert {bool(row[0, 0, 0] < row[0, 0, -1]) for row in x0} == {True, False}  # some are mirrored
    drawn, given = data.training.draw(5, torch.Generator().manual_seed(1))
    assert_paired(drawn, given["z"])
    assert data.training(5).shape == data.training.partners(5).shape == (5, 1, 16, 16)


def test_pairs_are_matched_below_the_folders_that_hold_all_of_them(tmp_path, pairs, capsys):
    (tmp_path / "deep").mkdir()
    (tmp_path / "degraded").rename(tmp_path / "deep" / "degraded")
    data = load(pairs=(pairs[0], str(tmp_path / "deep")), oversize=1.0, flip=False)
    x0, given = data.training.at(torch.arange(len(data.training)))
    assert_paired(x0, given["z"])
    with pytest.raises(UsageError, match="no name is in both"):
        load(pairs=(pairs[0], str(ramps(tmp_path / "more", ["x.png"]))))


def test_a_pair_of_two_sizes_is_named_and_skipped(tmp_path, pairs, capsys):
    Image.new("L", (40, 40)).save(tmp_path / "degraded" / "03.png")
    data = load(pairs=pairs)
    assert len(data.training) + len(data.validation) == 11
    assert "20 x 20 and 40 x 40 pixels; scale them to one size" in capsys.readouterr().err


def test_training_degrades_an_image_into_its_own_partner():
    seen = []

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x_t, t):
            seen.append((x_t.detach(), t))
            return self.scale * x_t

    pixels = torch.randint(256, (6, 2, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    data = Examples(InMemoryImages(pixels, 8, flip=False), "z")
    D = make("interpolation", T=4, schedule="rectified")  # without a source: every partner comes with its image
    trainer = Trainer(Restorer(Net(), D), TrainConfig(steps=3, batch_size=4, optimizer=Adam(lr=1e-9), seed=5))
    list(trainer.run(data))
    order = EpochSampler(6, 5)
    for step, (x_t, t) in enumerate(seen):
        clean, given = data.at(order.at(4 * step, 4))
        a = (1 - t / 4).view(-1, 1, 1, 1)
        assert torch.allclose(x_t, a * clean + (1 - a) * given["z"], atol=1e-6)


def test_pairs_are_trained_restored_and_compared_like_any_degradation(tmp_path, pairs, capsys):
    out = tmp_path / "out"
    train.main([*TINY, "--pairs", *pairs, "--out", str(out), "--degradation-args", "T=4"])
    specification = restore.read_checkpoint_config(restore.latest(out / "model"))
    assert (specification.degradation.name, specification.data.images) == ("interpolation", 11)
    measured = json.loads((out / "metrics.json").read_text())["evaluation"]
    data = load(pairs=pairs, channels="1")
    x0, given = data.validation.at(torch.arange(1))
    rmse = float(((given["z"] - x0) / 2).square().mean().sqrt())
    assert measured["rows"]["degraded"]["rmse"]["value"] == pytest.approx(rmse, rel=1e-4)
    R = restore.load(out / "model")
    assert sample(R, Algorithm2(), given["z"], given["z"]).shape == x0.shape
    compare.main(["--model", str(out), "--images", "2", "--steps", "2", "--severities", "0", "--device", "cpu"])
    compared = json.loads((out / "compare" / "compare.json").read_text())
    assert compared["evaluation"]["rows"]["degraded"]["rmse"]["value"] == pytest.approx(rmse, abs=0.5 / 255)
    leaks = ["--degradation-args", "T=4", "schedule=cosine"]
    with pytest.raises(UsageError, match="keeps a part of the clean image"):
        train.main([*TINY, "--pairs", *pairs, "--out", str(tmp_path / "no"), *leaks])
    with pytest.raises(UsageError, match="use --degradation interpolation"):
        train.main([*TINY, "--pairs", *pairs, "--out", str(tmp_path / "no"), "--degradation", "blur"])


def test_labels_come_from_folders_or_a_file_and_reach_the_network(tmp_path, capsys):
    for label in ("cat", "dog"):
        ramps(
            tmp_path / "set" / label,
            [f"{label}{i}.png" for i in range(5)],
            lambda v, add=60 * (label == "dog"): v + add,
        )
    options = {"data": str(tmp_path / "set"), "oversize": 1.0, "flip": False}
    data = load(**options, labels="folders")
    assert data.classes == ("cat", "dog")
    x0, given = data.training.at(torch.arange(len(data.training)))
    assert given["label"].tolist() == [int(level > -0.7) for level in x0[:, 0, 0, 0]]
    file = tmp_path / "labels.csv"
    rows = [f"{label}/{label}{i}.png,{9 + (label == 'cat')}" for label in ("cat", "dog") for i in range(5)]
    file.write_text("\n".join(["name,label", *rows]))
    other = load(**options, labels=str(file))
    assert other.classes == ("9", "10")
    assert torch.equal(other.training.at(torch.arange(8))[1]["label"], 1 - given["label"][:8])
    file.write_text("\n".join(rows[1:]))
    with pytest.raises(UsageError, match=r"1 of . images have no label, such as cat/cat0\.png"):
        load(**options, labels=str(file))

    out = tmp_path / "out"
    train.main([*TINY, "--data", options["data"], "--labels", "folders", "--cond-dropout", "0.5", "--out", str(out)])
    specification = restore.read_checkpoint_config(restore.latest(out / "model"))
    assert specification.network.arguments["num_classes"] == 2
    assert specification.data.classes == ("cat", "dog")
    assert specification.training.cond_dropout == 0.5


def test_a_second_image_is_a_condition_of_the_network(tmp_path, pairs):
    out = tmp_path / "out"
    clean, other = pairs
    data = load(data=clean, cond_images=other)
    x0, given = data.training.at(torch.arange(3))
    assert_paired(x0, given["image"])
    train.main([*TINY, "--data", clean, "--cond-images", other, "--out", str(out)])
    assert restore.read_checkpoint_config(restore.latest(out / "model")).network.arguments["cond_channels"] == 1
