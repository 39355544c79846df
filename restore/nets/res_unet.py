"""A residual UNet without norms, in the manner of DRUNet (Zhang et al., arXiv 2008.13751, 2021).

Blocks are x + conv(relu(conv(x))) without biases; skip features are added, sides are halved and doubled by 2x2
convolutions with stride 2. The network sees patches of pixels as one pixel with more channels (`pixel_unshuffle`), and
the severity as one plane, t / max_timestep. Without norms and attention its output depends on a bounded neighborhood,
so tiles of a large image join without seams.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from degrade.frozen import frozen
from restore.nets.registry import register_network

__all__ = ["ResUNet", "ResUNetConfig"]

Count = Annotated[int, Field(ge=1)]


@frozen
class ResUNetConfig:
    """The configuration of a `ResUNet`.

    Args:
        in_channels: channels of the images.
        level_channels: channels at each level; each level after the first halves the sides.
        num_res_blocks: residual blocks at each level, on the way down and on the way up.
        patch_size: side of the squares of pixels that the network treats as one pixel.
        max_timestep: the severity that the network sees as 1, usually T of the degradation.
        image_size: side in pixels of the images it is trained on; any multiple of `size_divisor` may be passed.
        out_channels: channels of the output; None for `in_channels`.
    """

    in_channels: Count = 3
    level_channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 128, 256)
    num_res_blocks: Count = 2
    patch_size: Count = 2
    max_timestep: Count = 75
    image_size: Count = 64
    out_channels: Count | None = None


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))), with 3x3 convolutions without biases; the second starts small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        added: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + added


@register_network("res_unet")
class ResUNet(nn.Module):
    """The network described by a `ResUNetConfig`.

    >>> net = ResUNet(ResUNetConfig(in_channels=1, level_channels=(4, 8), num_res_blocks=1))
    >>> net(torch.zeros(2, 1, 8, 12), torch.tensor([1, 7])).shape, net.size_divisor
    (torch.Size([2, 1, 8, 12]), 4)
    """

    shard_modules: ClassVar[tuple[type[nn.Module], ...]] = (ResBlock,)

    def __init__(self, config: ResUNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, pixels = config.level_channels, config.in_channels * config.patch_size**2
        self.size_divisor = config.patch_size * 2 ** (len(channels) - 1)
        pairs = list(pairwise(channels))

        def blocks(c: int) -> nn.Sequential:
            return nn.Sequential(*(ResBlock(c) for _ in range(config.num_res_blocks)))

        self.conv_in = nn.Conv2d(pixels + 1, channels[0], 3, padding=1, bias=False)
        self.down_blocks = nn.ModuleList(blocks(c) for c in channels[:-1])
        self.downsample = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in pairs)
        self.mid_block = blocks(channels[-1])
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in pairs)
        self.up_blocks = nn.ModuleList(blocks(c) for c in channels[:-1])
        put_out = (config.out_channels or config.in_channels) * config.patch_size**2
        self.conv_out = nn.Conv2d(channels[0], put_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map images x (B, C, H, W) at severities t (B,) to (B, C, H, W), in the precision of x.

        Raises:
            ValueError: if the number of channels is not the network's or a side does not divide by `size_divisor`.
        """
        config = self.config
        if x.shape[1] != config.in_channels or x.shape[2] % self.size_divisor or x.shape[3] % self.size_divisor:
            raise ValueError(
                f"the network takes {config.in_channels} channels and sides that divide by {self.size_divisor},"
                f" not images of shape {tuple(x.shape[1:])}"
            )
        h = F.pixel_unshuffle(x, config.patch_size)
        plane = (t.to(x.dtype) / config.max_timestep).view(-1, 1, 1, 1).expand(-1, 1, *h.shape[2:])
        h = self.conv_in(torch.cat([h, plane], dim=1))
        skips = []
        for blocks, halve in zip(self.down_blocks, self.downsample):
            h = blocks(h)
            skips.append(h)
            h = halve(h)
        h = self.mid_block(h)
        for blocks, double in zip(reversed(self.up_blocks), reversed(self.upsample)):
            h = blocks(double(h) + skips.pop())
        return F.pixel_shuffle(self.conv_out(h), config.patch_size).to(x.dtype)
