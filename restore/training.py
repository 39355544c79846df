"""Training: the same few lines for every degradation, network and data set.

    t ~ U{1..T};   z = D.draw(x0);   x_t = D(x0, t, z);   loss = |net(x_t, t) - target|  or its square

A step k is the mean gradient of micro-batches m = 0..accumulate-1, clipped, and one update by Adam and of the average:

    g = 1/accumulate sum_m grad mean_i loss_i;   weights <- Adam(weights, clip(g), lr_k);   ema <- average(ema, weights)

The loop is a generator that yields a record after every optimizer step; whoever runs it logs, draws and saves between
steps, and stops by not asking for the next. Micro-batch m of step k is a function of (seed, k, m): its images by their
position in the run (`restore.data_order`), and all it draws from generators keyed by these three. So a resumed run
continues as if nothing had happened, and which process computes a micro-batch does not matter (`restore.distributed`).
Inside a step the host never waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from degrade import Params, quantize_8bit
from degrade.frozen import frozen
from degrade.functional.levels import compute_dtype
from degrade.seeding import fork_seed, seeded_generator
from restore.data import TrainingData, checked, readable
from restore.data_order import Batches, batch_fetcher
from restore.distributed import SingleProcess, distribute_like, local_accumulation, whole
from restore.ema import EMA, EMAConfig
from restore.restorer import Restorer

__all__ = ["StepStats", "TrainConfig", "Trainer"]

Count = Annotated[int, Field(ge=1)]
ALONE = SingleProcess()
LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}


@frozen
class TrainConfig:
    """How to train; the default is that of Cold Diffusion.

    Args:
        steps: optimizer steps in all.
        batch: images per micro-batch, which is one forward pass.
        accumulate: micro-batches per optimizer step, over all processes, whose number must divide it.
        lr: learning rate of Adam.
        warmup: steps over which the learning rate rises linearly from 0.
        decay: `constant`, or `cosine` for a learning rate that falls to exactly 0 at the last step, `steps`.
        loss: `l1` or `l2`.
        max_grad_norm: largest norm of the gradient; None for no limit.
        ema: how the weights are averaged.
        precision: of the network's forward pass; weights, loss and degradation stay in float32.
        compile: whether the network is compiled, in place, which takes a minute and then makes each step faster.
        quantize_input: whether the network sees x_t rounded to 8 bits, so that it cannot read what float32 keeps of an
            image that is all but erased (see `degrade.linear_probe`); not for degradations that leave [-1, 1], such as
            noise.
        seed: from which everything random in a step follows.
    """

    steps: Count = 700_000
    batch: Count = 32
    accumulate: Count = 2
    lr: Annotated[float, Field(gt=0)] = 2e-5
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Literal["constant", "cosine"] = "constant"
    loss: Literal["l1", "l2"] = "l1"
    max_grad_norm: Annotated[float, Field(gt=0)] | None = None
    ema: EMAConfig = EMAConfig()
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    quantize_input: bool = False
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Return the learning rate of optimizer step `step` (1, 2, ...).

            lr_k = lr min(1, k / warmup) fall_k
            fall_k = (1 + cos(pi (k - 1) / (steps - 1))) / 2    for `cosine`; 1 for `constant`

        so that with `cosine` fall_1 = 1 and the last step, k = `steps`, has exactly the rate 0: it leaves the weights
        as they are. A training of a single step takes it at the full rate.

        >>> config = TrainConfig(steps=5, lr=1.0, warmup=2, decay="cosine")
        >>> [round(config.lr_at(step), 3) for step in (1, 2, 3, 4, 5)]
        [0.5, 0.854, 0.5, 0.146, 0.0]
        """
        rise = min(1.0, step / self.warmup) if self.warmup else 1.0
        done = (step - 1) / max(1, self.steps - 1)
        fall = (1 + math.cos(math.pi * done)) / 2 if self.decay == "cosine" else 1.0
        return self.lr * rise * fall


class StepStats(NamedTuple):
    """What an optimizer step leaves behind; its tensors stay on the device until somebody looks.

    `t` (N,) int64 and `losses` (N,) are the severities and losses of the step's N = accumulate * batch images, those of
    all processes, in the order of the micro-batches; `loss` is their mean.
    """

    step: int
    loss: Tensor
    grad_norm: Tensor
    lr: float
    t: Tensor
    losses: Tensor


