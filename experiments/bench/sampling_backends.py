"""Contenders of the sampling benchmark: sampling from noise with the same weights.

ours         `samplers.sample` with `DDPM()` on `gaussian_noise`; and, as work of its own, the calls of R alone
diffusers    DDPMPipeline with DDPMScheduler; in bfloat16 it runs under autocast, as ours does
"""

from __future__ import annotations

import tempfile

import torch

from degrade import expand_level
from degrade.optional import require
from experiments.bench.precision_error import autocast, noise, restorer
from experiments.bench.process import BenchConfig, Workloads
from restore import to_diffusers
from samplers import DDPM, sample, spaced_timesteps

__all__ = ["diffusers_pipeline", "ours"]


def ours(setting: BenchConfig) -> Workloads:
    """Return this library's sampler."""
    R = restorer(setting)
    x_T, times = noise(setting), spaced_timesteps(1000, setting.steps)
    generator = torch.Generator(setting.device).manual_seed(0)

    def sample_all(n: int) -> None:
        for _ in range(n):
            sample(R, DDPM(), x_T, x_T, times, generator)

    @torch.inference_mode()
    def network(n: int) -> None:
        for _ in range(n):
            for t in times[:-1]:
                R(x_T, expand_level(t, x_T))

    return Workloads(R.net, {"trajectory": sample_all, "network": network})


def diffusers_pipeline(setting: BenchConfig) -> Workloads:
    """Return the pipeline of diffusers, with our network in their words."""
    diffusers = require("diffusers", "the benchmark", "bench")
    folder = to_diffusers(setting.net(), tempfile.mkdtemp(dir=setting.folder))
    unet = diffusers.UNet2DModel.from_pretrained(folder).to(setting.device).eval()
    pipeline = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(num_train_timesteps=1000))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator(setting.device).manual_seed(0)

    def sample_all(n: int) -> None:
        with autocast(torch.device(setting.device), setting.precision):
            for _ in range(n):
                pipeline(setting.batch, generator, num_inference_steps=setting.steps, output_type="np")

    return Workloads(unet, {"trajectory": sample_all})
