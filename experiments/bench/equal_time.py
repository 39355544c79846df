"""Trainings that are given equal processor time: ours, lucidrains' trainer and the diffusers example.

Processor time of this process is what counts, from the first step to the last; what is built before is not. On one
thread it depends little on other programs of the machine. What other processes do is not counted: lucidrains' trainer
decodes its pictures in such, ours and the example of diffusers have them decoded beforehand.

Each training ends as a `Restorer` with averaged weights. That of another library undoes the noise of that library's
own schedule, with its levels k = 0..T-1 as t = k + 1.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from degrade import Degradation, make
from degrade.optional import require
from degrade.random import fork_seed
from experiments.bench.process import BenchConfig
from experiments.bench.training_backends import (
    DiffusersTraining,
    diffusers_training,
    lucidrains_steps,
    lucidrains_training,
    lucidrains_unet,
    write_pictures,
)
from experiments.data.images import InMemoryImages
from experiments.run.loop import TrainingTask
from experiments.run.tasks import TaskConfig
from experiments.run.training import build_restorer
from restore import Predict, Restorer, Trainer

__all__ = ["Trained", "diffusers_unet", "spend", "train_diffusers", "train_lucidrains", "train_recipe"]

WARMUP = 0.05  # share of the time in which the pace of the example of diffusers is measured, beforehand
EXAMPLE = (1, 1, 2, 2, 4, 4)  # channels of its levels, as multiples of the first


class Trained(NamedTuple):
    """A finished training: the restorer with averaged weights, and what it took.

    Args:
        R: the restorer.
        steps: number of optimizer steps.
        seconds: processor time of the steps.
        images: number of images that were seen.
    """

    R: Restorer
    steps: int
    seconds: float
    images: int

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.R.parameters())


class PeerNetwork(nn.Module):
    """A network of another library, called with our levels: net(x_t, t - 1).

    Args:
        net: the network.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the output (B, C, H, W) for levels t (B,) in 1..T."""
        out = self.net(x_t, t - 1)
        output: Tensor = out if isinstance(out, Tensor) else out.sample
        return output


def spend(seconds: float, step: Callable[[int], object]) -> tuple[int, float]:
    """Take as many steps as fit into the processor time, at least one; return their number and the seconds they took.

    Args:
        seconds: processor time.
        step: takes a step. It is told how many there will be in all, as far as the time of those before tells, so that
            learning rates can end with the time.
    """
    done, total, used, began = 0, 1, 0.0, time.process_time()
    while done < total:
        step(total)
        done += 1
        used = time.process_time() - began
        total = int(done * seconds / used)
    return done, used


def train_recipe(config: TaskConfig, predict: Predict, pictures: Tensor, seconds: float) -> Trained:
    """Train as a configuration says, except for its number of steps.

    Args:
        config: the degradation, the network, and how to train it.
        predict: what the network predicts.
        pictures: (n, C, S, S) uint8.
        seconds: processor time.
    """
    task = TrainingTask(
        config.make_degradation(), InMemoryImages(pictures, config.size, config.flip is not False), None, predict
    )
    trainer = Trainer(build_restorer(config, task, pictures.shape[1]), config.training(config.seed))
    run = trainer.run(task.data)

    def step(total: int) -> None:
        trainer.config = replace(trainer.config, steps=total)
        next(run)

    steps, used = spend(seconds, step)
    return Trained(trainer.ema, steps, used, steps * config.batch_size)


def train_lucidrains(width: int, setting: BenchConfig, pictures: Tensor, seconds: float, seed: int) -> Trained:
    """Train as the README of denoising-diffusion-pytorch does, in float32: v, sigmoid schedule, Adam 8e-5, EMA 0.995.

    Args:
        width: channels of the highest level of their network; 64 in the README.
        setting: the size, the levels of the network and the images of a forward pass, of which two make a step.
        pictures: (n, 3, S, S) uint8, at least 100.
        seconds: processor time.
        seed: seed of everything random.
    """
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        fork_seed("cpu", seed, "lucidrains"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of pinned memory, which it asks for without a GPU, too
        write_pictures(pictures, folder)
        how = {"train_lr": 8e-5, "gradient_accumulate_every": 2, "ema_decay": 0.995}
        own = replace(setting, folder=folder)
        trainer = lucidrains_training(lucidrains_unet(width, own), own, {}, how)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            steps, used = spend(seconds, lambda _: lucidrains_steps(trainer, 1))
        average = trainer.ema.ema_model
    alpha_bar = average.alphas_cumprod.double()
    R = Restorer(PeerNetwork(average.model), with_schedule(alpha_bar), "v").eval()
    return Trained(R, steps, used, steps * 2 * setting.batch)


def with_schedule(alpha_bar: Tensor) -> Degradation:
    """Return the Gaussian noise with a_t^2 = alpha_bar_t and b_t^2 = 1 - alpha_bar_t, from (T,) values of t = 1..T."""
    tables = {"a": (1.0, *alpha_bar.sqrt().tolist()), "b": (0.0, *(1 - alpha_bar).sqrt().tolist())}
    return make("gaussian_noise", T=len(alpha_bar), schedule={"name": "table", "arguments": tables})


def diffusers_unet(width: int, size: int) -> nn.Module:
    """Return the network of the unconditional example of diffusers with another width than its 128."""
    library = require("diffusers", "the benchmark", "bench")
    net: nn.Module = library.UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, layers_per_block=2,
        block_out_channels=tuple(width * multiple for multiple in EXAMPLE),
        down_block_types=(*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
    )  # fmt: skip
    return net


def train_diffusers(width: int, setting: BenchConfig, pictures: Tensor, seconds: float, seed: int) -> Trained:
    """Train as the unconditional example of diffusers does: eps, linear betas, AdamW 1e-4, cosine after 500 steps, EMA.

    Its learning rate ends with the time: the number of steps is found by a first training that is thrown away.

    Args:
        width: channels of the highest level of the network; 128 in the example.
        setting: the size and the images of a step.
        pictures: (n, 3, S, S) uint8.
        seconds: processor time.
        seed: seed of everything random.
    """
    images = pictures.float() / 127.5 - 1

    def build() -> nn.Module:
        return diffusers_unet(width, setting.size)

    def one_step(training: DiffusersTraining) -> Callable[[int], object]:
        return lambda _: training.steps(1)

    with fork_seed("cpu", seed, "diffusers"):
        done, used = spend(WARMUP * seconds, one_step(diffusers_training(build(), images, setting)))
        total = max(1, int(done * seconds / used))
        training = diffusers_training(build(), images, setting, total)
        steps, used = spend(seconds, one_step(training))
    training.average.copy_to(training.model.parameters())
    R = Restorer(PeerNetwork(training.model), make("gaussian_noise", T=1000), "eps").eval()
    return Trained(R, steps, used, steps * setting.batch)
