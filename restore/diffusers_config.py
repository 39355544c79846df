"""The configuration files of diffusers, and what they mean here.

`config.json` of a UNet2DModel is a `UNetConfig` as far as its options are those of Ho et al. (arXiv 2006.11239, 2020),
which the published ddpm-cifar10-32, ddpm-celebahq-256 and ddpm-bedroom-256 have; `scheduler_config.json` is the
`gaussian_noise` they were trained on and what the network predicts. Any other option is refused by name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from degrade import GaussianNoise
from degrade.registry import build
from degrade.schedules import Cosine, Linear
from restore.restorer import Predict, Restorer
from restore.unet import UNetConfig

__all__ = ["Noise", "network_options", "noise_options", "read_network", "read_noise"]

UNET, DOWN, UP, ATTENTION = "UNet2DModel", "DownBlock2D", "UpBlock2D", "Attn"
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")

# Options that our network or noise has but one value for: what diffusers takes where a file is silent, then ours.
NETWORK: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "silu", "swish"),
    "add_attention": (True, True),
    "attn_norm_num_groups": (None, None),
    "center_input_sample": (False, False),
    "class_embed_type": (None, None),
    "downsample_padding": (1, 0),
    "downsample_type": ("conv", "conv"),
    "freq_shift": (0, 1),
    "mid_block_scale_factor": (1, 1),
    "mid_block_type": ("UNetMidBlock2D", "UNetMidBlock2D"),
    "norm_eps": (1e-5, 1e-6),
    "num_class_embeds": (None, None),
    "resnet_time_scale_shift": ("default", "default"),
    "time_embedding_type": ("positional", "positional"),
    "upsample_type": ("conv", "conv"),
}
NOISE: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "linear", "squaredcos_cap_v2"),
    "clip_sample": (True, True, False),
    "clip_sample_range": (1.0, 1.0),
    "prediction_type": ("epsilon", "epsilon", "sample", "v_prediction"),
    "rescale_betas_zero_snr": (False, False),
    "thresholding": (False, False),
    "trained_betas": (None, None),
}
# Those that ours has too, with diffusers' defaults.
SHAPE: dict[str, Any] = {
    "attention_head_dim": 8,
    "block_out_channels": (224, 448, 672, 896),
    "down_block_types": (DOWN, ATTENTION + DOWN, ATTENTION + DOWN, ATTENTION + DOWN),
    "dropout": 0.0,
    "flip_sin_to_cos": True,
    "in_channels": 3,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "num_train_timesteps": None,  # of an embedding that is learned
    "out_channels": 3,
    "sample_size": None,
    "time_embedding_dim": None,
    "up_block_types": (ATTENTION + UP, ATTENTION + UP, ATTENTION + UP, UP),
}
AMOUNT: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000}
PREDICT: dict[str, Predict] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


class Noise(NamedTuple):
    """What a scheduler says of the network: its degradation, what it predicts, and whether x0_hat is clamped."""

    degradation: GaussianNoise
    predict: Predict
    clamp: bool


def read_network(file: Path) -> tuple[UNetConfig, bool]:
    """Return the shape that a `config.json` describes, and whether its embedding of time has the cosines first.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line, naming every option that cannot be expressed.
    """
    options = _read(file, (UNET,), NETWORK, SHAPE)
    unknown = [name for name in options if name not in NETWORK | SHAPE and options[name] is not None]
    channels, size = options["block_out_channels"], options["sample_size"]
    width, dim = channels[0], options["attention_head_dim"]
    down, up = (
        [kind.removeprefix("UNetRes") for kind in options[name]] for name in ("down_block_types", "up_block_types")
    )
    attends = [kind == ATTENTION + DOWN for kind in down]
    mirrored = [(ATTENTION if attention else "") + UP for attention in reversed(attends)]
    attended = {c for c, attention in zip(channels, attends) if attention} | {channels[-1]}
    heads = {c / (dim or c) for c in attended}
    for name, possible, expected in (
        *((name, False, "options known here") for name in unknown),
        ("sample_size", isinstance(size, int), "the side of square images"),
        ("out_channels", options["out_channels"] == options["in_channels"], "as many as in_channels"),
        ("block_out_channels", len(channels) == len(down), "one for each of down_block_types"),
        ("block_out_channels", not any(c % width for c in channels) and width % 2 == 0, "multiples of an even first"),
        ("time_embedding_dim", options["time_embedding_dim"] in (None, 4 * width), f"{4 * width}"),
        ("down_block_types", set(down) <= {DOWN, ATTENTION + DOWN}, f"{DOWN} and {ATTENTION + DOWN}"),
        ("up_block_types", up == mirrored, f"the mirror of the way down, {mirrored},"),
        ("attention_head_dim", len(heads) == 1 and min(heads) % 1 == 0, "one number of heads wherever there are some"),
    ):
        if not possible:
            raise ValueError(f"{file}: {name} {options[name]!r} cannot be expressed; only {expected} can")
    config = build(
        UNetConfig, size=size, channels=options["in_channels"], width=width, multipliers=[c // width for c in channels],
        blocks=options["layers_per_block"], attention=[size >> level for level, a in enumerate(attends) if a],
        heads=int(heads.pop()), dropout=options["dropout"], groups=options["norm_num_groups"], shift=-1,
    )  # fmt: skip
    return config, options["flip_sin_to_cos"]


def read_noise(file: Path | None) -> Noise:
    """Return what a `scheduler_config.json` says; diffusers' defaults where there is none.

    How it walks (`variance_type`, `timestep_spacing`, ...) is left to the sampler step.

    Raises:
        ValueError: in one line, naming every option that cannot be expressed.

    >>> read_noise(None).degradation.schedule
    Linear(name='linear', beta_1=0.0001, beta_T=0.02)
    """
    defaults = {name: default for name, (default, *_) in NOISE.items()} | AMOUNT
    options = defaults if file is None else _read(file, SCHEDULERS, NOISE, AMOUNT)
    straight = options["beta_schedule"] == "linear"
    schedule = build(Linear, beta_1=options["beta_start"], beta_T=options["beta_end"]) if straight else Cosine()
    degradation = build(GaussianNoise, T=options["num_train_timesteps"], schedule=schedule)
    return Noise(degradation, PREDICT[options["prediction_type"]], options["clip_sample"])


def network_options(config: UNetConfig) -> dict[str, Any]:
    """Return the `config.json` of a network; its `shift` goes into the weights.

    Raises:
        ValueError: for patches, and for several heads where levels of several widths attend.
    """
    widths = [config.width * m for m in config.multipliers]
    attends = [side in config.attention for side in config.sides]
    dims = {c // config.heads for c, attention in zip(widths, attends) if attention} | {widths[-1] // config.heads}
    for name, possible, expected in (
        ("patch", config.patch == 1, "1"),
        ("heads", config.heads == 1 or len(dims) == 1, "1, or as many where all that attend are equally wide,"),
        ("width", config.width % 2 == 0, "an even one"),
    ):
        if not possible:
            raise ValueError(f"diffusers cannot express {name} {getattr(config, name)}; only {expected} can be written")
    down = [(ATTENTION if attention else "") + DOWN for attention in attends]
    up = [(ATTENTION if attention else "") + UP for attention in reversed(attends)]
    shape = {
        "attention_head_dim": None if config.heads == 1 else dims.pop(),
        "block_out_channels": widths,
        "down_block_types": down,
        "dropout": config.dropout,
        "flip_sin_to_cos": False,
        "in_channels": config.channels,
        "layers_per_block": config.blocks,
        "norm_num_groups": config.groups,
        "out_channels": config.channels,
        "sample_size": config.size,
        "up_block_types": up,
    }
    return {"_class_name": UNET} | {name: ours for name, (_, ours, *_) in NETWORK.items()} | shape


def noise_options(restorer: Restorer) -> dict[str, Any]:
    """Return the `scheduler_config.json` of what a restorer was trained on.

    Raises:
        ValueError: unless that is `gaussian_noise` with linear betas or the default cosine.
    """
    D = restorer.degradation
    schedule = D.schedule if isinstance(D, GaussianNoise) else None
    if not isinstance(schedule, Linear) and schedule != Cosine():
        raise ValueError(f"diffusers cannot express {D}; write its network alone: to_diffusers(restorer.net, folder)")
    betas: dict[str, Any] = {"beta_schedule": "squaredcos_cap_v2"}
    if isinstance(schedule, Linear):
        betas = {"beta_schedule": "linear", "beta_start": schedule.beta_1, "beta_end": schedule.beta_T}
    [prediction] = [theirs for theirs, ours in PREDICT.items() if ours == restorer.predict]
    own = {"num_train_timesteps": D.T, "prediction_type": prediction, "clip_sample": restorer.clamp}
    return {"_class_name": SCHEDULERS[0]} | betas | own


def _read(
    file: Path, classes: tuple[str, ...], fixed: dict[str, tuple[Any, ...]], free: dict[str, Any]
) -> dict[str, Any]:
    """Return the options in a file, completed by diffusers' defaults; refuse values that are not ours."""
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
