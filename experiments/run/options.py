"""The options that programs have in common: device and seed, run folder, network, training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from degrade.options import IntList, KeyValues, Options, UsageError
from restore.choices import PrecisionChoice
from samplers.commands.options import Count, DeviceOptions

if TYPE_CHECKING:
    from torch import nn

    from degrade.registry import Registry
    from restore import TrainConfig

__all__ = [
    "Count",
    "DeviceOptions",
    "NetworkOptions",
    "RunOptions",
    "StartOptions",
    "TrainOptions",
    "TrainerOptions",
    "make_component",
]


class RunOptions(DeviceOptions):
    """Run folder."""

    preset: str = Field("demo", description="one of the presets above, sets of values; other options take precedence")
    out: str | None = Field(None, description="folder of the run (default: a new one under runs/)")
    resume: bool = Field(False, description="continue the run in --out, or the newest one")


class NetworkOptions(Options):
    """Network."""

    size: Count = Field(64, description="side of the images in pixels")
    network: str = Field("unet", description="name of the network: res_unet, residual_cnn, unet")
    network_args: KeyValues = Field(
        {}, description="arguments of the network; the options below are for unet only, and these replace them"
    )
    model_channels: Count = Field(64, description="channels at the highest resolution")
    channel_mult: IntList = Field((1, 2, 3), description="channels at each level, as multiples of --model-channels")
    num_res_blocks: Count = Field(1, description="residual blocks at each level")
    attention_resolutions: IntList = Field(
        (8,), description="resolutions in pixels with self-attention; none for no attention"
    )
    num_heads: Count = Field(4, description="number of attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout probability in the residual blocks")
    norm_groups: Count = Field(8, description="number of groups of each group norm")
    patch_size: Count = Field(4, description="side of the squares of pixels that the network treats as one pixel")
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: less memory, a third more time"
    )

    @classmethod
    def merge(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with those given over them; for other networks than unet without its options.

        Raises:
            UsageError: for an option of the UNet that is given with another network.
        """
        from restore import network_names

        values = super().merge(preset, given)
        network = given.get("network", "unet")
        if network == "unet" or network not in network_names():
            return values
        defaults = {name: cls.model_fields[name].default for name in UNET_OPTIONS}
        for name, default in defaults.items():
            value = given.get(name, default)  # the configuration of a run gives all, the unused ones by default
            if (tuple(value) if isinstance(value, list) else value) != default:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is for --network unet; set arguments of {network} by --network-args")
        return {**values, **defaults}

    @model_validator(mode="after")
    def _check_network(self) -> NetworkOptions:
        from degrade.registry import build
        from restore.nets.registry import network_config_class

        try:
            build(network_config_class(self.network), **self.network_arguments(channels=3, T=1))
        except ValueError as error:
            raise ValueError(f"--network {self.network}: {error}") from None
        return self

    def network_arguments(self, channels: int, T: int, with_inverse: bool = False) -> dict[str, Any]:
        """Return the arguments of the network.

        Args:
            channels: channels of the images, for a network whose configuration has a field `in_channels`.
            T: number of severity levels, for a network whose configuration has a field `max_timestep`.
            with_inverse: whether the network sees the linear inverse of its input as well, as so many more channels.
        """
        from restore.nets.registry import network_config_class

        known = {"in_channels": channels, "image_size": self.size, "max_timestep": T}
        if with_inverse:
            known |= {"in_channels": 2 * channels, "out_channels": channels}
        if self.network == "unet":
            known |= {name: getattr(self, name) for name in UNET_OPTIONS}
        fields = {field.name for field in dataclasses.fields(network_config_class(self.network))}
        return {**{name: value for name, value in known.items() if name in fields}, **self.network_args}

    def build_network(self, channels: int, T: int, with_inverse: bool = False) -> nn.Module:
        """Return a new network for images of so many channels and severities 1..T, as `network_arguments` tells.

        Raises:
            UsageError: if the values do not go together.
        """
        from restore import make_network

        try:
            net: nn.Module = make_network(self.network, **self.network_arguments(channels, T, with_inverse))
        except ValueError as error:
            raise UsageError(f"--network {self.network}: {error}") from None
        return net


UNET_OPTIONS = tuple(
    name for name in vars(NetworkOptions)["__annotations__"] if name not in ("size", "network", "network_args")
)


