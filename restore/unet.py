"""The restoration network: a UNet that maps (x_t, t) to an image of the same shape.

Widths, levels, blocks, attention and dropout are free, so that one class expresses the small network of the demo, the
one of Ho et al. for CIFAR-10 (35,746,307 parameters) and the one for 256-pixel images (113,673,219). Images may have
any number of channels and need not be square: their sides need only divide by `UNet.stride`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from degrade.frozen import frozen
from restore.blocks import Downward, Norm, Plan, Residual, TimeEmbedding, Upward, zeroed

__all__ = ["UNet", "UNetConfig"]

Count = Annotated[int, Field(ge=1)]


@frozen
class UNetConfig:
    """The shape of a `UNet`; the default is the CIFAR-10 network of Ho et al.

    Args:
        size: side of the images it is made for; attention is placed by it, other sizes may still be fed.
        channels: of the images.
        width: channels at the highest resolution.
        multipliers: channels at each level as a multiple of `width`; each level halves the sides.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: sides at which the blocks are followed by self-attention.
        heads: of the attention.
        dropout: inside the residual blocks.
        groups: of the group norms; divides every number of channels.
        shift: added to t before it is embedded; -1 for a network whose times count from 0.
        patch: the network sees patch x patch pixels as one, which makes it patch^2 times cheaper.
        checkpointing: whether the backward pass computes every residual block again in place of keeping what is inside:
            less memory, a third more time, the same gradients.

    >>> sum(p.numel() for p in UNet(UNetConfig()).parameters())
    35746307
    """

    size: Count = 32
    channels: Count = 3
    width: Count = 128
    multipliers: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 2, 2)
    blocks: Count = 2
    attention: tuple[Count, ...] = (16,)
    heads: Count = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    groups: Count = 32
    patch: Count = 1
    shift: int = 0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        stride = self.patch * 2 ** (len(self.multipliers) - 1)
        if self.size % stride:
            raise ValueError(
                f"size {self.size} does not divide by {stride}, which {len(self.multipliers)} levels"
                f" and patch {self.patch} need; choose a multiple of it or fewer multipliers"
            )
        unknown = set(self.attention) - set(self.sides)
        if unknown:
            raise ValueError(f"attention at {sorted(unknown)}: the levels have sides {list(self.sides)}")
        for name, value in (("groups", self.groups), ("heads", self.heads)):
            if any(self.width * m % value for m in self.multipliers):
                raise ValueError(f"{name} {value} does not divide width {self.width} times each of {self.multipliers}")

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of the images at each level."""
        return tuple(self.size // self.patch >> level for level in range(len(self.multipliers)))


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
        plan = Plan(4 * config.width, config.groups, config.heads, config.dropout, config.checkpointing)
        widths = [config.width * m for m in config.multipliers]
        attends = [side in config.attention for side in config.sides]
        pixels = config.channels * config.patch**2

        self.time = TimeEmbedding(config.width, plan.time)
        self.enter = nn.Conv2d(pixels, config.width, 3, padding=1)
        skips = [config.width]
        self.down = nn.ModuleList()
        for level, width in enumerate(widths):
            channels = [skips[-1]] + [width] * config.blocks
            self.down.append(Downward(channels, plan, attends[level], shrink=level < last))
            skips += [width] * (config.blocks + (level < last))
        self.middle = nn.ModuleList(Residual(widths[-1], widths[-1], plan, attention) for attention in (True, False))
        self.up = nn.ModuleList()
        before = widths[-1]
        for level in reversed(range(len(widths))):
            channels = [before] + [widths[level]] * (config.blocks + 1)
            taken = [skips.pop() for _ in range(config.blocks + 1)]
            self.up.append(Upward(channels, taken, plan, attends[level], grow=level > 0))
            before = widths[level]
        self.norm = Norm(config.groups, widths[0])
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
        embedding = F.silu(self.time(t + self.config.shift))
        h = self.enter(F.pixel_unshuffle(x, self.config.patch))
        skips = [h]
        for level in self.down:
            skips += level(skips[-1], embedding)
        h = skips[-1]
        for block in self.middle:
            h = block(h, embedding)
        for level in self.up:
            h = level(h, skips, embedding)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), self.config.patch).to(x.dtype)
