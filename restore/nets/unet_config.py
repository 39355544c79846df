"""The shape of a `UNet`: widths, levels, blocks, attention, and the variants of the published networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from degrade.frozen import frozen

__all__ = ["UNetConfig"]

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


@frozen
class UNetConfig:
    """The shape of a `UNet`; the default is the CIFAR-10 network of Ho et al.

    Args:
        size: side of the images it is made for; attention is placed by it, other sizes may still be fed.
        channels: of the images.
        width: channels at the highest resolution.
        multipliers: channels at each level as a multiple of `width`, which need not be whole where the product is; each
            level halves the sides.
        blocks: residual blocks at each level on the way down, one more on the way up.
        attention: sides at which the blocks are followed by self-attention.
        heads: of the attention.
        dropout: inside the residual blocks.
        groups: of the group norms; divides every number of channels.
        shift: added to t before it is embedded; -1 for a network whose times count from 0.
        freq_shift: the n frequencies of the embedding of time are 10000^(-i / (n - freq_shift)), i = 0..n-1.
        time_embedding_dim: channels of the embedded time; None for 4 `width`.
        attention_up: sides with self-attention on the way up; None for those of `attention`.
        num_head_channels: channels of each head, as many heads as fit; None for `heads` of them.
        mid_block: what is between the ways down and up: two residual blocks with or without attention, or nothing.
        mid_block_scale_factor: by which every sum of skip connection and branch is divided there.
        mid_attention_groups: of the norm before the attention there; None for `groups`, 0 for no norm.
        resblock_down: sides at which a level ends in a residual block that halves them by means of 2 x 2 pixels; at all
            others a convolution does.
        resblock_up: sides at which a level ends in a residual block that doubles them.
        use_scale_shift_norm: whether the embedded time scales and shifts the result of a block's second norm; otherwise
            it is added to what that norm sees.
        act_fn: activation of the residual blocks.
        norm_eps: added to the variances in the group norms.
        downsample_padding: of the convolution that halves the sides: 1 on all sides, 0 for one pixel on the far two.
        center_input_sample: whether the network sees 2 x - 1 in place of x.
        patch: the network sees patch x patch pixels as one, which makes it patch^2 times cheaper.
        checkpointing: whether the backward pass computes every residual block again in place of keeping what is inside:
            less memory, a third more time, the same gradients.

    >>> from restore.nets.unet import UNet
    >>> sum(p.numel() for p in UNet(UNetConfig()).parameters())
    35746307
    """

    size: Count = 32
    channels: Count = 3
    width: Count = 128
    multipliers: Annotated[tuple[Count | Positive, ...], Field(min_length=1)] = (1, 2, 2, 2)
    blocks: Count = 2
    attention: tuple[Count, ...] = (16,)
    heads: Count = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    groups: Count = 32
    patch: Count = 1
    shift: int = 0
    checkpointing: bool = False
    freq_shift: int = 1
    time_embedding_dim: Count | None = None
    attention_up: tuple[Count, ...] | None = None
    num_head_channels: Count | None = None
    mid_block: Literal["attention", "resnets", "none"] = "attention"
    mid_block_scale_factor: Positive = 1.0
    mid_attention_groups: Annotated[int, Field(ge=0)] | None = None
    resblock_down: tuple[Count, ...] = ()
    resblock_up: tuple[Count, ...] = ()
    use_scale_shift_norm: bool = False
    act_fn: Literal["silu", "gelu", "mish", "relu"] = "silu"
    norm_eps: Positive = 1e-6
    downsample_padding: Literal[0, 1] = 0
    center_input_sample: bool = False

    def __post_init__(self) -> None:
        stride = self.patch * 2 ** (len(self.multipliers) - 1)
        if self.size % stride:
            raise ValueError(
                f"size {self.size} does not divide by {stride}, which {len(self.multipliers)} levels"
                f" and patch {self.patch} need; choose a multiple of it or fewer multipliers"
            )
        for name, sides in (
            ("attention", self.sides), ("attention_up", self.sides),
            ("resblock_down", self.sides[:-1]), ("resblock_up", self.sides[1:]),
        ):  # fmt: skip
            unknown = set(getattr(self, name) or ()) - set(sides)
            if unknown:
                raise ValueError(f"{name} at {sorted(unknown)}: the levels have sides {list(sides)}")
        if any(abs(self.width * m - c) > 1e-6 for m, c in zip(self.multipliers, self.widths)):
            raise ValueError(
                f"multipliers {self.multipliers} times width {self.width} must be whole numbers of channels"
            )
        for name, widths in (("groups", (self.width, *self.widths)), ("heads", self.widths)):
            value = getattr(self, name)
            if any(c % value for c in widths) and not (name == "heads" and self.num_head_channels):
                raise ValueError(f"{name} {value} does not divide width {self.width} times each of {self.multipliers}")
        if self.widths[-1] % (self.mid_attention_groups or 1):
            raise ValueError(
                f"mid_attention_groups {self.mid_attention_groups} does not divide {self.widths[-1]} channels"
            )
        narrowest = min(self.attended_widths, default=0)
        if self.num_head_channels and narrowest and self.num_head_channels > narrowest:
            raise ValueError(
                f"num_head_channels {self.num_head_channels} is more than a level with attention has, {narrowest}"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of the images at each level."""
        return tuple(self.size // self.patch >> level for level in range(len(self.multipliers)))

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels at each level."""
        return tuple(round(self.width * m) for m in self.multipliers)

    @property
    def attends(self) -> tuple[list[bool], list[bool]]:
        """Whether each level has self-attention on the way down, and on the way up."""
        up = self.attention if self.attention_up is None else self.attention_up
        return [side in self.attention for side in self.sides], [side in up for side in self.sides]

    @property
    def attended_widths(self) -> set[int]:
        """The numbers of channels that self-attention sees."""
        found = {c for way in self.attends for c, attention in zip(self.widths, way) if attention}
        return found | ({self.widths[-1]} if self.mid_block == "attention" else set())

    @property
    def mid_norm_groups(self) -> int:
        """The groups of the norm before the attention in the middle; 0 for no norm."""
        return self.groups if self.mid_attention_groups is None else self.mid_attention_groups
