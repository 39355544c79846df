"""The restoration network: a UNet that maps (x_t, t) to an image of the same shape.

Channels, levels, blocks, attention and dropout are free, so one class expresses the small network of the demo, the one
of Ho et al. for CIFAR-10 (35,746,307 parameters) and the one for 256-pixel images (113,673,219); further fields add
the variants of Dhariwal and Nichol (arXiv 2105.05233, 2021) and of diffusers' `UNet2DModel`. Images may have any number
of channels and need not be square: their sides must divide by `UNet.size_divisor`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.nets.blocks import DownBlock, MidBlock, Resampling, ResnetBlock, UpBlock
from restore.nets.layers import BlockConfig, Norm, TimeEmbedding, zero_module
from restore.nets.registry import register_network
from restore.nets.unet_config import UNetConfig

__all__ = ["UNet", "UNetConfig"]


@register_network("unet")
class UNet(nn.Module):
    """The network described by a `UNetConfig`.

    Attributes:
        config: its configuration.
        size_divisor: the number by which height and width of the images must be divisible.
        shard_modules: the classes of the modules that fully sharded training gathers one at a time.

    >>> import torch
    >>> net = UNet(UNetConfig(image_size=16, in_channels=1, model_channels=8, channel_mult=(1, 2), norm_groups=4))
    >>> net(torch.zeros(2, 1, 16, 24), torch.tensor([1, 7])).shape
    torch.Size([2, 1, 16, 24])
    """

    shard_modules: ClassVar[tuple[type[nn.Module], ...]] = (ResnetBlock,)

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        last = len(config.channel_mult) - 1
        self.size_divisor = config.patch_size * 2**last
        shared, widths, sides = _block_config(config), config.level_channels, config.sides
        down_attention, up_attention = config.has_attention
        pixels = config.patch_size**2

        self.time_embed = TimeEmbedding(config.model_channels, shared.time_channels, config.freq_shift)
        if config.num_classes is not None:  # the last row stands for "no class"
            self.class_embed = nn.Embedding(config.num_classes + 1, shared.time_channels)
            self.null_cond = {"label": config.num_classes}
        seen = (config.in_channels + config.cond_channels) * pixels
        self.conv_in = nn.Conv2d(seen, config.model_channels, 3, padding=1)
        skips = [config.model_channels]
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            channels = [skips[-1]] + [width] * config.num_res_blocks
            resampling = _resampling(sides[level] in config.resblock_down) if level < last else None
            self.down_blocks.append(DownBlock(channels, shared, down_attention[level], resampling))
            skips += [width] * (config.num_res_blocks + (level < last))
        attentions = {"attention": (True, False), "resnets": (False, False), "none": ()}[config.mid_block]
        mid = shared._replace(
            output_scale_factor=config.mid_block_scale_factor, attention_groups=config.mid_norm_groups
        )
        self.mid_block = MidBlock(widths[-1], mid, attentions)
        self.up_blocks = nn.ModuleList()
        channels_in = widths[-1]
        for level in reversed(range(len(widths))):
            channels = [channels_in] + [widths[level]] * (config.num_res_blocks + 1)
            taken = [skips.pop() for _ in range(config.num_res_blocks + 1)]
            resampling = _resampling(sides[level] in config.resblock_up) if level > 0 else None
            self.up_blocks.append(UpBlock(channels, taken, shared, up_attention[level], resampling))
            channels_in = widths[level]
        put_out = config.out_channels or config.in_channels
        self.norm_out = Norm(config.norm_groups, widths[0], config.norm_eps)
        self.conv_out = zero_module(nn.Conv2d(widths[0], put_out * pixels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """Map degraded images to the network's prediction, in the precision of x even under autocast.

        Args:
            x: (B, C, H, W) images.
            t: (B,) int64 severities.
            label: (B,) int64 classes in 0..num_classes, where num_classes means "no class", as does None.
            image: (B, cond_channels, H, W), a second image that the network sees beside x.

        Returns:
            (B, C, H, W), or with `out_channels` channels.

        Raises:
            ValueError: if the number of channels is not the network's, a side does not divide by `size_divisor`, or a
                condition is given that the configuration does not declare or has another shape.
        """
        config = self.config
        if x.shape[1] != config.in_channels or x.shape[2] % self.size_divisor or x.shape[3] % self.size_divisor:
            raise ValueError(
                f"the network takes {config.in_channels} channels and sides that divide by {self.size_divisor},"
                f" not images of shape {tuple(x.shape[1:])}"
            )
        embedding = getattr(F, config.act_fn)(self._embed(t, label))
        seen = 2 * x - 1 if config.center_input_sample else x
        h = self.conv_in(F.pixel_unshuffle(self._with_image(seen, image), config.patch_size))
        skips = [h]
        for level in self.down_blocks:
            skips += level(skips[-1], embedding)
        h = self.mid_block(skips[-1], embedding)
        for level in self.up_blocks:
            h = level(h, skips, embedding)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), config.patch_size).to(x.dtype)

    def example_cond(self, x_t: Tensor) -> dict[str, Tensor]:
        """Return the conditions that the network takes, with values that mean "no condition", for images like x_t."""
        cond = {}
        if self.config.num_classes is not None:
            cond["label"] = torch.full((x_t.shape[0],), self.config.num_classes, device=x_t.device)
        if self.config.cond_channels:
            cond["image"] = x_t.new_zeros(x_t.shape[0], self.config.cond_channels, *x_t.shape[2:])
        return cond

    def _embed(self, t: Tensor, label: Tensor | None) -> Tensor:
        embedded: Tensor = self.time_embed(t + self.config.time_offset)
        classes = self.config.num_classes
        if classes is None:
            if label is not None:
                raise ValueError("label is given, and the network has num_classes None; leave it out")
            return embedded
        label = torch.full_like(t, classes) if label is None else label
        if label.shape != t.shape or label.dtype != torch.int64:
            raise ValueError(f"label is {label.dtype} {tuple(label.shape)}; it must be int64 {tuple(t.shape)}")
        classes_embedded: Tensor = self.class_embed(label)
        return embedded + classes_embedded.to(embedded.dtype)

    def _with_image(self, x: Tensor, image: Tensor | None) -> Tensor:
        expected = (x.shape[0], self.config.cond_channels, *x.shape[2:])
        if image is None and not self.config.cond_channels:
            return x
        if image is None or image.shape != expected or not self.config.cond_channels:
            found = None if image is None else tuple(image.shape)
            raise ValueError(
                f"image has shape {found}; the network, with cond_channels {expected[1]}, takes"
                f" {expected if expected[1] else None}"
            )
        return torch.cat([x, image.to(x.dtype)], dim=1)


def _resampling(residual: bool) -> Resampling:
    return "resnet" if residual else "conv"


def _block_config(config: UNetConfig) -> BlockConfig:
    return BlockConfig(
        time_channels=config.time_embedding_dim or 4 * config.model_channels, norm_groups=config.norm_groups,
        attention_groups=config.norm_groups, norm_eps=config.norm_eps, num_heads=config.num_heads,
        num_head_channels=config.num_head_channels, dropout=config.dropout, act_fn=config.act_fn,
        scale_shift=config.use_scale_shift_norm, downsample_padding=config.downsample_padding,
        gradient_checkpointing=config.gradient_checkpointing,
    )  # fmt: skip
