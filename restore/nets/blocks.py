"""The blocks of the UNet: the residual block, and the levels that consist of them.

The blocks are those of Ho et al. (arXiv 2006.11239, 2020, appendix B): group norm, SiLU, 3x3 convolution, twice, with
the embedded time added in between. As in Dhariwal and Nichol (arXiv 2105.05233, 2021) the time may also scale the
second norm's result, and a residual block may halve or double the sides, in both of its branches. Layers that end a
residual branch start at zero, so a new network is the identity along its skip connections.

One computation differs in form from the formula, with the same result. Doubling the sides (nearest neighbor) and the
3x3 convolution that follows are one transposed convolution: 2x2 output pixels share one input value, so nine weights
act on four different values, which takes 16 products in place of 36.

Modules have the names that diffusers uses; only `to_qkv`, one layer in place of three, and the attention inside its
residual block are different.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from restore.nets.layers import Attention, BlockConfig, Norm, divide, full_precision, zero_module

__all__ = ["DownBlock", "MidBlock", "Resampling", "ResnetBlock", "UpBlock"]

Resampling = Literal["conv", "resnet"]  # how a level changes the sides: by a convolution or by a residual block
# Row p: which of the three kernel rows are added up for row p of the transposed kernel; the same for columns.
UPSAMPLE_TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))


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
        return self.attention(divide(x + h, self.config.output_scale_factor))  # type: ignore[no-any-return]


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
        channels: numbers of channels: of the input, then of the output of each residual block.
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
        channels: numbers of channels: of the input, then of the output of each residual block.
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
