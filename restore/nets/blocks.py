"""The parts of the UNet: time embedding, residual block, self-attention, and the levels that consist of them.

The blocks are those of Ho et al. (arXiv 2006.11239, 2020, appendix B): group norm, SiLU, 3x3 convolution, twice, with
the embedded time added in between. As in Dhariwal and Nichol (arXiv 2105.05233, 2021) the time may also scale the
second norm's result, and a residual block may halve or double the sides, in both of its branches. Layers that end a
residual branch start at zero, so a new network is the identity along its skip connections.

Two computations differ in form from the formulas, with the same result. Doubling the sides (nearest neighbor) and the
3x3 convolution that follows are one transposed convolution: 2x2 output pixels share one input value, so nine weights
act on four different values, which takes 16 products in place of 36. In bfloat16 on a CPU, attention multiplies plain
matrices, because PyTorch's fused kernel has no fast bfloat16 products there.

Modules have the names that diffusers uses; only `to_qkv`, one layer in place of three, and the attention inside its
residual block are different.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from degrade.functional.levels import compute_dtype

__all__ = [
    "Attention",
    "BlockConfig",
    "DownBlock",
    "MidBlock",
    "Norm",
    "Resampling",
    "ResnetBlock",
    "TimeEmbedding",
    "UpBlock",
    "zero_module",
]

Resampling = Literal["conv", "resnet"]  # how a level changes the sides: by a convolution or by a residual block
MAX_MATMUL_TOKENS = 1024  # attention on a CPU holds the weights of all pairs in memory up to this number of tokens
# Row p: which of the three kernel rows are added up for row p of the transposed kernel; the same for columns.
UPSAMPLE_TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class BlockConfig(NamedTuple):
    """The settings that all blocks of one network have in common."""

    time_channels: int
    norm_groups: int
    attention_groups: int  # 0 for attention without a norm
    norm_eps: float
    num_heads: int
    num_head_channels: int | None  # decides in place of `num_heads` where it is a number
    dropout: float
    act_fn: str
    scale_shift: bool
    downsample_padding: int
    gradient_checkpointing: bool
    output_scale_factor: float = 1.0  # the sum of skip connection and branch is divided by it


def zero_module(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return the layer with weight and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _divided(x: Tensor, scale: float) -> Tensor:
    """Return x / scale, or x itself where that is the same."""
    return x if scale == 1 else x / scale


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Return a context without autocast, on the device of `like`."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class TimeEmbedding(nn.Module):
    """Severity t -> its sines and cosines at n = channels / 2 frequencies -> two linear layers.

    The frequencies are 10000^(-i / (n - freq_shift)), i = 0..n-1. They stay in float32 when the module is converted
    (`net.to(torch.bfloat16)`): at t = 1000 the 8 bits of a bfloat16 would turn a wave by up to 2 radians. Only the
    finished sines and cosines are rounded.
    """

    def __init__(self, channels: int, time_channels: int, freq_shift: int = 1) -> None:
        super().__init__()
        half = channels // 2
        exponents = torch.arange(half, dtype=torch.float64) / max(1, half - freq_shift)
        frequencies = torch.exp(-math.log(10000.0) * exponents).float()
        self.frequencies: Tensor
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear_1 = nn.Linear(2 * half, time_channels)
        self.linear_2 = nn.Linear(time_channels, time_channels)

    def forward(self, t: Tensor) -> Tensor:
        """Map t (B,) to its embedding (B, time_channels), in the precision of the weights."""
        angles = t.to(compute_dtype(self.linear_1.weight.dtype))[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        with full_precision(t):
            embedded: Tensor = self.linear_2(F.silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))
        return embedded

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Convert or move the module as `nn.Module` does, except that the frequencies keep their precision."""
        exact = self.frequencies
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.frequencies.dtype != exact.dtype:
            self.frequencies = exact.to(self.frequencies.device)
        return self


