"""The parts of the UNet: time embedding, residual block, self-attention, and the levels they make up.

The blocks are those of Ho et al. (arXiv 2006.11239, 2020, appendix B): group norm, SiLU, 3x3 convolution, twice, with
the embedded time added in between. Layers that end a residual branch start at zero, so that a new network is the
identity along its skip connections.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention", "Downward", "Plan", "Residual", "TimeEmbedding", "Upward", "zeroed"]

EPS = 1e-6  # of every group norm


class Plan(NamedTuple):
    """What all blocks of one network have in common."""

    time: int
    groups: int
    heads: int
    dropout: float


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return the layer with weight and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class TimeEmbedding(nn.Module):
    """Severity t -> sines and cosines at `width / 2` frequencies from 1 to 1 / 10000 -> two linear layers."""

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
        """Map t (B,) to its embedding (B, time)."""
        angles = t.float()[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        embedded: Tensor = self.linear2(F.silu(self.linear1(waves.to(self.linear1.weight.dtype))))
        return embedded


class Attention(nn.Module):
    """Self-attention over the pixels of (B, C, H, W), added to its input."""

    def __init__(self, channels: int, plan: Plan) -> None:
        super().__init__()
        self.heads = plan.heads
        self.norm = nn.GroupNorm(plan.groups, channels, eps=EPS)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Let every pixel look at every other."""
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")
        q, k, v = rearrange(self.query_key_value(tokens), "b n (three m d) -> three b m n d", three=3, m=self.heads)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "b m n d -> b n (m d)")
        added: Tensor = rearrange(self.out(mixed), "b (h w) c -> b c h w", h=x.shape[2])
        return x + added


class Residual(nn.Module):
    """A residual block from `before` to `after` channels, followed by self-attention where asked for."""

    def __init__(self, before: int, after: int, plan: Plan, attention: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(plan.groups, before, eps=EPS)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time = nn.Linear(plan.time, after)
        self.norm2 = nn.GroupNorm(plan.groups, after, eps=EPS)
        self.dropout = nn.Dropout(plan.dropout)
        self.conv2 = zeroed(nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attention = Attention(after, plan) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, before, H, W) and the time embedding to (B, after, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(F.silu(embedding))[:, :, None, None]
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


class Upward(nn.Module):
    """One level on the way up: blocks that each take a skip connection in, then a doubling unless it is the last."""

    def __init__(self, channels: list[int], skips: list[int], plan: Plan, attention: bool, grow: bool) -> None:
        super().__init__()
        rows = zip(channels[:-1], skips, channels[1:])
        self.blocks = nn.ModuleList(Residual(before + skip, after, plan, attention) for before, skip, after in rows)
        self.grow = nn.Conv2d(channels[-1], channels[-1], 3, padding=1) if grow else None

    def forward(self, h: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """Take one skip connection off the end of `skips` for every block."""
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return h if self.grow is None else self.grow(F.interpolate(h, scale_factor=2, mode="nearest"))
