"""The network's shortcuts: what is computed otherwise than it reads gives what it reads."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restore import UNet, UNetConfig
from restore.nets.blocks import UpsampleConv2d
from restore.nets.layers import Norm, TimeEmbedding, attend

VARIANT = {
    "use_scale_shift_norm": True, "resblock_down": (16,), "resblock_up": (4,), "act_fn": "gelu", "num_head_channels": 3,
    "mid_block_scale_factor": 1.5, "mid_attention_groups": 0, "downsample_padding": 1, "attention_resolutions_up": (),
}  # fmt: skip
CONFIG = {
    "image_size": 16, "model_channels": 8, "channel_mult": (1, 2, 2), "num_res_blocks": 1,
    "attention_resolutions": (8,), "num_heads": 2, "norm_groups": 4,
}  # fmt: skip


def network(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    net = UNet(UNetConfig(**CONFIG | changes))
    for p in net.parameters():  # a new network would put out zero
        nn.init.normal_(p, std=0.2)
    return net.to(dtype)


def batch(n=3, dtype=torch.float64, side=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, side, 2 * side, generator=generator, dtype=dtype), torch.arange(1, n + 1)


def as_it_reads(net, x, t):
    """The network from its parts' parameters, with nothing but the formulas."""
    half = len(net.time_embed.frequencies)
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float64) / max(1, half - 1)).float()
    angles = t.to(x)[:, None] * frequencies
    emb = net.time_embed.linear_2(F.silu(net.time_embed.linear_1(torch.cat([angles.sin(), angles.cos()], 1).to(x))))
    skips = [net.conv_in(x)]
    for level in net.down_blocks:
        for block in level.resnets:
            skips.append(residual(block, skips[-1], emb))
        if level.downsample is not None:
            skips.append(
                F.conv2d(
                    F.pad(skips[-1], (0, 1, 0, 1)), level.downsample.conv.weight, level.downsample.conv.bias, stride=2
                )
            )
    h = skips[-1]
    for block in net.mid_block.resnets:
        h = residual(block, h, emb)
    for level in net.up_blocks:
        for block in level.resnets:
            h = residual(block, torch.cat([h, skips.pop()], 1), emb)
        if level.upsample is not None:
            h = F.conv2d(
                F.interpolate(h, scale_factor=2), level.upsample.conv.weight, level.upsample.conv.bias, padding=1
            )
    return net.conv_out(F.silu(norm(net.norm_out, h)))


def norm(layer, x):
    return F.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)


def residual(block, x, emb):
    h = block.conv1(F.silu(norm(block.norm1, x))) + block.time_emb_proj(F.silu(emb))[:, :, None, None]
    x = block.conv_shortcut(x) + block.conv2(F.silu(norm(block.norm2, h)))
    if isinstance(block.attention, nn.Identity):
        return x
    B, C, H, W = x.shape
    layer = block.attention
    tokens = norm(layer.group_norm, x).flatten(2).mT
    q, k, v = layer.to_qkv(tokens).view(B, H * W, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    mixed = ((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) @ v
    return x + layer.to_out(mixed.transpose(1, 2).flatten(2)).mT.reshape(B, C, H, W)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_output_and_gradients_are_those_of_the_formulas(layout, checkpointing):
    net = network(gradient_checkpointing=checkpointing).to(memory_format=layout)
    x, t = batch()
    ours, plain = net(x.contiguous(memory_format=layout), t), as_it_reads(net, x, t)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12 * plain.abs().max().item())
    gradients = [torch.autograd.grad(out.square().mean(), list(net.parameters())) for out in (ours, plain)]
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11 * theirs.abs().max().item())


def test_doubling_is_the_convolution_of_doubled_pixels():
    torch.manual_seed(0)
    layer = UpsampleConv2d(3).double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), plain, rtol=0, atol=1e-13)
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize("n", [16, 1100])  # pixels: pairs held in memory, and not
def test_attention_in_bfloat16_is_within_its_rounding(n):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, n, 8).to(torch.bfloat16)
    plain = ((q.double() @ k.double().mT) / 8**0.5).softmax(-1) @ v.double()
    assert (attend(q, k, v).double() - plain).abs().max() < 0.02 * v.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_norm_sums_in_float32(layout):
    torch.manual_seed(0)
    layer = Norm(2, 8)
    x = (torch.randn(2, 8, 32, 32) + 20).to(torch.bfloat16).contiguous(memory_format=layout)
    out = layer(x)
    assert out.dtype == torch.bfloat16
    # Sums in bfloat16 would stop growing at 256 terms; only the result is rounded.
    torch.testing.assert_close(out.float(), norm(layer, x.float()), rtol=2**-8, atol=1e-3)


def test_time_is_embedded_in_float32_under_autocast():
    torch.manual_seed(0)
    layer, t = TimeEmbedding(16, 32), torch.tensor([1, 500, 1000])
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(t)
    assert torch.equal(low, layer(t))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_frequencies_stay_exact_when_the_network_is_converted(dtype):
    """Rounded to bfloat16 they gave sines off by more than 1 at t = 1000."""
    torch.manual_seed(0)
    layer, t = TimeEmbedding(64, 256), torch.tensor([1, 500, 999, 1000])
    exact = layer.frequencies.clone()
    seen = []
    layer.linear_1.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    layer(t)
    layer.to(dtype)(t)
    assert seen[1].dtype == dtype
    assert torch.equal(seen[1], seen[0].to(dtype))  # the finished waves, rounded once
    assert layer.frequencies.dtype == torch.float32
    assert torch.equal(layer.float().frequencies, exact)
    assert torch.equal(copy.deepcopy(layer).double().frequencies, exact)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_autocast_gives_float32_within_the_rounding_of_bfloat16(layout):
    net = network(torch.float32).to(memory_format=layout)
    x, t = batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, t)
    expand_level = net(x, t)
    assert low.dtype == torch.float32
    assert 0 < (low - expand_level).norm() < 0.03 * expand_level.norm()


@pytest.mark.parametrize("changes", [{}, VARIANT], ids=["usual", "variant"])
def test_checkpointing_gives_the_same_gradients_to_the_bit_with_dropout_and_keeps_less(changes):
    x, t = batch(dtype=torch.float32)
    gradients, kept = [], []
    for checkpointing in (False, True):
        net = network(torch.float32, gradient_checkpointing=checkpointing, dropout=0.3, **changes)
        torch.manual_seed(3)
        kept.append([])
        with torch.autograd.graph.saved_tensors_hooks(lambda v: kept[-1].append(v.numel()) or v, lambda v: v):
            loss = net(x, t).square().mean()
        loss.backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))
    assert sum(kept[1]) < sum(kept[0]) / 2


@pytest.mark.parametrize(
    ("dynamic", "graphs", "changes"),
    [(True, 1, VARIANT | {"resblock_up": (8,)}), (None, 2, {"gradient_checkpointing": True})],
)
def test_compiled_in_one_graph_for_all_batch_sizes(dynamic, graphs, changes):
    net = network(torch.float32, channel_mult=(1, 2), **changes)
    names = list(net.state_dict())
    expected = [net(*batch(n, torch.float32)) for n in (2, 3, 5, 4)]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # Without a break; by itself PyTorch compiles for the first batch and once more for all others.
    net.compile(backend="eager", fullgraph=True, dynamic=dynamic)
    for n, out in zip((2, 3, 5, 4), expected):
        torch.testing.assert_close(net(*batch(n, torch.float32)), out, rtol=1e-5, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    assert list(net.state_dict()) == names
    torch._dynamo.reset()
