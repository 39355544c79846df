"""The restoration network: a UNet that maps (x_t, t) to an image of the same shape.

Widths, levels, blocks, attention and dropout are free, so that one class expresses the small network of the demo, the
one of Ho et al. for CIFAR-10 (35,746,307 parameters) and the one for 256-pixel images (113,673,219); the fields after
`patch` add the variants of Dhariwal and Nichol (arXiv 2105.05233, 2021) and of diffusers' `UNet2DModel`. Images may
have any number of channels and need not be square: their sides need only divide by `UNet.stride`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from restore.nets.blocks import Downward, Norm, Plan, Resampling, Residual, TimeEmbedding, Upward, zeroed
from restore.nets.unet_config import UNetConfig

__all__ = ["UNet", "UNetConfig"]


class UNet(nn.Module):
    """The network described by a `UNetConfig`.

    >>> import torch
    >>> net = UNet(UNetConfig(size=16, channels=1, width=8, multipliers=(1, 2), attention=(8,), groups=4))
    >>> net(torch.zeros(2, 1, 16, 24), torch.tensor([1, 7])).shape
    torch.Size([2, 1, 16, 24])
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        last = len(config.multipliers) - 1
        self.stride = config.patch * 2**last
        plan, widths, sides = _plan(config), config.widths, config.sides
        attends_down, attends_up = config.attends
        pixels = config.channels * config.patch**2

        self.time = TimeEmbedding(config.width, plan.time, config.freq_shift)
        self.enter = nn.Conv2d(pixels, config.width, 3, padding=1)
        skips = [config.width]
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            channels = [skips[-1]] + [width] * config.blocks
            shrink = _resampling(sides[level] in config.resblock_down) if level < last else None
            self.down.append(Downward(channels, plan, attends_down[level], shrink))
            skips += [width] * (config.blocks + (level < last))
        attentions = {"attention": (True, False), "resnets": (False, False), "none": ()}[config.mid_block]
        mid_plan = plan._replace(scale=config.mid_block_scale_factor, attention_groups=config.mid_norm_groups)
        self.middle = nn.ModuleList(Residual(widths[-1], widths[-1], mid_plan, a) for a in attentions)
        self.up = nn.ModuleList()
        before = widths[-1]
        for level in reversed(range(len(widths))):
            channels = [before] + [widths[level]] * (config.blocks + 1)
            taken = [skips.pop() for _ in range(config.blocks + 1)]
            grow = _resampling(sides[level] in config.resblock_up) if level > 0 else None
            self.up.append(Upward(channels, taken, plan, attends_up[level], grow))
            before = widths[level]
        self.norm = Norm(config.groups, widths[0], config.norm_eps)
        self.leave = zeroed(nn.Conv2d(widths[0], pixels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map images x (B, C, H, W) at severities t (B,) to (B, C, H, W), in the precision of x even under autocast.

        Raises:
            ValueError: if the number of channels is not the network's or a side does not divide by `stride`.
        """
        if x.shape[1] != self.config.channels or x.shape[2] % self.stride or x.shape[3] % self.stride:
            raise ValueError(
                f"the network takes {self.config.channels} channels and sides that divide by {self.stride},"
                f" not images of shape {tuple(x.shape[1:])}"
            )
        embedding = getattr(F, self.config.act_fn)(self.time(t + self.config.shift))
        seen = 2 * x - 1 if self.config.center_input_sample else x
        h = self.enter(F.pixel_unshuffle(seen, self.config.patch))
        skips = [h]
        for level in self.down:
            skips += level(skips[-1], embedding)
        h = skips[-1]
        for block in self.middle:
            h = block(h, embedding)
        for level in self.up:
            h = level(h, skips, embedding)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), self.config.patch).to(x.dtype)


def _resampling(residual: bool) -> Resampling:
    return "resnet" if residual else "conv"


def _plan(config: UNetConfig) -> Plan:
    return Plan(
        time=config.time_embedding_dim or 4 * config.width, groups=config.groups, attention_groups=config.groups,
        eps=config.norm_eps, heads=config.heads, head_channels=config.num_head_channels, dropout=config.dropout,
        act_fn=config.act_fn, scale_shift=config.use_scale_shift_norm, padding=config.downsample_padding,
        checkpointing=config.checkpointing,
    )  # fmt: skip
