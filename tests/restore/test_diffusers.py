"""Restorers between diffusers and here: their files, their schedules and their trajectories."""

from __future__ import annotations

import re
import sys

import pytest
import torch

import degrade
from restore import Restorer, TrainConfig, Trainer, from_diffusers, to_diffusers
from restore.interop.diffusers_scheduler import read_scheduler
from restore.interop.diffusers_weights import their_weights
from samplers import DDIM, DDPM, Algorithm2, sample, trajectory
from tests.diffusers_networks import SMALL, called, randomized


def test_reading_and_writing_need_no_diffusers(written, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "diffusers", None)  # an import would raise
    folder, net = written
    R = from_diffusers(folder)
    assert all(torch.equal(value, R.net.state_dict()[name]) for name, value in net.state_dict().items())
    to_diffusers(R, tmp_path / "again")


def test_files_of_the_first_versions_are_read(written):
    folder, net = written
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    named = {
        re.sub(r"to_q|to_k|to_v|to_out\.0", lambda found: old[found[0]], n): v for n, v in their_weights(net).items()
    }
    assert any("proj_attn" in name for name in named)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(named, folder / "diffusion_pytorch_model.bin")
    R = from_diffusers(folder)
    assert all(torch.equal(value, R.net.state_dict()[name]) for name, value in net.state_dict().items())


class Trap:
    def __reduce__(self):
        return print, ("code from a file",)


def test_no_code_is_run(written, capsys):
    folder, _ = written
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Trap()}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.bin cannot be read: "):
        from_diffusers(folder)
    assert "code from a file" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("T", [10, 1000])