class Norm(nn.GroupNorm):
    """A group norm with its statistics in float32, and its result in the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        if x.dtype != torch.bfloat16 or x.is_contiguous():
            # PyTorch's kernels sum in float32, or its autocast hands them float32.
            return super().forward(x).to(x.dtype)
        # In channels_last the kernel for bfloat16 on a CPU takes eight times as long as this.
        weight, bias = self.weight.float(), self.bias.float()
        return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v for q, k, v (B, heads, n, d)."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= MAX_MATMUL_TOKENS:
        among: Tensor = (q * q.shape[3] ** -0.5 @ k.mT).softmax(-1).to(v.dtype)
        return among @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Self-attention over the pixels of (B, C, H, W), added to its input."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        groups = config.attention_groups
        self.output_scale_factor = config.output_scale_factor
        self.heads = channels // config.num_head_channels if config.num_head_channels else config.num_heads
        inner = self.heads * (config.num_head_channels or channels // config.num_heads)
        self.group_norm = Norm(groups, channels, config.norm_eps) if groups else nn.Identity()
        self.to_qkv = nn.Linear(channels, 3 * inner)
        self.to_out = zero_module(nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        tokens = rearrange(self.group_norm(x), "b c h w -> b (h w) c")
        q, k, v = rearrange(self.to_qkv(tokens), "b n (three m d) -> three b m n d", three=3, m=self.heads)
        mixed = rearrange(attend(q, k, v), "b m n d -> b n (m d)")
        added: Tensor = rearrange(self.to_out(mixed), "b (h w) c -> b c h w", h=x.shape[2])
        return _divided(x + added, self.output_scale_factor)


class ResnetBlock(nn.Module):
    """A residual block, followed by self-attention where `attention` is true.

    `resample` halves or doubles the sides of what both branches see.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: BlockConfig,
        attention: bool = False,
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.act = getattr(F, config.act_fn)
        self.resample = resample or nn.Identity()
        self.norm1 = Norm(config.norm_groups, in_channels, config.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_channels, (1 + config.scale_shift) * out_channels)
        self.norm2 = Norm(config.norm_groups, out_channels, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = zero_module(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.conv_shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.attention = Attention(out_channels, config) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x, with the channels of `skip` appended, (B, in_channels, H, W) to (B, out_channels, H, W).

        `embedding` (B, time_channels) is the embedded time after its activation, which is the same for all blocks.
        """
        if self.config.gradient_checkpointing and torch.is_grad_enabled():
            # No intermediate result is kept: the backward pass computes them again, with the same dropout.
            return checkpoint(self._forward, x, embedding, skip, use_reentrant=False)
        return self._forward(x, embedding, skip)

    def _forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None) -> Tensor:
        x = x if skip is None else torch.cat([x, skip], dim=1)
        h = self.conv1(self.resample(self.act(self.norm1(x))))
        time = self.time_emb_proj(embedding)[:, :, None, None]
        if self.config.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(self.dropout(self.act(h)))
        x = self.conv_shortcut(self.resample(x))
        return self.attention(_divided(x + h, self.config.output_scale_factor))  # type: ignore[no-any-return]


class DownsampleConv2d(nn.Module):
    """A 3x3 convolution with stride 2; a `padding` of 0 means one pixel at the bottom and at the right."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.far = 1 - padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, C, H, W) to (B, C, H/2, W/2); `embedding` is not used."""
        halved: Tensor = self.conv(F.pad(x, (0, self.far, 0, self.far)) if self.far else x)
        return halved


class UpsampleConv2d(nn.Module):
    """A 3x3 convolution, padded by one, of an image whose sides have been doubled by nearest neighbor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor(UPSAMPLE_TAPS), persistent=False)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map x (B, C, H, W) to (B, C, 2H, 2W); `embedding` is not used."""
        with full_precision(x):  # sums of weights, rounded once
            kernel = torch.einsum("pi,ocij,qj->copq", self.taps, self.conv.weight, self.taps)
        return F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)


class DownBlock(nn.Module):
    """One level on the way down: residual blocks, then a halving of the sides where `resampling` names one.

    Args:
        channels: of the input, then of the output of each residual block.
        config: common to all blocks.
        attention: whether self-attention follows each residual block.
        resampling: how the sides are halved at the end; None if they are not.
    """

    def __init__(
        self, channels: list[int], config: BlockConfig, attention: bool, resampling: Resampling | None
    ) -> None:
        super().__init__()
        last = channels[-1]
        self.resnets = nn.ModuleList(ResnetBlock(c_in, c_out, config, attention) for c_in, c_out in pairwise(channels))
        self.downsample: nn.Module | None = None
        if resampling == "resnet":
            self.downsample = ResnetBlock(last, last, config, resample=nn.AvgPool2d(2))
        elif resampling == "conv":
            self.downsample = DownsampleConv2d(last, config.downsample_padding)

    def forward(self, h: Tensor, embedding: Tensor) -> list[Tensor]:
        """Return the skip features of the level; the last of them is the level's output."""
        skips = []
        for block in self.resnets:
            h = block(h, embedding)
            skips.append(h)
        if self.downsample is not None:
            skips.append(self.downsample(h, embedding))
        return skips


class MidBlock(nn.Module):
    """The residual blocks at the lowest resolution; one for each entry of `attentions`, with or without attention."""

    def __init__(self, channels: int, config: BlockConfig, attentions: tuple[bool, ...]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, config, attention) for attention in attentions)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map h (B, C, H, W) to the same shape."""
        for block in self.resnets:
            h = block(h, embedding)
        return h


class UpBlock(nn.Module):
    """One level on the way up: residual blocks that each read a skip feature, then a doubling of the sides.

    Args:
        channels: of the input, then of the output of each residual block.
        skips: channels of the skip feature that each residual block reads.
        config: common to all blocks.
        attention: whether self-attention follows each residual block.
        resampling: how the sides are doubled at the end; None if they are not.
    """

    def __init__(
        self, channels: list[int], skips: list[int], config: BlockConfig, attention: bool, resampling: Resampling | None
    ) -> None:
        super().__init__()
        last = channels[-1]
        rows = zip(channels[:-1], skips, channels[1:])
        self.resnets = nn.ModuleList(ResnetBlock(c_in + skip, c_out, config, attention) for c_in, skip, c_out in rows)
        self.upsample: nn.Module | None = None
        if resampling == "resnet":
            self.upsample = ResnetBlock(last, last, config, resample=nn.Upsample(scale_factor=2))
        elif resampling == "conv":
            self.upsample = UpsampleConv2d(last)

    def forward(self, h: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """Map h to the level's output; each residual block removes the last entry of `skips`."""
        for block in self.resnets:
            h = block(h, embedding, skips.pop())
        return h if self.upsample is None else self.upsample(h, embedding)
