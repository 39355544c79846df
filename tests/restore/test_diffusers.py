"""The bridge to diffusers, against diffusers itself."""

from __future__ import annotations

import json
import re
import sys
import warnings

import pytest
import torch
from torch import nn

import degrade
from restore import Restorer, TrainConfig, Trainer, UNet, UNetConfig, from_diffusers, to_diffusers
from restore.interop.diffusers_config import read_network
from restore.interop.diffusers_scheduler import read_scheduler
from restore.interop.diffusers_weights import load_weights, their_weights
from samplers import DDIM, DDPM, Algorithm2, sample, trajectory

NARROW = {"sample_size": 8, "block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
HO = {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6}


def blocks(attends):
    down = [("Attn" if here else "") + "DownBlock2D" for here in attends]
    return {"down_block_types": down, "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)]}


def options(size, channels, attends, layers=1, **changes):
    """Options of a UNet2DModel like the published ones, with 4 groups."""
    shape = {"sample_size": size, "block_out_channels": channels, "layers_per_block": layers}
    return HO | {"norm_num_groups": 4, "attention_head_dim": None} | shape | blocks(attends) | changes


NETWORKS = {
    "as ddpm-cifar10-32": options(16, [8, 16, 16, 16], [0, 1, 0, 0], 2),
    "as ddpm-celebahq-256": options(32, [8, 8, 16, 16, 32, 32], [0, 0, 0, 0, 1, 0], 2),
    "attention everywhere, three layers": options(8, [8, 24], [1, 1], 3),
    "heads of eight channels": options(8, [8, 16, 16], [0, 1, 1], attention_head_dim=8),
    "one gray level, no attention": options(8, [8], [0], in_channels=1, out_channels=1),
    "cosines first": options(8, [8, 16], [0, 1], flip_sin_to_cos=True, dropout=0.1),
    # From here with diffusers' own defaults, but for what is named.
    "several numbers of heads": NARROW | blocks([1, 1]) | {"attention_head_dim": 4},
    "heads that do not fill the channels": NARROW | blocks([1, 1]) | {"attention_head_dim": 5},
    "no attention in the middle": NARROW | blocks([1, 0]) | {"add_attention": False, "downsample_type": None},
    "no middle": NARROW | blocks([0, 1]) | {"mid_block_type": None, "add_attention": False},
    "resnet sampling": NARROW | blocks([1, 1]) | {"downsample_type": "resnet", "upsample_type": "resnet"},
    "scale and shift": NARROW | blocks([0, 1]) | {"resnet_time_scale_shift": "scale_shift"},
    "scale and shift, a norm in the middle": NARROW
    | blocks([0, 1])
    | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 8},
    "another norm in the middle": NARROW | blocks([0, 1]) | {"attn_norm_num_groups": 2},
    "no mirror, channels that are no multiples": NARROW
    | {
        "block_out_channels": [8, 12, 20],
        "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D", "UpBlock2D"],
        "downsample_type": "resnet",
    },
    "a factor in the middle": NARROW | blocks([0, 1]) | {"mid_block_scale_factor": 1.41, "act_fn": "gelu"},
    "centered input, wide time": NARROW
    | blocks([0, 1])
    | {"center_input_sample": True, "time_embedding_dim": 20, "act_fn": "mish"},
    "other constants, three layers": NARROW
    | blocks([0, 1])
    | {"freq_shift": -1, "norm_eps": 1e-2, "act_fn": "relu", "layers_per_block": 3, "downsample_padding": 0},
}
SMALL = NETWORKS["attention everywhere, three layers"]


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers

        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        _ = diffusers.UNet2DModel, diffusers.DDPMPipeline  # imported when first asked for
    return diffusers


def randomized(net, gain=0.5):
    torch.manual_seed(0)
    for p in net.parameters():  # the layers that start at zero too
        nn.init.normal_(p, std=gain * len(p) ** -0.5 if p.ndim > 1 else 0.3)
    return net.eval()


def called(ours, theirs):
    """Return what both networks put out for the same images, at level t here and k = t - 1 there."""
    channels, size = ours.config.in_channels, ours.config.image_size
    x, t = torch.randn(4, channels, size, size), torch.tensor([1, 2, 500, 1000])
    with torch.no_grad():
        return ours(x, t), theirs(x, t - 1).sample


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_read_and_written_back(name, diffusers, tmp_path):
    theirs = randomized(diffusers.UNet2DModel(**NETWORKS[name]))
    theirs.save_pretrained(tmp_path)
    R = from_diffusers(tmp_path)
    assert not R.training
    out, expected = called(R.net, theirs)
    assert expected.std() > 0.1
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    assert sum(p.numel() for p in R.net.parameters()) == sum(p.numel() for p in theirs.parameters())

    again = diffusers.UNet2DModel.from_pretrained(to_diffusers(R, tmp_path / "again"))
    reread = from_diffusers(tmp_path / "again").net
    assert reread.config == R.net.config
    assert all(torch.equal(value, reread.state_dict()[key]) for key, value in R.net.state_dict().items())
    mine = theirs.state_dict()
    if theirs.config.flip_sin_to_cos:
        first = "time_embedding.linear_1.weight"
        mine[first] = mine[first].roll(mine[first].shape[1] // 2, 1)
    assert mine.keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in mine.items())
    changed = {key for key, value in theirs.config.items() if key[0] != "_" and value != again.config[key]}
    # None is written as what it stands for, and the other way round.
    assert changed <= {"flip_sin_to_cos", "attn_norm_num_groups", "downsample_type"}


