"""What the bridge to diffusers cannot express or read: named, in one line."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import degrade
from restore import Restorer, UNet, UNetConfig, from_diffusers, to_diffusers

SHAPE = {"size": 8, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "groups": 4}
EVERYWHERE = {"down_block_types": 2 * ["AttnDownBlock2D"], "up_block_types": 2 * ["AttnUpBlock2D"]}
NOISE = degrade.make("gaussian_noise", T=10)


@pytest.fixture
def folder(tmp_path):
    return to_diffusers(Restorer(UNet(UNetConfig(**SHAPE)), NOISE, "eps"), tmp_path)


def change(file, **options):
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


NETWORKS = [
    ({"time_embedding_type": "fourier"}, "time_embedding_type 'fourier'; only 'positional' can"),
    ({"freq_shift": 0, "norm_eps": 1e-5}, "freq_shift 0; only 1 can, norm_eps 1e-05; only 1e-06 can"),
    ({"downsample_padding": 1}, "downsample_padding 1; only 0 can"),
    ({"downsample_type": "resnet"}, "downsample_type 'resnet'; only 'conv' can"),
    ({"upsample_type": "resnet"}, "upsample_type 'resnet'"),
    ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift 'scale_shift'; only 'default' can"),
    ({"act_fn": "gelu"}, "act_fn 'gelu'; only 'silu' or 'swish' can"),
    ({"add_attention": False}, "add_attention False; only True can"),
    ({"mid_block_type": None}, "mid_block_type None"),
    ({"center_input_sample": True}, "center_input_sample True"),
    ({"mid_block_scale_factor": 1.4}, "mid_block_scale_factor 1.4"),
    ({"attn_norm_num_groups": 2}, "attn_norm_num_groups 2"),
    ({"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
    ({"num_class_embeds": 10}, "num_class_embeds 10"),
    ({"sample_size": [8, 16]}, r"sample_size \[8, 16\] cannot be expressed; only the side of square images can"),
    ({"sample_size": None}, "sample_size None"),
    ({"out_channels": 6}, "out_channels 6 cannot be expressed; only as many as in_channels can"),
    ({"block_out_channels": [8, 12]}, r"\[8, 12\] cannot .* only multiples of an even first can"),
    ({"block_out_channels": [8]}, r"block_out_channels \[8\] .* one for each of down_block_types"),
    ({"time_embedding_dim": 64}, "time_embedding_dim 64 cannot be expressed; only 32 can"),
    ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "types .'SkipDownBlock2D'.* only DownBlock2D"),
    ({"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "up_block_types .* only the mirror of the way down"),
    ({"attention_head_dim": 5}, "attention_head_dim 5 cannot be expressed; only one number of heads"),
    ({"attention_head_dim": 4} | EVERYWHERE, "attention_head_dim 4 cannot be expressed"),
    ({"wavelets": 3}, "wavelets 3 cannot be expressed; only options known here can"),
    ({"_class_name": "UNet2DConditionModel"}, "the class 'UNet2DConditionModel'; only 'UNet2DModel' can"),
    ({"sample_size": 9}, "UNetConfig: size 9 does not divide by 2"),
    ({"norm_num_groups": 3}, "groups 3 does not divide width 8"),
]
SCHEDULERS = [
    ({"beta_schedule": "scaled_linear"}, "beta_schedule 'scaled_linear'; only 'linear' or 'squaredcos_cap_v2' can"),
    ({"trained_betas": [0.1]}, r"trained_betas \[0.1\]; only None can"),
    ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr True"),
    ({"thresholding": True}, "thresholding True"),
    ({"clip_sample_range": 2.0}, "clip_sample_range 2.0; only 1.0 can"),
    ({"prediction_type": "flow"}, "prediction_type 'flow'; only 'epsilon' or 'sample' or 'v_prediction' can"),
    ({"_class_name": "PNDMScheduler"}, "the class 'PNDMScheduler'; only 'DDPMScheduler' or 'DDIMScheduler' can"),
    ({"beta_end": 2.0}, "beta_T = 2.0: input should be less than or equal to 1"),
]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [*(("config.json", *row) for row in NETWORKS), *(("scheduler_config.json", *row) for row in SCHEDULERS)],
)
def test_what_cannot_be_expressed_is_refused_by_name(name, options, message, folder):
    change(folder / name, **options)
    with pytest.raises(ValueError, match=message) as caught:
        from_diffusers(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"patch": 2, "attention": ()}, "diffusers cannot express patch 2; only 1 can be written"),
        ({"heads": 2, "attention": (8, 4)}, "diffusers cannot express heads 2; only 1, or as many where"),
        ({"width": 9, "groups": 3}, "diffusers cannot express width 9; only an even one can be written"),
    ],
)
def test_a_network_that_diffusers_cannot_express_is_not_written(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_diffusers(UNet(UNetConfig(**SHAPE | config)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_restorer_that_diffusers_cannot_express_is_not_written(tmp_path):
    net = UNet(UNetConfig(**SHAPE))
    straight = degrade.make("gaussian_noise", T=4, schedule="straight")
    for D in (straight, degrade.make("interpolation", T=4), degrade.make("pixelate", T=2)):
        with pytest.raises(ValueError, match=r"diffusers cannot express .*write its network alone"):
            to_diffusers(Restorer(net, D), tmp_path / "model")
    with pytest.raises(ValueError, match=r"only a restore\.UNet can be written for diffusers, not Linear"):
        to_diffusers(Restorer(nn.Linear(1, 1), NOISE), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_of_another_network_are_named(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_in.weight"] = weights["conv_in.weight"][:4].contiguous()
    del weights["mid_block.attentions.0.to_k.bias"], weights["conv_out.bias"]
    save_file(weights | {"class_embedding.weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="not of the network in the configuration") as caught:
        from_diffusers(folder)
    for fault in (r"conv_in.weight is (4, 3, 3, 3)", "mid_block.attentions.0.to_q.bias", "and 1 more"):
        assert fault in str(caught.value)


def test_files_that_are_missing_or_no_such_files_are_named(folder):
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read: "):
        from_diffusers(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds neither diffusion_pytorch_model\.safetensors nor"):
        from_diffusers(folder)
    for content in ("[1]", "{", "1"):
        (folder / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json holds no JSON object"):
            from_diffusers(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing; diffusers' save_pretrained writes it"):
        from_diffusers(folder)
