"""Checkpoints: a restorer comes back, and nothing else does."""

from __future__ import annotations

import json

import pytest
import torch

import degrade
import restore
from restore import Restorer, Training, UNet, UNetConfig
from tests.cases import images
from tests.trainings import SMALL, data, noise, start


def test_a_saved_restorer_comes_back(tmp_path):
    training = start(5)
    list(training.run(data))
    training.restorer.net.to(memory_format=torch.channels_last)  # which safetensors refuses unless made plain
    restore.save(tmp_path, training)
    R = restore.load(tmp_path)
    x_t, t = images(3, 1, 16, 16, dtype=torch.float32), torch.tensor([1, 5, 10])
    with torch.no_grad():
        assert torch.equal(R(x_t, t), training.ema(x_t, t))
    assert degrade.make("interpolation", T=10) == R.degradation
    assert not R.training
    with pytest.raises(ValueError, match="no source to draw"):
        R.degradation.draw(x_t)
    assert restore.load(tmp_path, source=noise).degradation.draw(x_t).shape == x_t.shape


def test_only_the_last_checkpoints_stay_and_nothing_half_written(tmp_path, monkeypatch):
    training = start(4)
    for _ in training.run(data):
        restore.save(tmp_path, training, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]

    def fails(*args):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fails)
    training.step = 5
    with pytest.raises(OSError, match="disk full"):
        restore.save(tmp_path, training)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    assert restore.latest(tmp_path).name == "step-00000004"


def test_a_checkpoint_holds_no_code(tmp_path):
    training = start(1)
    list(training.run(data))
    checkpoint = restore.save(tmp_path, training)
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        "ema.safetensors", "model.json", "optimizer.pt", "weights.safetensors",
    ]  # fmt: skip
    torch.load(checkpoint / "optimizer.pt", weights_only=True)
    said = json.loads((checkpoint / "model.json").read_text())
    assert said["degradation"]["name"] == "interpolation"
    assert said["network"]["width"] == 8
    assert said["format"] == 1


@pytest.mark.parametrize(("key", "value"), [("format", 2), ("step", "many"), ("surprise", 1), ("predict", "x1")])
def test_a_foreign_specification_is_refused(tmp_path, key, value):
    training = start(1)
    list(training.run(data))
    file = restore.save(tmp_path, training) / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"model.json: {key}"):
        restore.load(tmp_path)


def test_resuming_another_network_or_degradation_is_refused(tmp_path):
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training)
    D = degrade.make("gaussian_noise", T=10)
    with pytest.raises(ValueError, match="another degradation"):
        restore.resume(tmp_path, Training(Restorer(UNet(SMALL), D), training.config))
    net = UNet(UNetConfig(size=16, channels=1, width=8, multipliers=(1,), attention=(), groups=4))
    with pytest.raises(ValueError, match="another network"):
        restore.resume(tmp_path, Training(Restorer(net, training.restorer.degradation), training.config))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        restore.resume(tmp_path / "elsewhere", training)
