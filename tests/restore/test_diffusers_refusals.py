"""What the bridge to diffusers cannot express or read: named, in one line."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import degrade
from restore import Restorer, UNet, UNetConfig, from_diffusers, to_diffusers

SHAPE = {
    "image_size": 8,
    "model_channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "norm_groups": 4,
}
NOISE = degrade.make("gaussian_noise", T=10, schedule={"name": "linear_beta", "arguments": {"beta_end": 0.02}})


@pytest.fixture
def folder(tmp_path):
    return to_diffusers(Restorer(UNet(UNetConfig(**SHAPE)), NOISE, "eps"), tmp_path)


def change(file, **options):
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


NETWORKS = [
    ({"time_embedding_type": "fourier"}, "time_embedding_type 'fourier'; only 'positional' can"),
    ({"time_embedding_type": "learned"}, "time_embedding_type 'learned'; only 'positional' can"),
    ({"freq_shift": 4}, "freq_shift 4 cannot be expressed; only less than 4 can"),
    ({"downsample_padding": 2}, "downsample_padding 2; only 0 or 1 can"),
    ({"downsample_type": "fir"}, "downsample_type 'fir'; only 'conv' or 'resnet' or None can"),
    ({"upsample_type": "fir"}, "upsample_type 'fir'; only 'conv' or 'resnet' or None can"),
    ({"resnet_time_scale_shift": "spatial"}, "scale_shift 'spatial'; only 'default' or 'scale_shift' can"),
    ({"act_fn": "elu"}, "act_fn 'elu'; only 'silu' or 'swish' or 'mish' or 'gelu' or 'relu' can"),
    ({"mid_block_type": "UNetMidBlock2DCrossAttn"}, "mid_block_type 'UNetMidBlock2DCrossAttn'; only"),
    ({"mid_block_scale_factor": 0}, "mid_block_scale_factor = 0: input should be greater than 0"),
    ({"attn_norm_num_groups": 3}, "mid_attention_groups 3 does not divide 16 channels"),
    ({"sample_size": "large"}, "sample_size 'large' cannot be expressed; only sides of images can"),
    ({"sample_size": [8, 9.5]}, r"sample_size \[8, 9.5\] cannot be expressed"),
    ({"block_out_channels": [9, 12]}, r"\[9, 12\] cannot .* only an even first number can"),
    ({"attention_head_dim": 17}, "num_head_channels 17 is more than a level with attention has, 16"),
    ({"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
    ({"num_class_embeds": 10}, "num_class_embeds 10"),
    ({"out_channels": 6}, "out_channels 6 cannot be expressed; only as many as in_channels can"),
    ({"block_out_channels": [8]}, r"down_block_types \[.*\] .* one for each of block_out_channels"),
    ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "types .'SkipDownBlock2D'.* only DownBlock2D and"),
    (
        {"up_block_types": ["AttnSkipUpBlock2D", "UpBlock2D"]},
        "up_block_types .'AttnSkipUpBlock2D'.* only UpBlock2D and",
    ),
    ({"wavelets": 3}, "wavelets 3 cannot be expressed; only options known here can"),
    ({"_class_name": "UNet2DConditionModel"}, "the class 'UNet2DConditionModel'; only 'UNet2DModel' can"),
    ({"sample_size": 9}, "UNetConfig: image_size 9 does not divide by 2"),
    ({"norm_num_groups": 3}, "norm_groups 3 does not divide model_channels 8"),
]
SCHEDULERS = [
    ({"beta_schedule": "scaled_linear"}, "beta_schedule 'scaled_linear'; only 'linear' or 'squaredcos_cap_v2' can"),
    ({"trained_betas": [0.1]}, r"trained_betas has 1 entries, num_train_timesteps is 10"),
    ({"trained_betas": [0.1, 0.0]}, r"trained_betas \[0.1, 0.0\] cannot be expressed; only a list of numbers in"),
    ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr True"),
    ({"thresholding": True}, "thresholding True"),
    ({"clip_sample_range": 2.0}, "clip_sample_range 2.0; only 1.0 can"),
    ({"prediction_type": "flow"}, "prediction_type 'flow'; only 'epsilon' or 'sample' or 'v_prediction' can"),
    ({"_class_name": "PNDMScheduler"}, "the class 'PNDMScheduler'; only 'DDPMScheduler' or 'DDIMScheduler' can"),
    ({"beta_end": 2.0}, "beta_end = 2.0: input should be less than or equal to 1"),
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
        (
            {"patch_size": 2, "attention_resolutions": ()},
            "diffusers cannot express patch_size 2; only 1 can be written",
        ),
        (
            {"num_heads": 2, "attention_resolutions": (8, 4)},
            "diffusers cannot express num_heads 2; only 1, or as many where",
        ),
        (
            {"model_channels": 9, "norm_groups": 3},
            "diffusers cannot express model_channels 9; only an even one can be written",
        ),
        ({"channel_mult": (2, 4)}, r"cannot express channel_mult \(2, 4\); only those that start with 1 can"),
        ({"mid_attention_groups": 0}, "cannot express mid_attention_groups 0; only 1 or more can"),
        (
            {"channel_mult": (1, 1, 1), "attention_resolutions": (8, 4), "resblock_down": (8,)},
            r"cannot express resblock_down \(8,\); only either none or all of the levels with attention can",
        ),
        (
            {"channel_mult": (1, 1, 1), "attention_resolutions": (4, 2), "resblock_up": (2,)},
            r"cannot express resblock_up \(2,\); only either none or all of the levels with attention can",
        ),
    ],
)
def test_a_network_that_diffusers_cannot_express_is_not_written(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_diffusers(UNet(UNetConfig(**SHAPE | config)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_restorer_that_diffusers_cannot_express_is_not_written(tmp_path):
    net = UNet(UNetConfig(**SHAPE))
    straight = degrade.make("gaussian_noise", T=4, schedule="rectified")
    table = {"name": "table", "arguments": {"a": [1, 1, 1], "b": [0, 0.1, 0.2]}}  # noise on top of the whole image
    exploding = degrade.make("gaussian_noise", T=2, schedule=table)
    for D in (straight, exploding, degrade.make("interpolation", T=4), degrade.make("pixelate", T=2)):
        with pytest.raises(ValueError, match=r"diffusers cannot express .*write the network alone"):
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
