"""The configuration of a training: numbers, and components by name and arguments, all of it readable from JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from degrade.frozen import frozen
from restore.choices import Precision
from restore.ema import EMAConfig
from restore.losses import L1, AnyLoss
from restore.lr_schedules import AnyLRSchedule, Constant
from restore.optimizers import Adam, AnyOptimizer
from restore.timesteps import AnyTimesteps, UniformTimesteps
from restore.weightings import AnyWeighting, UniformWeighting

__all__ = ["TrainConfig"]

Count = Annotated[int, Field(ge=1)]


@frozen
class TrainConfig:
    """How to train; the default is the training of Cold Diffusion.

    `optimizer`, `lr_schedule`, `loss`, `timesteps` and `weighting` are objects, names, or `{"name", "arguments"}`.

    Args:
        steps: number of optimizer steps.
        batch_size: images per optimizer step, over all processes.
        micro_batch_size: images per forward pass, at most; gradients are added up over the micro-batches of a step. It
            must divide `batch_size` where that is larger. Random numbers are drawn for each micro-batch, so another
            size is another training. None: one forward pass for each process.
        optimizer: what turns gradients into new weights, with the peak learning rate; see `restore.optimizers`.
        lr_schedule: factor of the learning rate over the steps, with a warmup; see `restore.lr_schedules`.
        loss: difference between the output of the network and its target; see `restore.losses`.
        timesteps: distribution of the severity t; see `restore.timesteps`.
        weighting: weight of the loss over t; see `restore.weightings`.
        max_grad_norm: largest norm of the gradient, to which it is scaled down; None for no limit.
        cond_dropout: probability in [0, 1] that the conditions of an image are replaced by "no condition", for
            classifier-free guidance; see `restore.conditions`.
        ema: exponential moving average of the weights.
        precision: precision of the network's forward pass; weights, loss and degradation stay in float32.
        compile: whether the network is compiled, in place, which takes a minute and then makes each step faster.
        quantize_input: whether the network sees x_t rounded to 8 bits, so that it cannot read what float32 keeps of an
            image that is nearly erased (see `degrade.linear_probe`). Not for degradations that leave [-1, 1], such as
            noise. A linear inverse that the network sees assumes this error, or its own if that is larger.
        quantize_probability: probability in (0, 1] that `quantize_input` rounds the images of a forward pass; the
            others stay in float32, for a network that serves both.
        seed: seed of all random numbers of the training.

    >>> schedule = {"name": "cosine", "arguments": {"warmup": 10}}
    >>> config = TrainConfig(optimizer=Adam(lr=1e-3), lr_schedule=schedule, loss="l2")
    >>> config.optimizer.lr, config.lr_schedule, config.loss
    (0.001, Cosine(warmup=10), L2())
    """

    steps: Count = 700_000
    batch_size: Count = 64
    micro_batch_size: Count | None = 32
    optimizer: AnyOptimizer = Adam()
    lr_schedule: AnyLRSchedule = Constant()
    loss: AnyLoss = L1()
    timesteps: AnyTimesteps = UniformTimesteps()
    weighting: AnyWeighting = UniformWeighting()
    max_grad_norm: Annotated[float, Field(gt=0)] | None = None
    cond_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    ema: EMAConfig = EMAConfig()
    precision: Precision = "float32"
    compile: bool = False
    quantize_input: bool = False
    quantize_probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Return the learning rate of optimizer step `step` in 1..steps.

        >>> config = TrainConfig(steps=5, optimizer=Adam(lr=1.0), lr_schedule="cosine")
        >>> [round(config.lr_at(step), 3) for step in (1, 3, 5)]
        [1.0, 0.5, 0.0]
        """
        return self.lr_schedule.lr_at(self.optimizer.lr, step, self.steps)
