"""Networks read from and written for diffusers, against diffusers itself."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from restore import UNet, UNetConfig, from_diffusers, to_diffusers
from restore.interop.diffusers_config import read_network
from restore.interop.diffusers_weights import load_weights
from tests.diffusers_networks import HO, NETWORKS, blocks, called, randomized


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
