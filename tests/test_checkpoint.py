"""Checkpoints: a restorer comes back, and nothing else does."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import degrade
import restore
from restore import DataSpec, NamedSpec, Restorer, Training, UNet, UNetConfig
from tests.cases import images
from tests.trainings import SMALL, data, noise, start

FACES = DataSpec("faces.zip", 100, "ab" * 32)


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


def test_a_run_its_models_and_one_checkpoint_all_load(tmp_path):
    training = start(2)
    saved = [restore.save(tmp_path / "model", training) for _ in training.run(data)]
    alone = shutil.copytree(saved[0], tmp_path / "mine")
    for folder, step in ((tmp_path, 2), (tmp_path / "model", 2), (saved[0], 1), (alone, 1)):
        assert restore.read_specification(restore.latest(folder)).step == step
        restore.load(folder)


def test_only_the_last_checkpoints_stay(tmp_path):
    training = start(5)
    for _ in training.run(data):
        restore.save(tmp_path, training, keep=3 if training.step < 4 else 2)
        assert len(list(tmp_path.iterdir())) == min(training.step, 3 if training.step < 4 else 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]
    with pytest.raises(ValueError, match="keep is 0"):
        restore.save(tmp_path, training, keep=0)


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training)
    for tensor in training.state_dict()["ema"].values():
        tensor.fill_(7)
    restore.save(tmp_path, training)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert all((p == 7).all() for p in restore.load(tmp_path).parameters())


def test_an_earlier_step_is_not_saved_beside_a_later_one(tmp_path):
    training = start(2)
    for _ in training.run(data):
        restore.save(tmp_path, training)
    training.step = 1
    with pytest.raises(ValueError, match="step-00000002 is newer than step 1"):
        restore.save(tmp_path, training)
    assert restore.latest(tmp_path).name == "step-00000002"


def test_only_the_first_process_writes(tmp_path):
    training = start(1)
    training.rank = 1
    assert restore.save(tmp_path / "model", training).name == "step-00000000"
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_holds_no_code(tmp_path):
    training = start(1)
    list(training.run(data))
    checkpoint = restore.save(tmp_path, training)
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        "checksums.json", "ema.safetensors", "model.json", "optimizer.pt", "weights.safetensors",
    ]  # fmt: skip
    torch.load(checkpoint / "optimizer.pt", weights_only=True)
    said = json.loads((checkpoint / "model.json").read_text())
    assert said["degradation"]["name"] == "interpolation"
    assert said["network"]["width"] == 8
    assert said["versions"].keys() == {"python", "torch", "degrade-restore"}
    assert said["normalization"] == "v / 127.5 - 1"
    assert said["format"] == 2


def test_prior_and_data_come_back_as_they_were(tmp_path):
    training, prior = start(1), NamedSpec("pure_noise", {"shape": (1, 16, 16)})
    said = restore.read_specification(restore.save(tmp_path, training, prior=prior, data=FACES))
    assert (said.prior, said.data) == (prior, FACES)
    assert said.prior.arguments == {"shape": [1, 16, 16]}
    D = degrade.make("decolor", T=3)
    assert NamedSpec.of(D) == NamedSpec(D.name, D.arguments)
    for value in (float("nan"), object()):
        with pytest.raises(ValueError, match="JSON"):
            NamedSpec("mine", {"value": value})


def test_resuming_another_network_or_degradation_or_data_set_is_refused(tmp_path):
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training, data=FACES)
    D = degrade.make("gaussian_noise", T=10)
    with pytest.raises(ValueError, match="another degradation"):
        restore.resume(tmp_path, Training(Restorer(UNet(SMALL), D), training.config))
    net = UNet(UNetConfig(size=16, channels=1, width=8, multipliers=(1,), attention=(), groups=4))
    with pytest.raises(ValueError, match="another network"):
        restore.resume(tmp_path, Training(Restorer(net, training.restorer.degradation), training.config))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        restore.resume(tmp_path / "elsewhere", training)
    for how, message in (
        ({"predict": "v"}, "another predict: x0, and this run asks for v"),
        ({"clamp": True}, "another clamp: False, and this run asks for True"),
    ):
        with pytest.raises(ValueError, match=message):
            restore.resume(
                tmp_path, Training(Restorer(UNet(SMALL), training.restorer.degradation, **how), training.config)
            )
    with pytest.raises(
        ValueError, match=r"another data set: faces.zip, 100 images, sha256 abababababab, .* cats, 7 im"
    ):
        restore.resume(tmp_path, training, DataSpec("cats", 7))
    for same in (None, FACES, DataSpec("/moved/faces.zip", 100, FACES.sha256), DataSpec("faces.zip", 100)):
        assert restore.resume(tmp_path, training, same) == 1