class TrainOptions(DeviceOptions):
    """Training."""

    steps: Count = Field(1200, description="number of optimizer steps")
    batch_size: Count = Field(16, description="images per optimizer step, over all processes")
    micro_batch_size: Count | None = Field(
        None, description="images per forward pass of a process; none for all of its images of a step"
    )
    optimizer: str = Field("adam:lr=0.001", description="optimizer, with name:argument=value,...: adam, adamw, sgd")
    lr_schedule: str = Field(
        "cosine:warmup=50", description="learning-rate schedule: constant, cosine, linear, warmup_stable_decay"
    )
    loss: str = Field("l1", description="loss: charbonnier, huber, l1, l2")
    timesteps: str = Field(
        "uniform", description="distribution of the severity t in training: beta, power, table, uniform"
    )
    weighting: str = Field("uniform", description="weight of the loss at each severity t: min_snr, table, uniform")
    max_grad_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; none for no limit")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="weight of the old average of the weights in each update")
    ema_every: Count = Field(1, description="steps between two updates of the averaged weights")
    ema_start: int = Field(100, ge=0, description="step after which weights are averaged")
    precision: PrecisionChoice = Field(
        "float32", description="precision of the network; auto: bfloat16 on a device that computes in it, else float32"
    )
    compile: bool = Field(False, description="compile the network: about a minute at the start, then faster steps")
    quantize_input: bool = Field(False, description="round the degraded images that the network sees to 8 bits")
    quantize_probability: float = Field(
        1.0, gt=0, le=1, description="probability that --quantize-input rounds the images of a forward pass"
    )
    cond_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that the network is not given the conditions of an image; needed for guidance",
    )
    log_every: Count = Field(20, description="steps between two lines of the log")
    save_every: Count = Field(500, description="steps between two checkpoints")
    keep: Count = Field(2, description="number of checkpoints that are kept")
    preview_every: int | None = Field(None, ge=0, description="steps between two previews; 0 or none for no previews")
    tensorboard: bool = Field(False, description="also write curves and previews for TensorBoard")

    @property
    def forward_size(self) -> int:
        """Return the number of images of one forward pass."""
        return self.micro_batch_size or self.batch_size

    @model_validator(mode="after")
    def _check_components(self) -> TrainOptions:
        self._components()
        return self

    def _components(self) -> dict[str, Any]:
        from restore.losses import LOSSES
        from restore.lr_schedules import LR_SCHEDULES
        from restore.optimizers import OPTIMIZERS
        from restore.timesteps import TIMESTEPS
        from restore.weightings import WEIGHTINGS

        registries: dict[str, Registry[Any]] = {
            "optimizer": OPTIMIZERS,
            "lr_schedule": LR_SCHEDULES,
            "loss": LOSSES,
            "timesteps": TIMESTEPS,
            "weighting": WEIGHTINGS,
        }
        return {name: make_component(registry, getattr(self, name), name) for name, registry in registries.items()}

    def training(self, seed: int) -> TrainConfig:
        """Return the configuration of the training.

        Raises:
            UsageError: if the images of a step cannot be shared among the processes.
        """
        from restore import EMAConfig, TrainConfig
        from restore.distributed import count_micro_batches, get_world_size
        from restore.precision import choose_precision

        try:
            count_micro_batches(self.batch_size, self.micro_batch_size, get_world_size())
        except ValueError as error:
            raise UsageError(str(error)) from None
        names = ("steps", "batch_size", "micro_batch_size", "max_grad_norm", "compile", "quantize_input",
                 "quantize_probability", "cond_dropout")  # fmt: skip
        return TrainConfig(
            ema=EMAConfig(decay=self.ema_decay, update_every=self.ema_every, update_after=self.ema_start),
            seed=seed,
            precision=choose_precision(self.precision, self.torch_device()),
            **self._components(),
            **{name: getattr(self, name) for name in names},
        )


class StartOptions(Options):
    """Start."""

    pretrained: str | None = Field(
        None,
        description="model whose averaged weights the training starts from: its name, or the folder of a run; none for"
        " random weights",
    )


class TrainerOptions(TrainOptions, NetworkOptions, StartOptions, RunOptions):
    """All options of a training except those of its degradation and its data."""


def make_component(registry: Registry[Any], text: str, option: str) -> Any:
    """Return the registered object that a text spells as name or name:argument=value,...

    Args:
        registry: the registry in which the name is looked up.
        text: such as `adam:lr=0.001`.
        option: the field that holds the text, for messages.

    Raises:
        ValueError: for an unknown name or argument, or a value out of range.

    >>> from restore.lr_schedules import LR_SCHEDULES
    >>> make_component(LR_SCHEDULES, "cosine:warmup=50", "lr_schedule")
    Cosine(warmup=50)
    """
    try:
        return registry.parse(text)
    except ValueError as error:
        raise ValueError(f"--{option.replace('_', '-')} {text}: {error}") from None
