"""Checkpoints: a restorer comes back, and nothing else does."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import degrade
import restore
from restore import ComponentConfig, DatasetInfo, EMAConfig, Restorer, TrainConfig, Trainer, UNet, UNetConfig
from tests.cases import images
from tests.trainings import SMALL, data, noise, start

FACES = DatasetInfo("faces.zip", 100, "ab" * 32)


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
        assert restore.read_checkpoint_config(restore.latest(folder)).step == step
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
    assert said["network"]["arguments"]["model_channels"] == 8
    assert said["versions"].keys() == {"python", "torch", "degrade-restore"}
    assert said["normalization"] == "v / 127.5 - 1"
    assert said["format"] == 3


def test_prior_and_data_come_back_as_they_were(tmp_path):
    training, prior = start(1), ComponentConfig("standard_normal", {"shape": (1, 16, 16)})
    said = restore.read_checkpoint_config(restore.save(tmp_path, training, prior=prior, data=FACES))
    assert (said.prior, said.data) == (prior, FACES)
    assert said.prior.arguments == {"shape": [1, 16, 16]}
    D = degrade.make("decolor", T=3)
    assert ComponentConfig.of(D) == ComponentConfig(D.name, D.arguments)
    for value in (float("nan"), object()):
        with pytest.raises(ValueError, match="JSON"):
            ComponentConfig("mine", {"value": value})


def test_resuming_with_other_batches_random_numbers_or_losses_is_refused(tmp_path):
    """The steps to come would be those of another training; the learning rate and the number of steps may change."""
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training)
    others = {
        "batch_size": ("8", 16, "16"),
        "micro_batch_size": ("4", 2, "2"),
        "loss": (r"L1\(\)", "l2", r"L2\(\)"),
        "timesteps": (r"UniformTimesteps\(\)", "beta", r"BetaTimesteps\(alpha=2.0, beta=2.0\)"),
        "weighting": (r"UniformWeighting\(\)", "min_snr", r"MinSNR\(gamma=5.0\)"),
        "cond_dropout": ("0.0", 0.5, "0.5"),
        "optimizer": ("adam", "sgd", "sgd"),
        "seed": ("0", 1, "1"),
    }
    for name, (was, value, now) in others.items():
        with pytest.raises(
            ValueError, match=rf"step-00000001 is of another {name}: {was}, and this run asks for {now}"
        ):
            restore.resume(tmp_path, start(1, **{name: value}))
    assert restore.resume(tmp_path, start(9, lr=1e-5, warmup=0, max_grad_norm=None, ema=EMAConfig(0.5))) == 1


def test_what_is_not_registered_itself_is_not_saved_under_the_name_of_another(tmp_path):
    class Brighter(type(degrade.make("decolor", T=3))):
        """Not what the name it inherits stands for."""

        def apply(self, x0, t, z):
            return x0 + t.view(-1, 1, 1, 1)

    class Nameless(degrade.Degradation):
        """Has no name at all."""

    message = r"Brighter is not registered, so a file would rebuild 'decolor' in its place; register it"
    with pytest.raises(ValueError, match=message):
        ComponentConfig.of(Brighter(T=3))
    with pytest.raises(ValueError, match="the class Nameless is not registered, so no file can rebuild it"):
        ComponentConfig.of(Nameless(T=3))
    training = Trainer(Restorer(UNet(SMALL), Brighter(T=3)), TrainConfig())
    with pytest.raises(ValueError, match=message):
        restore.save(tmp_path, training)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="class Brighter has no name to be saved under"):
        degrade.make("compose", parts=(Brighter(T=3), degrade.make("gaussian_noise")))


def test_resuming_another_network_or_degradation_or_data_set_is_refused(tmp_path):
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training, data=FACES)
    D = degrade.make("gaussian_noise", T=10)
    with pytest.raises(ValueError, match="another degradation"):
        restore.resume(tmp_path, Trainer(Restorer(UNet(SMALL), D), training.config))
    net = UNet(
        UNetConfig(
            image_size=16, in_channels=1, model_channels=8, channel_mult=(1,), attention_resolutions=(), norm_groups=4
        )
    )
    with pytest.raises(ValueError, match="another network"):
        restore.resume(tmp_path, Trainer(Restorer(net, training.restorer.degradation), training.config))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        restore.resume(tmp_path / "elsewhere", training)
    for how, message in (
        ({"prediction_type": "v"}, "another prediction_type: x0, and this run asks for v"),
        ({"clip_sample": True}, "another clip_sample: False, and this run asks for True"),
    ):
        with pytest.raises(ValueError, match=message):
            restore.resume(
                tmp_path, Trainer(Restorer(UNet(SMALL), training.restorer.degradation, **how), training.config)
            )
    with pytest.raises(
        ValueError, match=r"another data set: faces.zip, 100 images, sha256 abababababab, .* cats, 7 im"
    ):
        restore.resume(tmp_path, training, DatasetInfo("cats", 7))
    for same in (None, FACES, DatasetInfo("/moved/faces.zip", 100, FACES.sha256), DatasetInfo("faces.zip", 100)):
        assert restore.resume(tmp_path, training, same) == 1