class Trainer:
    """A restorer in training, and all that its steps change: weights, their average, the optimizer, the step count.

    Args:
        restorer: its network is trained in place.
        config: how.
        devices: the processes that share it, from `restore.distributed.init_distributed`; by default this one alone.

    Raises:
        ValueError: if the number of processes does not divide `config.accumulate`, or if `config.quantize_input` would
            cut
            off what a degradation puts outside [-1, 1].

    `ema` is a `Restorer` with the averaged weights, in evaluation mode: the one to sample with. All processes hold the
    same state after every step, so any one of them can save it, whole.

    >>> import degrade
    >>> from restore.nets.unet import UNet, UNetConfig
    >>> net = UNet(UNetConfig(size=8, channels=1, width=8, multipliers=(1,), attention=(), groups=4))
    >>> training = Trainer(Restorer(net, degrade.make("gaussian_noise", T=4)), TrainConfig(steps=2, batch=4))
    >>> def data(n, generator):
    ...     return torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1
    >>> [record.step for record in training.run(data)]
    [1, 2]
    """

    def __init__(self, restorer: Restorer, config: TrainConfig, devices: SingleProcess = ALONE) -> None:
        local_accumulation(config.accumulate, devices.world_size)
        if config.quantize_input and not restorer.degradation.bounded:
            raise ValueError(
                f"round_input is True, and the images of {restorer.degradation.name!r} leave [-1, 1], which rounding to"
                " 8 bits would cut off; use round_input=False"
            )
        self.restorer = restorer
        self.config = config
        self.step = 0
        weight = next(restorer.parameters())
        self.device, self._dtype = weight.device, compute_dtype(weight.dtype)
        self.devices = devices
        self.rank, self.world_size = devices.rank, devices.world_size
        if config.compile:
            restorer.net.compile()
        devices.broadcast_parameters(restorer.net)
        self._ema = EMA(restorer.net, config.ema)
        how = restorer.degradation, restorer.prediction_type, restorer.clip_sample, restorer.precision
        self.ema = Restorer(self._ema.net, *how).eval()
        self._net = devices.wrap(restorer.net)
        self._layout = _layout(restorer.net)
        # One kernel for all weights, where the device has it.
        fused = self.device.type in ("cuda", "cpu")
        self.optimizer = torch.optim.Adam(restorer.net.parameters(), lr=config.lr, fused=fused)

    def run(self, data: TrainingData) -> Iterator[StepStats]:
        """Take the steps that are left, yielding a record after each.

        Args:
            data: clean images of floating point in [-1, 1], which are visited in epochs: a tensor or an array (N, C, H,
                W), a pair (images, labels), a map-style data set of images or of (image, label), an `MapDataset` set;
                or drawn without end from a `Source`. See `restore.data`.

        Raises:
            TypeError: for data of another kind, such as a data loader.
            ValueError: for images of another shape, number, type or range, when they are met.
        """
        return self._steps(checked(batch_fetcher(readable(data), self.config.seed)))

    def _steps(self, at: Batches) -> Iterator[StepStats]:
        self.restorer.train()
        while self.step < self.config.steps:
            yield self._take_step(at)

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any of the processes; all of them must ask."""
        return self.devices.any(flag)

    def _take_step(self, at: Batches) -> StepStats:
        step, config = self.step + 1, self.config
        lr = config.lr_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        passes = [self._add_gradient(at, step, m) for m in range(self.rank, config.accumulate, self.world_size)]
        t, losses = (self._in_order(parts) for parts in zip(*passes, strict=True))
        norm = nn.utils.clip_grad_norm_(self.restorer.net.parameters(), config.max_grad_norm or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._ema.update(step)
        self.step = step
        return StepStats(step, losses.mean(), whole(norm), lr, t, losses)

    def _add_gradient(self, at: Batches, step: int, m: int) -> tuple[Tensor, Tensor]:
        """Add the gradient of micro-batch m of a step; return its severities and losses (batch,)."""
        config, D = self.config, self.restorer.degradation
        generator = seeded_generator(self.device, config.seed, "train", step, m)
        position = ((step - 1) * config.accumulate + m) * config.batch
        x0 = at(position, config.batch, generator).to(self._dtype).to(self.device, non_blocking=True)
        t = torch.randint(1, D.T + 1, (len(x0),), generator=generator, device=self.device)
        z = D.draw(x0, generator)
        last = m + self.world_size >= config.accumulate
        averaging = nullcontext() if last else self.devices.no_sync(self._net)
        with fork_seed(self.device, config.seed, "dropout", step, m), averaging:
            losses = self._losses(x0, t, z)
            # The processes' gradients are averaged, so each divides by the micro-batches of its own.
            (losses.mean() * self.world_size / config.accumulate).backward()  # type: ignore[no-untyped-call]
        return t, losses.detach()

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what the micro-batches of all processes have to say (batch,) each, in the micro-batches' order."""
        own = torch.stack(list(parts))
        return self.devices.gather(own).view(self.world_size, *own.shape).transpose(0, 1).flatten()

    def _losses(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        D = self.restorer.degradation
        x_t = quantize_8bit(D(x0, t, z)) if self.config.quantize_input else D(x0, t, z)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            out = self._net(x_t.contiguous(memory_format=self._layout), t)
        pixels: Tensor = LOSSES[self.config.loss](out.float(), self.restorer.target(x0, t, z), reduction="none")
        return pixels.flatten(1).mean(1)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the steps so far have changed, whole; all processes must ask."""
        optimizer = self.optimizer.state_dict()
        moments = {i: {k: whole(v) for k, v in own.items()} for i, own in optimizer["state"].items()}
        return {
            "step": self.step,
            "weights": {name: whole(weight) for name, weight in self._ema.source.state_dict().items()},
            "ema": self._ema.net.state_dict(),
            "optimizer": optimizer | {"state": moments},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.step = state["step"]
        mine = self._ema.source.state_dict()
        self._ema.source.load_state_dict(
            {
                name: distribute_like(weight, mine[name]) if name in mine else weight
                for name, weight in state["weights"].items()
            }
        )
        self._ema.net.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        for p, moments in self.optimizer.state.items():
            for name, moment in moments.items():
                if moment.shape == p.shape:
                    # Fused kernels need them laid out in memory as the weights are, which files do not tell.
                    moments[name] = distribute_like(moment, p)


def _layout(net: nn.Module) -> torch.memory_format:
    """Return the memory format that images should come in: that of the convolutions' weights."""
    last = torch.channels_last
    four = [p for p in net.parameters() if p.ndim == 4 and not p.is_contiguous()]
    return last if any(p.is_contiguous(memory_format=last) for p in four) else torch.contiguous_format
