"""The options that experiments have in common."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError

from degrade.command_line import IntList, Options, UsageError
from restore import EMAConfig, TrainConfig, UNetConfig
from restore.distributed import count_micro_batches, get_world_size, local_rank
from restore.lr_schedules import LR_SCHEDULES
from restore.optimizers import Adam

__all__ = ["DeviceOptions", "NetworkOptions", "RunOptions", "TrainOptions"]

Count = Annotated[int, Field(ge=1)]


class DeviceOptions(Options):
    """Where, and by which dice."""

    device: str = Field("auto", description="cpu, cuda, mps, or auto for the best there is")
    seed: int = Field(0, description="from which everything random follows")

    def torch_device(self) -> torch.device:
        """Return the device asked for; of several processes each has its own.

        Raises:
            UsageError: if this machine does not have it.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if name == "cuda" and get_world_size() > 1:
            name = f"cuda:{local_rank()}"
        try:
            device = torch.device(name)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--device {self.device} is not there ({reason}); try --device auto or cpu") from None
        return device


class RunOptions(DeviceOptions):
    """The run."""

    preset: str = Field("demo", description="where all other values come from; a name that is none lists them")
    out: str | None = Field(None, description="folder of the run (default: a new one under runs/)")
    resume: bool = Field(False, description="continue the run in --out, or the newest one")


class NetworkOptions(Options):
    """The network."""

    size: Count = Field(64, description="side of the images in pixels")
    width: Count = Field(64, description="channels at the highest resolution")
    multipliers: IntList = Field((1, 2, 3), description="channels at each level, as multiples of the width")
    blocks: Count = Field(1, description="residual blocks at each level")
    attention: IntList = Field((8,), description="sides at which self-attention is used; none for nowhere")
    heads: Count = Field(4, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the residual blocks")
    groups: Count = Field(8, description="groups of the group norms")
    patch: Count = Field(4, description="pixels a side that the network sees as one")
    checkpointing: bool = Field(False, description="less memory for a third more time, with the same results")

    def network(self, channels: int = 3) -> UNetConfig:
        """Return the network's configuration.

        Raises:
            UsageError: if the values do not go together.
        """
        try:
            return UNetConfig(
                image_size=self.size, in_channels=channels, model_channels=self.width, channel_mult=self.multipliers,
                num_res_blocks=self.blocks, attention_resolutions=self.attention, num_heads=self.heads,
                dropout=self.dropout, norm_groups=self.groups, patch_size=self.patch,
                gradient_checkpointing=self.checkpointing,
            )  # fmt: skip
        except ValidationError as error:
            raise UsageError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


class TrainOptions(Options):
    """Training."""

    steps: Count = Field(1200, description="optimizer steps")
    batch: Count = Field(16, description="images per forward pass")
    accumulate: Count = Field(1, description="forward passes per step, over all processes")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    warmup: int = Field(50, ge=0, description="steps over which the learning rate rises")
    decay: Literal["constant", "cosine"] = Field("cosine", description="of the learning rate: constant or cosine")
    loss: Literal["l1", "l2"] = Field("l1", description="l1 or l2")
    max_grad_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; none for no limit")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the averaged weights")
    ema_every: Count = Field(1, description="steps between two updates of the average")
    ema_start: int = Field(100, ge=0, description="step from which weights are averaged")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="float32 or bfloat16")
    compile: bool = Field(False, description="compile the network: a minute more to start with, and faster steps")
    quantize_input: bool = Field(False, description="round what the network sees to 8 bits")
    log_every: Count = Field(20, description="steps between two lines of the log")
    save_every: Count = Field(500, description="steps between two checkpoints")
    keep: Count = Field(2, description="checkpoints that are kept")
    sample_every: int | None = Field(None, ge=0, description="steps between two pictures; 0 or none for no pictures")
    tensorboard: bool = Field(False, description="write curves and pictures for TensorBoard too")

    def training(self, seed: int) -> TrainConfig:
        """Return the training's configuration.

        Raises:
            UsageError: if the processes cannot share a step.
        """
        try:
            count_micro_batches(self.batch * self.accumulate, self.batch, get_world_size())
        except ValueError as error:
            raise UsageError(str(error)) from None
        names = ("steps", "loss", "max_grad_norm", "precision", "compile", "quantize_input")
        return TrainConfig(
            batch_size=self.batch * self.accumulate,
            micro_batch_size=self.batch,
            optimizer=Adam(lr=self.lr),
            lr_schedule=LR_SCHEDULES.make(self.decay, warmup=self.warmup),
            ema=EMAConfig(decay=self.ema_decay, update_every=self.ema_every, update_after=self.ema_start),
            seed=seed,
            **{name: getattr(self, name) for name in names},
        )
