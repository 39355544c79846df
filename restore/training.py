"""Training: the same few lines for every degradation, network and data set.

    t ~ U{1..T};   z = D.draw(x0);   x_t = D(x0, t, z);   loss = |net(x_t, t) - target|  or its square

The loop is a generator that yields a record after every optimizer step; whoever runs it logs, draws and saves between
steps, and stops by not asking for the next. What a step does is a function of (seed, step) and the state it starts
from: its random numbers come from a generator keyed by both, so a resumed run continues as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from degrade import Source, round_to_8bit
from degrade.base import CONFIG
from degrade.keyed import globally_keyed, keyed
from restore.ema import EMA, EMAConfig
from restore.restorer import Restorer

__all__ = ["Record", "TrainConfig", "Training"]

Count = Annotated[int, Field(ge=1)]
LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}


@dataclass(frozen=True, config=CONFIG)
class TrainConfig:
    """How to train; the default is that of Cold Diffusion.

    Args:
        steps: optimizer steps in all.
        batch: images per forward pass.
        accumulate: forward passes per optimizer step.
        lr: learning rate of Adam.
        warmup: steps over which the learning rate rises linearly from 0.
        decay: `constant`, or `cosine` for a learning rate that falls to 0 at step `steps`.
        loss: `l1` or `l2`.
        clip: largest norm of the gradient; None for no limit.
        ema: how the weights are averaged.
        precision: of the network's forward pass; weights, loss and degradation stay in float32.
        round_input: whether the network sees x_t rounded to 8 bits, so that it cannot read what float32 keeps of an
            image that is all but erased (see `degrade.leak`); not for degradations that leave [-1, 1], such as noise.
        seed: from which everything random in a step follows.
    """

    steps: Count = 700_000
    batch: Count = 32
    accumulate: Count = 2
    lr: Annotated[float, Field(gt=0)] = 2e-5
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Literal["constant", "cosine"] = "constant"
    loss: Literal["l1", "l2"] = "l1"
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: EMAConfig = EMAConfig()
    precision: Literal["float32", "bfloat16"] = "float32"
    round_input: bool = False
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Return the learning rate of optimizer step `step` (1, 2, ...).

        >>> config = TrainConfig(steps=4, lr=1.0, warmup=2, decay="cosine")
        >>> [round(config.lr_at(step), 3) for step in (1, 2, 3, 4)]
        [0.5, 0.854, 0.5, 0.146]
        """
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        fall = (1 + math.cos(math.pi * (step - 1) / self.steps)) / 2 if self.decay == "cosine" else 1.0
        return self.lr * rise * fall


class Record(NamedTuple):
    """What an optimizer step leaves behind; `loss` and `grad_norm` stay on the device until somebody looks."""

    step: int
    loss: Tensor
    grad_norm: Tensor
    lr: float


class Training:
    """A restorer in training, and all that its steps change: weights, their average, the optimizer, the step count.

    Args:
        restorer: its network is trained in place.
        config: how.

    `ema` is a `Restorer` with the averaged weights, in evaluation mode: the one to sample with.

    >>> import degrade
    >>> from restore.unet import UNet, UNetConfig
    >>> net = UNet(UNetConfig(size=8, channels=1, width=8, multipliers=(1,), attention=(), groups=4))
    >>> training = Training(Restorer(net, degrade.make("gaussian_noise", T=4)), TrainConfig(steps=2, batch=4))
    >>> def data(n, generator):
    ...     return torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1
    >>> [record.step for record in training.run(data)]
    [1, 2]
    """

    def __init__(self, restorer: Restorer, config: TrainConfig) -> None:
        self.restorer = restorer
        self.config = config
        self.step = 0
        self.device = next(restorer.parameters()).device
        # One kernel for all weights, where the device has it.
        fused = self.device.type in ("cuda", "cpu")
        self.optimizer = torch.optim.Adam(restorer.net.parameters(), lr=config.lr, fused=fused)
        self._ema = EMA(restorer.net, config.ema)
        self.ema = Restorer(self._ema.net, restorer.degradation, restorer.predict, restorer.clamp).eval()

    def run(self, data: Source) -> Iterator[Record]:
        """Take the steps that are left, yielding a record after each.

        Args:
            data: (n, generator) -> n clean images (n, C, H, W) in [-1, 1]; randomness from the generator only.
        """
        self.restorer.train()
        while self.step < self.config.steps:
            yield self.take_step(data)

    def take_step(self, data: Source) -> Record:
        """Take one optimizer step."""
        step, config = self.step + 1, self.config
        generator = keyed(self.device, config.seed, "train", step)
        lr = config.lr_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        losses = []
        with globally_keyed(self.device, config.seed, "dropout", step):
            for _ in range(config.accumulate):
                loss = self._loss(data(config.batch, generator).to(self.device), generator)
                (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
        grad_norm = nn.utils.clip_grad_norm_(self.restorer.net.parameters(), config.clip or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._ema.update(step)
        self.step = step
        return Record(step, torch.stack(losses).mean(), grad_norm, lr)

    def _loss(self, x0: Tensor, generator: torch.Generator) -> Tensor:
        D, net = self.restorer.degradation, self.restorer.net
        t = torch.randint(1, D.T + 1, (len(x0),), generator=generator, device=self.device)
        z = D.draw(x0, generator)
        x_t = round_to_8bit(D(x0, t, z)) if self.config.round_input else D(x0, t, z)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            out = net(x_t, t)
        return LOSSES[self.config.loss](out.float(), self.restorer.target(x0, t, z))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the steps so far have changed."""
        return {
            "step": self.step,
            "weights": self._ema.source.state_dict(),
            "ema": self._ema.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.step = state["step"]
        self._ema.source.load_state_dict(state["weights"])
        self._ema.net.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