def test_the_default_network_is_read_at_full_size(diffusers, tmp_path, monkeypatch):
    monkeypatch.setattr(nn.init, "kaiming_uniform_", lambda *_, **__: None)  # slow for weights that are replaced
    with torch.device("meta"):  # to be filled below
        theirs = diffusers.UNet2DModel()
    theirs = randomized(theirs.to_empty(device="cpu"), 0.3)
    theirs.save_config(tmp_path)
    config, flip = read_network(tmp_path / "config.json")
    assert (config.image_size, config.level_channels, config.attention_resolutions) == (
        32,
        (224, 448, 672, 896),
        (16, 8, 4),
    )
    net = UNet(config).eval()
    load_weights(net, theirs.state_dict(), flip)
    out, expected = called(net, theirs)
    assert expected.std() > 0.1
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("sample_size", "levels", "size"), [(None, 2, 32), (None, 7, 64), ([8, 16], 2, 8), (12, 3, 12)]
)
def test_the_side_of_images_that_a_file_leaves_open(sample_size, levels, size, diffusers, tmp_path):
    shape = {"sample_size": sample_size, "block_out_channels": [8] * levels, "norm_num_groups": 4}
    with torch.device("meta"):
        diffusers.UNet2DModel(**shape | blocks([0] * levels)).save_config(tmp_path)
    assert read_network(tmp_path / "config.json")[0].image_size == size


@pytest.mark.parametrize(
    "changes",
    [
        {"time_offset": -1},
        {"time_offset": 0},
        {"time_offset": 7, "attention_resolutions": ()},
        {"num_heads": 4, "attention_resolutions": (4, 2), "channel_mult": (1, 2, 2)},
        {"resblock_down": (8,), "resblock_up": (4,), "attention_resolutions": (8, 4), "use_scale_shift_norm": True},
        {
            "resblock_up": (2,),
            "attention_resolutions_up": (),
            "channel_mult": (1, 1.5, 2),
            "mid_block": "resnets",
            "num_heads": 2,
            "attention_resolutions": (2,),
        },
        {
            "mid_block": "none",
            "attention_resolutions": (),
            "num_heads": 2,
            "downsample_padding": 1,
            "norm_eps": 1e-5,
            "freq_shift": 0,
        },
        {
            "num_heads": 2,
            "attention_resolutions": (2,),
            "channel_mult": (1, 3, 2),
            "num_res_blocks": 2,
            "dropout": 0.2,
            "in_channels": 1,
        },
    ],
    ids=str,
)
def test_a_network_is_written_and_read_back(changes, diffusers, tmp_path):
    shape = {
        "image_size": 8,
        "model_channels": 8,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (4,),
        "norm_groups": 4,
        "time_offset": -1,
    }
    net = randomized(UNet(UNetConfig(**shape | changes))).to(memory_format=torch.channels_last)
    theirs = diffusers.UNet2DModel.from_pretrained(to_diffusers(net, tmp_path)).eval()
    torch.testing.assert_close(*called(net, theirs), rtol=0, atol=1e-5)
    again = from_diffusers(tmp_path).net
    written = shape | changes | {"time_offset": -1}
    heads = written.pop("num_heads", 1)
    if heads > 1 and net.config.attention_channels:  # their number is given by the channels of each
        written["num_head_channels"] = min(net.config.attention_channels) // heads
    assert again.config == UNetConfig(**written)
    if net.config.time_offset == -1:
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())


def published(width, channels, size, attention):
    return {"sample_size": size, "block_out_channels": [width * m for m in channels], **blocks(attention)}


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (published(128, (1, 2, 2, 2), 32, (0, 1, 0, 0)), 35_746_307),
        (published(128, (1, 1, 2, 2, 4, 4), 256, (0, 0, 0, 0, 1, 0)), 113_673_219),
    ],
)
def test_the_published_configurations_are_read(shape, parameters, tmp_path):
    """As of version 0.0.4, which left most options unsaid."""
    old = {"act_fn": "silu", "attention_head_dim": None, "center_input_sample": False, "mid_block_scale_factor": 1}
    saved = {"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", **HO, **old, **shape}
    (tmp_path / "config.json").write_text(
        json.dumps(saved | {"norm_num_groups": 32, "time_embedding_type": "positional"})
    )
    config, flip = read_network(tmp_path / "config.json")
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(config).parameters()) == parameters
    assert not flip
    assert (config.time_offset, config.attention_resolutions, config.num_heads) == (-1, (16,), 1)


@pytest.fixture
def written(tmp_path):
    """A folder with a small network in it, and the network."""
    net = randomized(
        UNet(
            UNetConfig(
                image_size=8,
                model_channels=8,
                channel_mult=(1, 2),
                attention_resolutions=(4,),
                norm_groups=4,
                time_offset=-1,
            )
        )
    )
    return to_diffusers(net, tmp_path / "model"), net


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
