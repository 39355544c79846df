"""Small networks of diffusers and of ours, and diffusers itself."""

from __future__ import annotations

import torch
from torch import nn

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
