"""Training: the same loop for every degradation, network and data set.

    t ~ p(t);   z = D.draw(x0);   x_t = D(x0, t, z);   loss = loss(net(x_t, t, **cond), target)

Data that knows z gives it with x0, and it is then not drawn (`restore.conditions`).

A step k is the mean gradient over micro-batches m = 0..M-1 of the weighted losses, clipped, one update by the optimizer
with the learning rate lr_k, and one of the average:

    g = 1/M sum_m grad mean_i w(t_i) loss_i;  weights <- optimizer(weights, clip(g), lr_k); ema <- average(ema, weights)

The loop is a generator that yields statistics after every optimizer step; the caller logs, samples and saves between
two steps, and stops by not asking for the next. Micro-batch m of step k is a function of (seed, k, m): its images by
their position in the run (`restore.data_order`), and all random numbers from generators keyed by these three. So a
resumed run continues as if it had not been interrupted, and it does not matter which process computes a micro-batch
(`restore.distributed`). Inside a step the host never waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from degrade import Params, quantize_8bit
from degrade.constants import ROUNDING_NOISE
from degrade.functional.levels import compute_dtype
from degrade.random import fork_seed, seeded_generator
from restore.conditions import Cond, drop_cond, split_params
from restore.data import CheckedFetcher, TrainingData, check_batches, to_readable
from restore.data_order import batch_fetcher
from restore.distributed import SingleProcess, count_micro_batches, distribute_like, full_tensor
from restore.ema import EMA
from restore.restorer import Restorer
from restore.train_config import TrainConfig

__all__ = ["StepStats", "Trainer"]

SINGLE = SingleProcess()


class StepStats(NamedTuple):
    """Statistics of an optimizer step, kept on the device until they are read.

    Args:
        step: number of the step, 1, 2, ...
        loss: mean of the weighted losses, the quantity that is minimized.
        grad_norm: norm of the gradient before it is clipped.
        lr: learning rate of the step.
        t: (batch_size,) int64 severities of the images of all processes, in the order of the micro-batches.
        losses: (batch_size,) losses of these images, without the weights.
    """

    step: int
    loss: Tensor
    grad_norm: Tensor
    lr: float
    t: Tensor
    losses: Tensor


class Trainer:
    """A restorer in training, and everything that a step changes: weights, average, optimizer state, step count.

    Args:
        restorer: the restorer whose network is trained, in place.
        config: settings of the training.
        processes: the processes that share the training, from `restore.init_distributed`; by default this one alone.

    Raises:
        ValueError: if the images of a step cannot be shared evenly among micro-batches and processes; if the weighting
            or the distribution of t does not fit the degradation; if `config.quantize_input` would cut off what a
            degradation puts outside [-1, 1]; or if `config.quantize_probability` is given without it.

    `ema` is a `Restorer` with the averaged weights, in evaluation mode: the one to sample with. All processes hold the
    same state after every step, so any of them can save it.

    >>> import degrade
    >>> from restore.optimizers import Adam
    >>> class Net(nn.Module):
    ...     "A convolution that ignores t."
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv = nn.Conv2d(1, 1, 3, padding=1)
    ...     def forward(self, x_t, t):
    ...         return self.conv(x_t)
    >>> config = TrainConfig(steps=2, batch_size=4, optimizer=Adam(lr=1e-3))
    >>> trainer = Trainer(Restorer(Net(), degrade.make("gaussian_noise", T=4)), config)
    >>> def data(n, generator):
    ...     return torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1
    >>> [stats.step for stats in trainer.run(data)]
    [1, 2]
    """

    def __init__(self, restorer: Restorer, config: TrainConfig, processes: SingleProcess = SINGLE) -> None:
        self.micro_batches = count_micro_batches(config.batch_size, config.micro_batch_size, processes.world_size)
        self.micro_batch_size = config.batch_size // self.micro_batches
        config.timesteps.probabilities(restorer.degradation.T)
        if config.quantize_input and not restorer.degradation.bounded:
            raise ValueError(
                f"quantize_input is True, and the images of {restorer.degradation.name!r} leave [-1, 1], which rounding"
                " to 8 bits would cut off; use quantize_input=False"
            )
        if config.quantize_probability < 1 and not config.quantize_input:
            raise ValueError(
                f"quantize_probability is {config.quantize_probability} and quantize_input is False, so nothing would"
                " be rounded; use quantize_input=True, or leave out quantize_probability"
            )
        self.restorer = restorer
        self.config = config
        self.step = 0
        weight = next(restorer.parameters())
        self.device, self._dtype = weight.device, compute_dtype(weight.dtype)
        self._weights = config.weighting.checked_table(restorer).to(self._dtype).to(self.device)
        self.processes = processes
        self.rank, self.world_size = processes.rank, processes.world_size
        if config.compile:
            restorer.net.compile()
        processes.broadcast_parameters(restorer.net)
        self._ema = EMA(restorer.net, config.ema)
        how = restorer.degradation, restorer.prediction_type, restorer.clip_sample, restorer.precision
        self.ema = Restorer(self._ema.net, *how, restorer.inverse_input).eval()
        self._net = processes.wrap(restorer.net)
        self._of_rounded = restorer.with_input_noise(ROUNDING_NOISE)
        self._layout = _layout(restorer.net)
        self.optimizer = config.optimizer.build(list(restorer.net.parameters()))
        self._peak_lrs = [group["lr"] for group in self.optimizer.param_groups]

    def run(self, data: TrainingData, cond: str | Sequence[str] = ()) -> Iterator[StepStats]:
        """Take the remaining steps and yield statistics after each.

        Args:
            data: clean images of floating point in [-1, 1], which are visited in epochs: a tensor or an array (N, C, H,
                W), a tuple (images, labels), a map-style data set of images or of (image, label), or a `MapDataset`; or
                drawn without end from a source. See `restore.data`.
            cond: names of the elements that follow the image in the tuples of `data`, with which the network is called:
                `cond="label"` for net(x_t, t, label=label). Elements without a name are not used.

        Raises:
            TypeError: for data of another kind, such as a data loader.
            ValueError: for images of another shape, number, type or range, when they are read.
        """
        readable = to_readable(data, cond)
        return self._steps(_Batches(check_batches(batch_fetcher(readable, self.config.seed)), _device_of(readable)))

    def _steps(self, batches: _Batches) -> Iterator[StepStats]:
        self.restorer.train()
        while self.step < self.config.steps:
            yield self._take_step(batches)

    def any_rank(self, flag: bool) -> bool:
        """Return whether `flag` is true in any of the processes; each of them must call this."""
        return self.processes.any_rank(flag)

    def _take_step(self, batches: _Batches) -> StepStats:
        step, config = self.step + 1, self.config
        lrs = [config.lr_schedule.lr_at(peak, step, config.steps) for peak in self._peak_lrs]
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        own = range(self.rank, self.micro_batches, self.world_size)
        passes = [self._backward_micro_batch(batches, step, m) for m in own]
        t, losses = (self._in_order(parts) for parts in zip(*passes, strict=True))
        norm = nn.utils.clip_grad_norm_(self.restorer.net.parameters(), config.max_grad_norm or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._ema.update(step)
        self.step = step
        return StepStats(step, (self._weight(t) * losses).mean(), full_tensor(norm), lrs[0], t, losses)

    def _backward_micro_batch(self, batches: _Batches, step: int, m: int) -> tuple[Tensor, Tensor]:
        """Add the gradient of micro-batch m of a step; return its severities and losses (n,)."""
        config, D = self.config, self.restorer.degradation
        generator = seeded_generator(self.device, config.seed, "train", step, m)
        x0, z, cond = self._examples(batches, step, m, generator)
        t = config.timesteps.sample(len(x0), D.T, generator, self.device)
        z = D.draw(x0, generator) if z is None else z
        last = m + self.world_size >= self.micro_batches
        averaging = nullcontext() if last else self.processes.no_sync(self._net)
        with fork_seed(self.device, config.seed, "dropout", step, m), averaging:
            losses = self._losses(x0, t, z, cond, self._rounds(step, m))
            # The gradients of the processes are averaged, so each divides by the number of its own micro-batches.
            mean = (self._weight(t) * losses).mean()
            (mean * self.world_size / self.micro_batches).backward()  # type: ignore[no-untyped-call]
        return t, losses.detach()

    def _examples(self, batches: _Batches, step: int, m: int, generator: Generator) -> tuple[Tensor, Params, Cond]:
        """Return the images of micro-batch m of a step, their z if the data gives it, and their conditions."""
        n, seed = self.micro_batch_size, self.config.seed
        position = (step - 1) * self.config.batch_size + m * n
        elsewhere = batches.device is not None and batches.device.type != self.device.type
        draws = seeded_generator(batches.device or "cpu", seed, "data", step, m) if elsewhere else generator
        x0, given = batches.fetch(position, n, draws)
        x0 = x0.to(self._dtype).to(self.device, non_blocking=True)
        given = {
            name: (value.to(self._dtype) if value.is_floating_point() else value).to(self.device, non_blocking=True)
            for name, value in given.items()
        }
        z, cond = split_params(given)
        if not self.config.cond_dropout:
            return x0, z, cond
        if not cond:
            raise ValueError(
                f"cond_dropout is {self.config.cond_dropout}, and the training data has no conditions; name them with"
                " cond=..., or use cond_dropout=0"
            )
        chance = torch.rand(
            n, generator=seeded_generator(self.device, seed, "cond_dropout", step, m), device=self.device
        )
        return x0, z, drop_cond(self.restorer.net, cond, chance < self.config.cond_dropout)

    def _weight(self, t: Tensor) -> Tensor:
        return self._weights[t - 1]

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the values (n,) of the micro-batches of all processes as one tensor, in the micro-batches' order."""
        own = torch.stack(list(parts))
        return self.processes.gather(own).view(self.world_size, *own.shape).transpose(0, 1).flatten()

    def _rounds(self, step: int, m: int) -> bool:
        """Return whether micro-batch m of a step is rounded to 8 bits; decided on the host, so that nothing waits."""
        config = self.config
        if not config.quantize_input or config.quantize_probability == 1:
            return config.quantize_input
        draw = torch.rand((), generator=seeded_generator("cpu", config.seed, "rounding", step, m))
        return bool(draw < config.quantize_probability)

    def _losses(self, x0: Tensor, t: Tensor, z: Params, cond: Cond, rounded: bool) -> Tensor:
        x_t = self.restorer.degradation(x0, t, z)
        prepared = self._of_rounded.prepare(quantize_8bit(x_t), t) if rounded else self.restorer.prepare(x_t, t)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            out = self._net(prepared.contiguous(memory_format=self._layout), t, **cond)
        return self.config.loss(out.to(x0.dtype), self.restorer.target(x0, t, z, prepared))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the steps so far have changed, as full tensors; each process must call this."""
        optimizer = self.optimizer.state_dict()
        moments = {i: {k: full_tensor(v) for k, v in own.items()} for i, own in optimizer["state"].items()}
        return {
            "step": self.step,
            "weights": {name: full_tensor(weight) for name, weight in self._ema.source.state_dict().items()},
            "ema": self._ema.net.state_dict(),
            "optimizer": optimizer | {"state": moments},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        The arguments of the optimizer, such as its learning rate, are those of this trainer's configuration.
        """
        self.step = state["step"]
        mine = self._ema.source.state_dict()
        self._ema.source.load_state_dict(
            {
                name: distribute_like(weight, mine[name]) if name in mine else weight
                for name, weight in state["weights"].items()
            }
        )
        self._ema.net.load_state_dict(state["ema"])
        groups = self.optimizer.state_dict()["param_groups"]
        if [group["params"] for group in groups] != [group["params"] for group in state["optimizer"]["param_groups"]]:
            raise ValueError("the optimizer has parameters in other groups")
        self.optimizer.load_state_dict(state["optimizer"] | {"param_groups": groups})
        for p, moments in self.optimizer.state.items():
            for name, moment in moments.items():
                if isinstance(moment, Tensor) and moment.shape == p.shape:
                    # Fused kernels need the memory layout of the weights, which files do not store.
                    moments[name] = distribute_like(moment, p)


class _Batches(NamedTuple):
    """The checked batches of a run, and the device on which the data takes its random numbers, if it states one."""

    fetch: CheckedFetcher
    device: torch.device | None


def _device_of(data: object) -> torch.device | None:
    device = getattr(data, "device", None)
    return device if device is None else torch.device(device)


def _layout(net: nn.Module) -> torch.memory_format:
    """Return the memory format that images should come in: that of the convolutions' weights."""
    last = torch.channels_last
    four = [p for p in net.parameters() if p.ndim == 4 and not p.is_contiguous()]
    return last if any(p.is_contiguous(memory_format=last) for p in four) else torch.contiguous_format
