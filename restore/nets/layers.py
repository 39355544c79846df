"""The layers of the UNet: time embedding, group norm and self-attention, and the settings its blocks share.

In bfloat16 on a CPU, attention multiplies plain matrices, because PyTorch's fused kernel has no fast bfloat16 products
there, with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from degrade.functional.levels import compute_dtype

__all__ = ["Attention", "BlockConfig", "Norm", "TimeEmbedding", "attend", "divide", "full_precision", "zero_module"]

MAX_MATMUL_TOKENS = 1024  # attention on a CPU holds the weights of all pairs in memory up to this number of tokens


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


def divide(x: Tensor, scale: float) -> Tensor:
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
        return divide(x + added, self.output_scale_factor)
