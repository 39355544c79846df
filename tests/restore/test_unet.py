"""The network: its sizes, its shapes, what it refuses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from restore import UNet, UNetConfig
from tests.trainings import SMALL


def parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(config).parameters())


def test_published_networks_have_the_published_number_of_parameters():
    assert parameters(UNetConfig(dropout=0.1)) == 35_746_307
    assert (
        parameters(UNetConfig(image_size=256, channel_mult=(1, 1, 2, 2, 4, 4), attention_resolutions=(16,)))
        == 113_673_219
    )


@settings(max_examples=15, deadline=None)
@given(
    multipliers=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    blocks=st.integers(1, 2),
    channels=st.integers(1, 4),
    patch=st.sampled_from([1, 2]),
    stretch=st.integers(1, 2),
)
def test_any_shape_of_network_maps_images_to_images(multipliers, blocks, channels, patch, stretch):
    size = 2 * patch * 2 ** (len(multipliers) - 1)
    config = UNetConfig(
        image_size=size, in_channels=channels, model_channels=4, channel_mult=tuple(multipliers), num_res_blocks=blocks,
        norm_groups=2, patch_size=patch,
        attention_resolutions=(size // patch,), num_heads=2,
    )  # fmt: skip
    net = UNet(config).eval()
    for p in net.parameters():  # a new network would put out zero
        nn.init.normal_(p, std=0.3)
    x = torch.randn(2, channels, size, size * stretch)
    out = net(x, torch.tensor([1, 9]))
    assert out.shape == x.shape
    # Images of a batch do not see each other, and t matters.
    torch.testing.assert_close(net(x[:1], torch.tensor([1])), out[:1], rtol=1e-4, atol=1e-5)
    assert (net(x, torch.tensor([2, 9]))[0] - out[0]).abs().max() > 1e-6


def test_a_new_network_puts_out_zero():
    assert UNet(SMALL)(torch.randn(2, 1, 16, 16), torch.tensor([1, 2])).abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 20}, "image_size 20 does not divide by 8"),
        ({"attention_resolutions": (15,)}, r"attention_resolutions at \[15\]: the levels have sides \[32, 16, 8, 4\]"),
        ({"norm_groups": 48}, "norm_groups 48 does not divide model_channels 128"),
        ({"num_heads": 3}, "num_heads 3 does not divide"),
        ({"channel_mult": ()}, "at least 1 item"),
        (
            {"channel_mult": (1, 1.3)},
            r"channel_mult \(1, 1.3\) times model_channels 128 must be whole numbers",
        ),
        ({"model_channels": 48, "channel_mult": (2, 4)}, "norm_groups 32 does not divide model_channels 48"),
        ({"resblock_down": (4,)}, r"resblock_down at \[4\]: the levels have sides \[32, 16, 8\]"),
        ({"resblock_up": (32,)}, r"resblock_up at \[32\]: the levels have sides \[16, 8, 4\]"),
        ({"num_head_channels": 300}, "num_head_channels 300 is more than a level with attention has, 256"),
        ({"mid_attention_groups": 48}, "mid_attention_groups 48 does not divide 256 channels"),
        ({"wdith": 3}, "[Uu]nexpected keyword"),
        ({"dropout": 1.0}, "less than 1"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValidationError, match=message):
        UNetConfig(**arguments)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 15, 16), (1, 16, 17)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="takes 1 channels and sides that divide by 2"):
        UNet(SMALL)(torch.zeros(1, *shape), torch.tensor([1]))
