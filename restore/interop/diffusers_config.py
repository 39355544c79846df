"""The `config.json` of a `UNet2DModel` of diffusers, read as a `UNetConfig` and written from one.

Both describe the same network if the timestep is embedded by sines and cosines, there are no class labels, and no block
adds a resized copy of the image (the `SkipDownBlock2D` family). An option that `UNetConfig` cannot express is refused,
with its name and the values that can be expressed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from degrade.registry import build
from restore.nets.unet import UNetConfig

__all__ = ["network_options", "read_network", "read_options"]

UNET = "UNet2DModel"

# Block types of the levels: (with attention?, kind of resampling at the end). None: the kind that the option
# `downsample_type` or `upsample_type` gives. Older files write the prefix OLDER before each name.
OLDER = "UNetRes"
DOWN: dict[str, tuple[bool, str | None]] = {
    "DownBlock2D": (False, "conv"), "ResnetDownsampleBlock2D": (False, "resnet"), "AttnDownBlock2D": (True, None),
}  # fmt: skip
UP: dict[str, tuple[bool, str | None]] = {
    "UpBlock2D": (False, "conv"), "ResnetUpsampleBlock2D": (False, "resnet"), "AttnUpBlock2D": (True, None),
}  # fmt: skip

# Options with few possible values: the default of diffusers, then the values that UNetConfig can express.
NETWORK: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "silu", "swish", "mish", "gelu", "relu"),
    "add_attention": (True, True, False),
    "center_input_sample": (False, False, True),
    "class_embed_type": (None, None),
    "downsample_padding": (1, 0, 1),
    "downsample_type": ("conv", "conv", "resnet", None),
    "mid_block_type": ("UNetMidBlock2D", "UNetMidBlock2D", None),
    "num_class_embeds": (None, None),
    "resnet_time_scale_shift": ("default", "default", "scale_shift"),
    "time_embedding_type": ("positional", "positional"),
    "upsample_type": ("conv", "conv", "resnet", None),
}
# Options with free values that UNetConfig has, too, with the defaults of diffusers.
SHAPE: dict[str, Any] = {
    "attention_head_dim": 8,
    "attn_norm_num_groups": None,
    "block_out_channels": (224, 448, 672, 896),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "num_train_timesteps": None,  # used by learned embeddings alone
    "out_channels": 3,
    "sample_size": None,
    "time_embedding_dim": None,
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}
SIZE = 32  # image size in pixels where the file gives none; larger if the number of levels requires it


def read_network(file: Path) -> tuple[UNetConfig, bool]:
    """Return the network that a `config.json` describes, and whether its time embedding starts with the cosines.

    Args:
        file: path of the `config.json` of a `UNet2DModel`.

    Returns:
        The configuration, and True if the first half of the time embedding is cosines (`flip_sin_to_cos`). Our networks
        start with the sines, so that the weights of the first layer of the embedding must then be reordered.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, naming every option that cannot be expressed.
    """
    options = read_options(file, (UNET,), NETWORK, SHAPE)
    _expect_expressible(file, options)
    channels, scale_shift = options["block_out_channels"], options["resnet_time_scale_shift"] == "scale_shift"
    last, width, size = len(channels) - 1, channels[0], options["sample_size"]
    if size is None:
        size = max(SIZE, 2**last)
    elif isinstance(size, list):
        size = min(size)
    down, up = _levels(options, "down", DOWN), _levels(options, "up", UP)[::-1]
    attention, attention_up = (tuple(size >> n for n, (a, _) in enumerate(way) if a) for way in (down, up))
    groups = options["norm_num_groups"]
    mid_groups = options["attn_norm_num_groups"] or (0 if scale_shift else groups)
    mid_block = ("attention" if options["add_attention"] else "resnets") if options["mid_block_type"] else "none"
    config = build(
        UNetConfig, image_size=size, in_channels=options["in_channels"], model_channels=width,
        channel_mult=tuple(c / width if c % width else c // width for c in channels),
        num_res_blocks=options["layers_per_block"], attention_resolutions=attention, dropout=options["dropout"],
        norm_groups=groups, time_offset=-1, freq_shift=options["freq_shift"],
        time_embedding_dim=options["time_embedding_dim"] or None,
        attention_resolutions_up=None if attention_up == attention else attention_up,
        num_head_channels=options["attention_head_dim"],
        mid_block=mid_block, mid_block_scale_factor=options["mid_block_scale_factor"],
        mid_attention_groups=None if mid_groups == groups else mid_groups,
        resblock_down=tuple(size >> n for n, (_, end) in enumerate(down) if end == "resnet" and n < last),
        resblock_up=tuple(size >> n for n, (_, end) in enumerate(up) if end == "resnet" and n > 0),
        use_scale_shift_norm=scale_shift, act_fn="silu" if options["act_fn"] == "swish" else options["act_fn"],
        norm_eps=options["norm_eps"], downsample_padding=options["downsample_padding"],
        center_input_sample=options["center_input_sample"],
    )  # fmt: skip
    return config, options["flip_sin_to_cos"]


def _expect_expressible(file: Path, options: dict[str, Any]) -> None:
    """Raise ValueError for the first option whose value `UNetConfig` cannot express."""
    unknown = [name for name in options if name not in NETWORK | SHAPE and options[name] is not None]
    channels, size = options["block_out_channels"], options["sample_size"]
    sides = size if isinstance(size, list) else [1 if size is None else size]
    for name, possible, expected in (
        *((name, False, "options known here") for name in unknown),
        ("sample_size", all(isinstance(side, int) for side in sides), "sides of images"),
        ("out_channels", options["out_channels"] == options["in_channels"], "as many as in_channels"),
        ("block_out_channels", channels[0] % 2 == 0, "an even first number"),
        *(
            (name, len(options[name]) == len(channels), "one for each of block_out_channels")
            for name in ("down_block_types", "up_block_types")
        ),
        *(
            (name, {kind.removeprefix(OLDER) for kind in options[name]} <= kinds.keys(), " and ".join(kinds))
            for name, kinds in (("down_block_types", DOWN), ("up_block_types", UP))
        ),
        ("freq_shift", channels[0] // 2 > options["freq_shift"], f"less than {channels[0] // 2}"),
    ):
        if not possible:
            raise ValueError(f"{file}: {name} {options[name]!r} cannot be expressed; only {expected} can")


def _levels(options: dict[str, Any], way: str, kinds: dict[str, tuple[bool, str | None]]) -> list[tuple[bool, str]]:
    """Return (with attention?, kind of resampling: "conv" or "resnet") for each level."""
    found = [kinds[kind.removeprefix(OLDER)] for kind in options[f"{way}_block_types"]]
    return [(attention, end or options[f"{way}sample_type"] or "conv") for attention, end in found]


def network_options(config: UNetConfig) -> dict[str, Any]:
    """Return the content of the `config.json` with which diffusers builds the same network.

    `time_offset` has no option in diffusers; `their_weights` in `diffusers_weights` accounts for it.

    Args:
        config: the configuration of one of our networks.

    Raises:
        ValueError: with the name of a field whose value a `UNet2DModel` has no option for, such as `patch_size` 2.

    >>> from restore import UNetConfig
    >>> options = network_options(UNetConfig(image_size=32, model_channels=32, channel_mult=(1, 2)))
    >>> options["sample_size"], options["block_out_channels"]
    (32, [32, 64])
    """
    dims = {c // config.num_heads for c in config.attention_channels}
    down, up = (list(zip(config.sides, way)) for way in config.has_attention)
    ends = [
        {"resnet" if side in resblock else "conv" for side, attention in way if attention} or {"conv"}
        for way, resblock in ((down[:-1], config.resblock_down), (up[1:], config.resblock_up))
    ]
    _check_expressible(config, dims, ends)
    shape = {
        "act_fn": config.act_fn,
        "add_attention": config.mid_block == "attention",
        "attention_head_dim": config.num_head_channels or (max(dims, default=None) if config.num_heads > 1 else None),
        "attn_norm_num_groups": config.mid_norm_groups or None,
        "block_out_channels": list(config.level_channels),
        "center_input_sample": config.center_input_sample,
        "down_block_types": [_kind(DOWN, attention, side in config.resblock_down) for side, attention in down],
        "downsample_padding": config.downsample_padding,
        "downsample_type": ends[0].pop(),
        "dropout": config.dropout,
        "flip_sin_to_cos": False,
        "freq_shift": config.freq_shift,
        "in_channels": config.in_channels,
        "layers_per_block": config.num_res_blocks,
        "mid_block_scale_factor": config.mid_block_scale_factor,
        "mid_block_type": None if config.mid_block == "none" else "UNetMidBlock2D",
        "norm_eps": config.norm_eps,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.in_channels,
        "resnet_time_scale_shift": "scale_shift" if config.use_scale_shift_norm else "default",
        "sample_size": config.image_size,
        "time_embedding_dim": config.time_embedding_dim,
        "up_block_types": [_kind(UP, attention, side in config.resblock_up) for side, attention in reversed(up)],
        "upsample_type": ends[1].pop(),
    }
    return {"_class_name": UNET} | {name: ours for name, (_, ours, *_) in NETWORK.items()} | shape


def _check_expressible(config: UNetConfig, dims: set[int], ends: list[set[str]]) -> None:
    """Raise ValueError for a field whose value diffusers has no option for.

    Args:
        config: the configuration.
        dims: channels of each attention head.
        ends: kinds of resampling on the way down and on the way up.
    """
    alike = "either none or all of the levels with attention"
    for name, possible, expected in (
        ("patch_size", config.patch_size == 1, "1"),
        ("out_channels", config.out_channels in (None, config.in_channels), "as many as in_channels"),
        ("channel_mult", config.channel_mult[0] == 1, "those that start with 1"),
        ("num_heads", config.num_head_channels or config.num_heads == 1 or len(dims) < 2,
         "1, or as many where all that attend are equally wide,"),
        ("model_channels", config.model_channels % 2 == 0, "an even one"),
        ("mid_attention_groups", config.mid_norm_groups or config.use_scale_shift_norm, "1 or more"),
        ("resblock_down", len(ends[0]) == 1, alike),
        ("resblock_up", len(ends[1]) == 1, alike),
    ):  # fmt: skip
        if not possible:
            raise ValueError(f"diffusers cannot express {name} {getattr(config, name)}; only {expected} can be written")


def _kind(kinds: dict[str, tuple[bool, str | None]], attention: bool, residual: bool) -> str:
    """Return the name of the block type of a level."""
    plain, resnet, attending = kinds
    return attending if attention else resnet if residual else plain


def read_options(
    file: Path, classes: tuple[str, ...], fixed: dict[str, tuple[Any, ...]], free: dict[str, Any]
) -> dict[str, Any]:
    """Return the options in a configuration file of diffusers, completed by the defaults of diffusers.

    Args:
        file: path of the JSON file.
        classes: names of the diffusers classes that the file may configure; the first is assumed where it names none.
        fixed: name of each option with few possible values -> (default of diffusers, then every supported value).
        free: name of each option with free values -> default of diffusers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, naming every option that cannot be expressed.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; diffusers' save_pretrained writes it")
    try:
        found = json.loads(file.read_text())
        options = {name: default for name, (default, *_) in fixed.items()} | free
        options |= {name: value for name, value in found.items() if name[:1] != "_"}
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{file} holds no JSON object: {error}") from None
    faults = [(name, options[name], ours) for name, (_, *ours) in fixed.items() if options[name] not in ours]
    if (cls := found.get("_class_name", classes[0])) not in classes:
        faults.insert(0, ("the class", cls, list(classes)))
    if faults:
        each = (f"{name} {value!r}; only {' or '.join(map(repr, ours))} can" for name, value, ours in faults)
        raise ValueError(f"{file}: cannot be expressed: {', '.join(each)}")
    return options
