"""The configuration of a `UNet`: channels, levels, blocks, attention, conditions, and published variants."""

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
        image_size: side in pixels of the images that the network is made for. The places of attention are given by it;
            images of other sizes may still be passed.
        in_channels: channels of the images.
        model_channels: channels at the highest resolution.
        channel_mult: channels at each level as multiples of `model_channels`. A multiple may be a fraction if the
            product is a whole number. Each level after the first halves the sides.
        num_res_blocks: residual blocks at each level on the way down; the way up has one more.
        attention_resolutions: sides, in units of patches, at which residual blocks are followed by self-attention.
        num_heads: heads of the attention.
        dropout: probability of dropout in the residual blocks, in [0, 1).
        norm_groups: groups of the group norms; it must divide the channels of every level.
        patch_size: side of the squares of pixels that the network treats as one pixel with more channels, which makes
            it patch_size^2 times cheaper.
        time_offset: added to t before it is embedded; -1 for a network whose time counts from 0.
        gradient_checkpointing: whether the backward pass recomputes each residual block instead of storing its
            intermediate results: less memory and a third more time for the same gradients.
        num_classes: number of classes for a condition `label`; None for a network without it. Index `num_classes`
            means "no class".
        cond_channels: channels of a second image, the condition `image`; 0 for a network without it.
        freq_shift: the n frequencies of the time embedding are 10000^(-i / (n - freq_shift)), i = 0..n-1.
        time_embedding_dim: channels of the embedded time; None for 4 `model_channels`.
        attention_resolutions_up: sides with self-attention on the way up; None for `attention_resolutions`.
        num_head_channels: channels of each head, with as many heads as fit; None for `num_heads` heads.
        mid_block: the part at the lowest resolution: two residual blocks with or without attention, or nothing.
        mid_block_scale_factor: divisor of every sum of skip connection and branch in the middle.
        mid_attention_groups: groups of the norm before the attention in the middle; None for `norm_groups`, 0 for no
            norm.
        resblock_down: sides at which a level ends in a residual block that halves them by 2x2 means; elsewhere a
            convolution with stride 2 does.
        resblock_up: sides at which a level ends in a residual block that doubles them.
        use_scale_shift_norm: whether the embedded time scales and shifts the result of a block's second norm, instead
            of being added to the input of that norm.
        act_fn: activation of the residual blocks.
        norm_eps: added to the variances in the group norms.
        downsample_padding: padding of the convolution that halves the sides: 1 for one pixel on all sides, 0 for one
            pixel at the bottom and at the right.
        center_input_sample: whether the network sees 2 x - 1 in place of x.
        out_channels: channels of the output; None for `in_channels`.

    Raises:
        ValidationError: for an argument out of its range, or for arguments that do not fit together.

    >>> from restore.nets.unet import UNet
    >>> sum(p.numel() for p in UNet(UNetConfig()).parameters())
    35746307
    """

    image_size: Count = 32
    in_channels: Count = 3
    model_channels: Count = 128
    channel_mult: Annotated[tuple[Count | Positive, ...], Field(min_length=1)] = (1, 2, 2, 2)
    num_res_blocks: Count = 2
    attention_resolutions: tuple[Count, ...] = (16,)
    num_heads: Count = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norm_groups: Count = 32
    patch_size: Count = 1
    time_offset: int = 0
    gradient_checkpointing: bool = False
    num_classes: Count | None = None
    cond_channels: Annotated[int, Field(ge=0)] = 0
    freq_shift: int = 1
    time_embedding_dim: Count | None = None
    attention_resolutions_up: tuple[Count, ...] | None = None
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
    out_channels: Count | None = None

    def __post_init__(self) -> None:
        divisor = self.patch_size * 2 ** (len(self.channel_mult) - 1)
        if self.image_size % divisor:
            raise ValueError(
                f"image_size {self.image_size} does not divide by {divisor}, which {len(self.channel_mult)} levels"
                f" and patch_size {self.patch_size} need; choose a multiple of it or a shorter channel_mult"
            )
        for name, sides in (
            ("attention_resolutions", self.sides), ("attention_resolutions_up", self.sides),
            ("resblock_down", self.sides[:-1]), ("resblock_up", self.sides[1:]),
        ):  # fmt: skip
            unknown = set(getattr(self, name) or ()) - set(sides)
            if unknown:
                raise ValueError(f"{name} at {sorted(unknown)}: the levels have sides {list(sides)}")
        if any(abs(self.model_channels * m - c) > 1e-6 for m, c in zip(self.channel_mult, self.level_channels)):
            raise ValueError(
                f"channel_mult {self.channel_mult} times model_channels {self.model_channels} must be whole numbers"
            )
        for name, widths in (
            ("norm_groups", (self.model_channels, *self.level_channels)),
            ("num_heads", self.level_channels),
        ):
            value = getattr(self, name)
            if any(c % value for c in widths) and not (name == "num_heads" and self.num_head_channels):
                raise ValueError(
                    f"{name} {value} does not divide model_channels {self.model_channels} times each of"
                    f" {self.channel_mult}"
                )
        if self.level_channels[-1] % (self.mid_attention_groups or 1):
            raise ValueError(
                f"mid_attention_groups {self.mid_attention_groups} does not divide {self.level_channels[-1]} channels"
            )
        narrowest = min(self.attention_channels, default=0)
        if self.num_head_channels and narrowest and self.num_head_channels > narrowest:
            raise ValueError(
                f"num_head_channels {self.num_head_channels} is more than a level with attention has, {narrowest}"
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of the images at each level."""
        return tuple(self.image_size // self.patch_size >> level for level in range(len(self.channel_mult)))

    @property
    def level_channels(self) -> tuple[int, ...]:
        """The channels at each level."""
        return tuple(round(self.model_channels * m) for m in self.channel_mult)

    @property
    def has_attention(self) -> tuple[list[bool], list[bool]]:
        """Whether each level has self-attention on the way down, and on the way up."""
        up = self.attention_resolutions if self.attention_resolutions_up is None else self.attention_resolutions_up
        return [side in self.attention_resolutions for side in self.sides], [side in up for side in self.sides]

    @property
    def attention_channels(self) -> set[int]:
        """The numbers of channels that self-attention sees."""
        found = {c for way in self.has_attention for c, attention in zip(self.level_channels, way) if attention}
        return found | ({self.level_channels[-1]} if self.mid_block == "attention" else set())

    @property
    def mid_norm_groups(self) -> int:
        """The groups of the norm before the attention in the middle; 0 for no norm."""
        return self.norm_groups if self.mid_attention_groups is None else self.mid_attention_groups
