"""The parts of the UNet: time embedding, residual block, self-attention, and the levels they make up.

The blocks are those of Ho et al. (arXiv 2006.11239, 2020, appendix B): group norm, SiLU, 3x3 convolution, twice, with
the embedded time added in between. As in Dhariwal and Nichol (arXiv 2105.05233, 2021) the time may also scale the
second norm's result, and a residual block may halve or double the sides, in both of its branches. Layers that end a
residual branch start at zero, so that a new network is the identity along its skip connections.

Some things are computed otherwise than they read, to the same result. A doubling of the sides (nearest neighbor) and
the 3x3 convolution after it are one transposed convolution: two by two pixels share a value, so three by three weights
act on two by two different ones, 16 products in place of 36. And in bfloat16 on a CPU attention multiplies plain
matrices, because PyTorch's fused kernel has no fast bfloat16 products there.
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

__all__ = ["Attention", "Downward", "Norm", "Plan", "Resampling", "Residual", "TimeEmbedding", "Upward", "zeroed"]

Resampling = Literal["conv", "resnet"]  # how a level ends: with a convolution or with a residual block
TOKENS = 1024  # up to which attention on a CPU may hold all pairs in memory
# Which of a kernel's three rows (columns) a transposed kernel's four add up, where the sides are doubled.
DOUBLED = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class Plan(NamedTuple):
    """What all blocks of one network have in common."""

    time: int
    groups: int
    attention_groups: int  # 0 for attention without a norm
    eps: float
    heads: int
    head_channels: int | None  # decides in place of `heads` where it is a number
    dropout: float
    act_fn: str
    scale_shift: bool
    padding: int
    checkpointing: bool
    scale: float = 1.0  # by which the sums of skip connection and branch are divided


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return the layer with weight and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def divided(x: Tensor, scale: float) -> Tensor:
    """Return x / scale, or x itself where that is the same."""
    return x if scale == 1 else x / scale


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Return a context without autocast, on the device of `like`."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class TimeEmbedding(nn.Module):
    """Severity t -> its sines and cosines at n = `width / 2` frequencies -> two linear layers.

    The frequencies are 10000^(-i / (n - freq_shift)), i = 0..n-1. They stay in float32 when the module is converted
    (`net.to(torch.bfloat16)`): at t = 1000 the 8 bits of a bfloat16 would turn a wave by up to 2 radians. Only the
    finished sines and cosines are rounded.
    """

    def __init__(self, width: int, time: int, freq_shift: int = 1) -> None:
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float64) / max(1, half - freq_shift)
        frequencies = torch.exp(-math.log(10000.0) * exponents).float()
        self.frequencies: Tensor
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear1 = nn.Linear(2 * half, time)
        self.linear2 = nn.Linear(time, time)

    def forward(self, t: Tensor) -> Tensor:
        """Map t (B,) to its embedding (B, time), in the precision of the weights."""
        angles = t.to(compute_dtype(self.linear1.weight.dtype))[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        with full_precision(t):
            embedded: Tensor = self.linear2(F.silu(self.linear1(waves.to(self.linear1.weight.dtype))))
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


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v for q, k, v (B, heads, n, d)."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= TOKENS:
        among: Tensor = (q * q.shape[3] ** -0.5 @ k.mT).softmax(-1).to(v.dtype)
        return among @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Self-attention over the pixels of (B, C, H, W), added to its input."""

    def __init__(self, channels: int, plan: Plan) -> None:
        super().__init__()
        self.scale = plan.scale
        self.heads = channels // plan.head_channels if plan.head_channels else plan.heads
        inner = self.heads * (plan.head_channels or channels // plan.heads)
        self.norm = Norm(plan.attention_groups, channels, plan.eps) if plan.attention_groups else nn.Identity()
        self.query_key_value = nn.Linear(channels, 3 * inner)
        self.out = zeroed(nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Let every pixel look at every other."""
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")
        q, k, v = rearrange(self.query_key_value(tokens), "b n (three m d) -> three b m n d", three=3, m=self.heads)
        mixed = rearrange(attended(q, k, v), "b m n d -> b n (m d)")
        added: Tensor = rearrange(self.out(mixed), "b (h w) c -> b c h w", h=x.shape[2])
        return divided(x + added, self.scale)


class Residual(nn.Module):
    """A residual block from `before` to `after` channels, followed by self-attention where asked for.

    `resample` halves or doubles the sides of what both branches see.
    """

    def __init__(
        self, before: int, after: int, plan: Plan, attention: bool = False, resample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.checkpointing, self.scale_shift, self.scale = plan.checkpointing, plan.scale_shift, plan.scale
        self.act = getattr(F, plan.act_fn)
        self.resample = resample or nn.Identity()
        self.norm1 = Norm(plan.groups, before, plan.eps)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(plan.time, 2 * after if plan.scale_shift else after)
        self.norm2 = Norm(plan.groups, after, plan.eps)
        self.dropout = nn.Dropout(plan.dropout)
        self.conv2 = zeroed(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attention = Attention(after, plan) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x, with the channels of `skip` after its own, (B, before, H, W) to (B, after, H, W).

        `embedding` (B, time) is the embedded time after its activation, which is the same for all blocks.
        """
        if self.checkpointing and torch.is_grad_enabled():
            # Nothing inside is kept for the backward pass: it is computed again, with the same dropout.
            return checkpoint(self._forward, x, embedding, skip, use_reentrant=False)
        return self._forward(x, embedding, skip)

    def _forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None) -> Tensor:
        x = x if skip is None else torch.cat([x, skip], dim=1)
        h = self.conv1(self.resample(self.act(self.norm1(x))))
        time = self.time(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(self.dropout(self.act(h)))
        return self.attention(divided(self.shortcut(self.resample(x)) + h, self.scale))  # type: ignore[no-any-return]


class Halving(nn.Conv2d):
    """The 3x3 convolution at every second pixel, with the image padded by one: on all sides, or (0) on the far two."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=padding)
        self.far = 1 - padding

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map x (B, C, H, W) to (B, C, H/2, W/2); the time does not matter here."""
        return super().forward(F.pad(x, (0, self.far, 0, self.far)) if self.far else x)


class Downward(nn.Module):
    """One level on the way down: blocks, then a halving of the sides unless it is the last."""

    def __init__(self, channels: list[int], plan: Plan, attention: bool, shrink: Resampling | None) -> None:
        super().__init__()
        pairs, last = pairwise(channels), channels[-1]
        self.blocks = nn.ModuleList(Residual(before, after, plan, attention) for before, after in pairs)
        self.shrink: nn.Module | None = None
        if shrink is not None:
            residual = shrink == "resnet"
            self.shrink = (
                Residual(last, last, plan, resample=nn.AvgPool2d(2)) if residual else Halving(last, plan.padding)
            )

    def forward(self, h: Tensor, embedding: Tensor) -> list[Tensor]:
        """Return what every step of the level made, for the way up; the last of them goes on."""
        made = []
        for block in self.blocks:
            h = block(h, embedding)
            made.append(h)
        if self.shrink is not None:
            made.append(self.shrink(h, embedding))
        return made


class Doubling(nn.Conv2d):
    """The 3x3 convolution, padded by one, of an image whose sides have been doubled by nearest neighbor."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor(DOUBLED), persistent=False)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map x (B, C, H, W) to (B, C, 2H, 2W); the time does not matter here."""
        with full_precision(x):  # sums of weights, rounded once
            kernel = torch.einsum("pi,ocij,qj->copq", self.taps, self.weight, self.taps)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class Upward(nn.Module):
    """One level on the way up: blocks that each take a skip connection in, then a doubling unless it is the last."""

    def __init__(
        self, channels: list[int], skips: list[int], plan: Plan, attention: bool, grow: Resampling | None
    ) -> None:
        super().__init__()
        rows, last = zip(channels[:-1], skips, channels[1:]), channels[-1]
        self.blocks = nn.ModuleList(Residual(before + skip, after, plan, attention) for before, skip, after in rows)
        self.grow: nn.Module | None = None
        if grow is not None:
            residual = grow == "resnet"
            self.grow = Residual(last, last, plan, resample=nn.Upsample(scale_factor=2)) if residual else Doubling(last)

    def forward(self, h: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """Take one skip connection off the end of `skips` for every block."""
        for block in self.blocks:
            h = block(h, embedding, skips.pop())
        return h if self.grow is None else self.grow(h, embedding)