@pytest.mark.parametrize(
    "how",
    [{}, {"beta_start": 1e-3, "beta_end": 0.05, "prediction_type": "v_prediction"},
     {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", "clip_sample": False}],
    ids=str,
)  # fmt: skip
def test_the_schedule_is_that_of_the_scheduler(name, T, how, diffusers, tmp_path):
    scheduler = getattr(diffusers, name)(num_train_timesteps=T, **how)
    scheduler.save_pretrained(tmp_path)
    D, prediction_type, clip_sample = read_scheduler(tmp_path / "scheduler_config.json")
    a, b = D.schedule(D.T)
    torch.testing.assert_close(a[1:] ** 2, scheduler.alphas_cumprod.double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(b[1:] ** 2, 1 - scheduler.alphas_cumprod.double(), rtol=0, atol=1e-6)
    expected = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}[scheduler.config.prediction_type]
    assert (D.T, prediction_type, clip_sample) == (T, expected, scheduler.config.clip_sample)


@pytest.mark.parametrize(
    ("prediction_type", "schedule", "T"),
    [
        ("eps", "linear_beta", 1000),
        ("v", "cosine", 10),
        ("x0", {"name": "linear_beta", "arguments": {"beta_end": 0.02}}, 4),
    ],
)
def test_a_restorer_comes_back_whole_from_any_layout(prediction_type, schedule, T, written, diffusers, tmp_path):
    net = written[1]
    R = Restorer(
        net,
        degrade.make("gaussian_noise", T=T, schedule=schedule),
        prediction_type,
        clip_sample=prediction_type == "eps",
    )
    flat = to_diffusers(R, tmp_path / "flat")
    diffusers.DDPMPipeline.from_pretrained(flat).save_pretrained(tmp_path / "nested")
    assert (tmp_path / "nested" / "unet" / "config.json").is_file()
    for folder in (flat, tmp_path / "nested"):
        again = from_diffusers(folder)
        assert (again.degradation, again.prediction_type, again.clip_sample) == (
            R.degradation,
            R.prediction_type,
            R.clip_sample,
        )
        assert all(torch.equal(value, again.net.state_dict()[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("schedule", ["linear_beta", {"name": "cosine", "arguments": {"s": 0.02}}], ids=str)
def test_betas_without_a_name_in_diffusers_are_listed(schedule, written, diffusers, tmp_path):
    D = degrade.make("gaussian_noise", T=7, schedule=schedule)
    folder = to_diffusers(Restorer(written[1], D, "eps"), tmp_path / "listed")
    scheduler = diffusers.DDPMScheduler.from_pretrained(folder)
    like = torch.zeros(7, 1, 1, 1, dtype=torch.float64)
    t = torch.arange(1, 8)
    a, b = (table.flatten() for table in D.coefficients(t, like))
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), a**2, rtol=1e-4, atol=1e-7)  # float32 there
    again = from_diffusers(folder).degradation
    for found, expected in zip(again.coefficients(t, like), (a, b), strict=True):
        torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1e-12)


@pytest.fixture
def walked(diffusers, tmp_path):
    """Return a function that reads a network with a scheduler of T = 20, and makes x_T and a generator."""

    def read(scheduler, **how):
        theirs = randomized(diffusers.UNet2DModel(**SMALL))
        theirs.save_pretrained(tmp_path)
        schedule = getattr(diffusers, scheduler)(num_train_timesteps=20, beta_end=0.4, **how)
        schedule.save_pretrained(tmp_path)
        x_T = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        return from_diffusers(tmp_path), theirs, schedule, x_T

    return read


@pytest.mark.parametrize(
    ("prediction_type", "variance"),
    [("epsilon", "small"), ("epsilon", "large"), ("sample", "small"), ("v_prediction", "large")],
)
def test_a_walk_is_that_of_the_ddpm_scheduler(prediction_type, variance, walked):
    R, theirs, schedule, x = walked("DDPMScheduler", variance_type=f"fixed_{variance}", prediction_type=prediction_type)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        visits = list(trajectory(R, DDPM(variance), x, generator=torch.Generator().manual_seed(0)))
        for k, visit in zip(schedule.timesteps, visits, strict=True):
            x = schedule.step(theirs(x, k).sample, k, x, generator=generator).prev_sample
            torch.testing.assert_close(visit.x_s, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("steps", "eta"), [(20, 0.0), (5, 0.5)])
def test_a_walk_is_that_of_the_ddim_scheduler(steps, eta, walked):
    """With the clamped x0_hat in the noise too, as here; diffusers leaves that to an option."""
    R, theirs, schedule, x = walked("DDIMScheduler")
    schedule.set_timesteps(steps)
    times = [*(int(k) + 1 for k in schedule.timesteps), 0]
    generator = torch.Generator().manual_seed(0)
    ours = sample(R, DDIM(eta), x, None, times, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for k in schedule.timesteps:
            how = {"eta": eta, "use_clipped_model_output": True, "generator": generator}
            x = schedule.step(theirs(x, k).sample, k, x, **how).prev_sample
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-4)


def test_a_network_of_noise_learns_to_undo_a_blur(written, diffusers, tmp_path):
    folder, _ = written
    blur = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=3)
    training = Trainer(
        Restorer(from_diffusers(folder).net, blur, "x0"),
        TrainConfig(steps=3, batch_size=8, micro_batch_size=4, optimizer={"name": "adam", "arguments": {"lr": 1e-3}}),
    )

    def faces(n, generator):
        return torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1

    losses = [float(record.loss) for record in training.run(faces)]
    assert losses[-1] < losses[0]
    x_T = torch.zeros(2, 3, 8, 8)
    assert sample(training.ema, Algorithm2(), x_T).isfinite().all()
    with pytest.raises(ValueError, match=r"cannot express Blur.*write the network alone, to_diffusers\(restorer.net"):
        to_diffusers(training.ema, tmp_path / "blur")
    assert not (tmp_path / "blur").exists()
    theirs = diffusers.UNet2DModel.from_pretrained(to_diffusers(training.restorer.net, tmp_path / "net")).eval()
    torch.testing.assert_close(*called(training.restorer.net.eval(), theirs), rtol=0, atol=1e-5)
