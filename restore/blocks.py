"""The parts of the UNet: time embedding, residual block, self-attention, and the levels they make up.

The blocks are those of Ho et al. (arXiv 2006.11239, 2020, appendix B): group norm, SiLU, 3x3 convolution, twice, with
the embedded time added in between. Layers that end a residual branch start at zero, so that a new network is the
identity along its skip connections.

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
from typing import Any, NamedTuple, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from degrade.tables import compute_dtype

__all__ = ["Attention", "Downward", "Norm", "Plan", "Residual", "TimeEmbedding", "Upward", "zeroed"]

EPS = 1e-6  # of every group norm
TOKENS = 1024  # up to which attention on a CPU may hold all pairs in memory
# Which of a kernel's three rows (columns) a transposed kernel's four add up, where the sides are doubled.
DOUBLED = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


class Plan(NamedTuple):
    """What all blocks of one network have in common."""

    time: int
    groups: int
    heads: int
    dropout: float
    checkpointing: bool


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return the layer with weight and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Return a context without autocast, on the device of `like`."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class TimeEmbedding(nn.Module):
    """Severity t -> sines and cosines at `width / 2` frequencies from 1 to 1 / 10000 -> two linear layers.

    The frequencies stay in float32 when the module is converted (`net.to(torch.bfloat16)`): at t = 1000 the 8 bits of
    a bfloat16 would turn a wave by up to 2 radians. Only the finished sines and cosines are rounded.
    """

    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float64) / max(1, half - 1)
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

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__(groups, channels, eps=EPS)

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
        self.heads = plan.heads
        self.norm = Norm(plan.groups, channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Let every pixel look at every other."""
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")
        q, k, v = rearrange(self.query_key_value(tokens), "b n (three m d) -> three b m n d", three=3, m=self.heads)
        mixed = rearrange(attended(q, k, v), "b m n d -> b n (m d)")
        added: Tensor = rearrange(self.out(mixed), "b (h w) c -> b c h w", h=x.shape[2])
        return x + added


class Residual(nn.Module):
    """A residual block from `before` to `after` channels, followed by self-attention where asked for."""

    def __init__(self, before: int, after: int, plan: Plan, attention: bool) -> None:
        super().__init__()
        self.checkpointing = plan.checkpointing
        self.norm1 = Norm(plan.groups, before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(plan.time, after)
        self.norm2 = Norm(plan.groups, after)
        self.dropout = nn.Dropout(plan.dropout)
        self.conv2 = zeroed(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attention = Attention(after, plan) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x, with the channels of `skip` after its own, (B, before, H, W) to (B, after, H, W).

        `embedding` (B, time) is the embedded time after its SiLU, which is the same for all blocks.
        """
        if self.checkpointing and torch.is_grad_enabled():
            # Nothing inside is kept for the backward pass: it is computed again, with the same dropout.
            return checkpoint(self._forward, x, embedding, skip, use_reentrant=False)
        return self._forward(x, embedding, skip)

    def _forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None) -> Tensor:
        x = x if skip is None else torch.cat([x, skip], dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(embedding)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.attention(self.shortcut(x) + h)  # type: ignore[no-any-return]


class Downward(nn.Module):
    """One level on the way down: blocks, then a halving of the sides unless it is the last."""

    def __init__(self, channels: list[int], plan: Plan, attention: bool, shrink: bool) -> None:
        super().__init__()
        pairs = pairwise(channels)
        self.blocks = nn.ModuleList(Residual(before, after, plan, attention) for before, after in pairs)
        self.shrink = nn.Conv2d(channels[-1], channels[-1], 3, stride=2) if shrink else None

    def forward(self, h: Tensor, embedding: Tensor) -> list[Tensor]:
        """Return what every step of the level made, for the way up; the last of them goes on."""
        made = []
        for block in self.blocks:
            h = block(h, embedding)
            made.append(h)
        if self.shrink is not None:
            # Padding on the far sides only, as in the network of the paper.
            made.append(self.shrink(F.pad(h, (0, 1, 0, 1))))
        return made


class Doubling(nn.Conv2d):
    """The 3x3 convolution, padded by one, of an image whose sides have been doubled by nearest neighbor."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor(DOUBLED), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to (B, C, 2H, 2W)."""
        with full_precision(x):  # sums of weights, rounded once
            kernel = torch.einsum("pi,ocij,qj->copq", self.taps, self.weight, self.taps)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class Upward(nn.Module):
    """One level on the way up: blocks that each take a skip connection in, then a doubling unless it is the last."""

    def __init__(self, channels: list[int], skips: list[int], plan: Plan, attention: bool, grow: bool) -> None:
        super().__init__()
        rows = zip(channels[:-1], skips, channels[1:])
        self.blocks = nn.ModuleList(Residual(before + skip, after, plan, attention) for before, skip, after in rows)
        self.grow = Doubling(channels[-1]) if grow else None

    def forward(self, h: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """Take one skip connection off the end of `skips` for every block."""
        for block in self.blocks:
            h = block(h, embedding, skips.pop())
        return h if self.grow is None else self.grow(h)
