"""Contenders of the training benchmark: optimizer steps of three libraries, each as its users run them.

ours            `restore.Trainer` on `gaussian_noise`, eps predicted, images resident as uint8, mirrored
lucidrains      `denoising_diffusion_pytorch.Trainer.train` on a folder of PNG files, as it stands
diffusers       the loop of examples/unconditional_image_generation/train_unconditional.py, of the library's own parts:
                DDPMScheduler.add_noise, accelerate, AdamW, the cosine schedule, EMAModel; images decoded beforehand

All clip the gradient, average the weights and read batches of the same pictures. The network of diffusers is ours,
written by `restore.to_diffusers`; that of lucidrains has other parts and the width that comes nearest in operations.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from degrade import make
from degrade.optional import require
from experiments.bench.flops import forward_flops, matched
from experiments.bench.process import BenchConfig, Workloads
from experiments.data.images import InMemoryImages
from restore import EMAConfig, Restorer, TrainConfig, Trainer, to_diffusers
from restore.losses import L2
from restore.optimizers import Adam

__all__ = [
    "DIFFUSERS",
    "LONG",
    "LUCIDRAINS",
    "DiffusersTraining",
    "diffusers_loop",
    "diffusers_training",
    "lucidrains_steps",
    "lucidrains_trainer",
    "lucidrains_training",
    "lucidrains_unet",
    "ours",
    "pictures",
    "write_pictures",
]

LUCIDRAINS = ("denoising_diffusion_pytorch", "experiments.data.images")
DIFFUSERS = ("diffusers", "accelerate", "diffusers.training_utils", "experiments.data.images")
LONG = 10**6  # more steps than any benchmark takes


def pictures(setting: BenchConfig, n: int = 128) -> Tensor:
    """Return n pictures (n, 3, S, S) uint8 of smooth random color."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return (nn.functional.interpolate(coarse, size=setting.size, mode="bilinear") * 255).to(torch.uint8)


def write_pictures(images: Tensor, folder: str) -> None:
    """Write images (n, 3, S, S) uint8 as PNG files."""
    from PIL import Image

    for i, picture in enumerate(images):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(Path(folder) / f"{i:05}.png")


def ours(setting: BenchConfig) -> Workloads:
    """Return this library's training."""
    net = setting.net()
    config = TrainConfig(
        steps=LONG, batch_size=setting.batch, micro_batch_size=None, optimizer=Adam(lr=1e-4), loss=L2(),
        max_grad_norm=1.0, ema=EMAConfig(update_after=1),
        precision=setting.precision, compile=setting.compiled,
    )  # fmt: skip
    training = Trainer(Restorer(net, make("gaussian_noise", T=1000), "eps"), config)
    run = training.run(InMemoryImages(pictures(setting).to(setting.device), setting.size))
    return Workloads(net, {"step": lambda n: deque(islice(run, n), maxlen=0)})


def lucidrains_unet(width: int, setting: BenchConfig) -> nn.Module:
    """Return their network at a width, with as many levels as ours."""
    library = require("denoising_diffusion_pytorch", "the benchmark", "bench")
    net: nn.Module = library.Unet(dim=width, dim_mults=setting.network.channel_mult)
    return net


def lucidrains_training(
    net: nn.Module, setting: BenchConfig, process: Mapping[str, Any], how: Mapping[str, Any]
) -> Any:
    """Return their Trainer of a network, on the PNG files of the setting's folder.

    Args:
        net: their network.
        setting: batch, size, precision, device, folder.
        process: arguments of their GaussianDiffusion, beside the size.
        how: further arguments of their Trainer.
    """
    library = require("denoising_diffusion_pytorch", "the benchmark", "bench")
    _choose_device(setting)
    diffusion = library.GaussianDiffusion(net, image_size=setting.size, **process)
    return library.Trainer(
        diffusion, setting.folder, train_batch_size=setting.batch, train_num_steps=0, calculate_fid=False,
        save_and_sample_every=LONG, results_folder=tempfile.mkdtemp(dir=setting.folder),
        amp=setting.precision == "bfloat16", mixed_precision_type="bf16", **how,
    )  # fmt: skip


def lucidrains_steps(trainer: Any, n: int) -> None:
    """Take n steps more with their Trainer."""
    trainer.train_num_steps = trainer.step + n
    trainer.train()


def lucidrains_trainer(setting: BenchConfig) -> Workloads:
    """Return their Trainer, with their own step."""
    flops = forward_flops(setting.net(), setting.network.in_channels, setting.size)
    width = matched(lambda width: lucidrains_unet(width, setting), flops, setting.network.in_channels, setting.size)
    torch.manual_seed(0)
    net = lucidrains_unet(width, setting)
    trainer = lucidrains_training(net, setting, {"objective": "pred_noise"}, {})
    return Workloads(net, {"step": lambda n: lucidrains_steps(trainer, n)})


class DiffusersTraining(NamedTuple):
    """The loop of the diffusers example: a function that takes n steps, the network, and the average of its weights."""

    steps: Callable[[int], None]
    model: nn.Module
    average: Any


def diffusers_training(
    model: nn.Module, images: Tensor, setting: BenchConfig, num_training_steps: int = LONG
) -> DiffusersTraining:
    """Return the loop of the diffusers example for a network.

    Args:
        model: a UNet2DModel.
        images: (n, C, S, S) in [-1, 1].
        setting: batch, precision, device.
        num_training_steps: number of steps at whose end the cosine brings the learning rate to 0.
    """
    diffusers, accelerate, utils = (require(name, "the benchmark", "bench") for name in DIFFUSERS[:3])
    _choose_device(setting)
    accelerator = accelerate.Accelerator(mixed_precision="bf16" if setting.precision == "bfloat16" else "no")
    average = utils.EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    noising = diffusers.DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    loader = DataLoader(TensorDataset(images), batch_size=setting.batch, shuffle=True)
    rate = diffusers.optimization.get_scheduler(
        "cosine", optimizer, num_warmup_steps=500, num_training_steps=num_training_steps
    )
    model, optimizer, loader, rate = accelerator.prepare(model, optimizer, loader, rate)
    average.to(accelerator.device)
    model.train()

    def step(x0: Tensor) -> None:
        noise = torch.randn(x0.shape, device=x0.device)
        t = torch.randint(0, noising.config.num_train_timesteps, (len(x0),), device=x0.device).long()
        with accelerator.accumulate(model):
            out = model(noising.add_noise(x0, noise, t), t).sample
            loss = nn.functional.mse_loss(out.float(), noise.float())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
        average.step(model.parameters())
        loss.detach().item()  # which the example logs at every step

    batches = (x0 for _ in count() for (x0,) in loader)

    def steps(n: int) -> None:
        for x0 in islice(batches, n):
            step(x0)

    return DiffusersTraining(steps, accelerator.unwrap_model(model), average)


def diffusers_loop(setting: BenchConfig) -> Workloads:
    """Return the loop of the diffusers example, with our network in their words."""
    diffusers = require("diffusers", "the benchmark", "bench")
    model = diffusers.UNet2DModel.from_pretrained(to_diffusers(setting.net(), tempfile.mkdtemp(dir=setting.folder)))
    images = pictures(setting).repeat(8, 1, 1, 1).float() / 127.5 - 1
    training = diffusers_training(model, images, setting)
    return Workloads(training.model, {"step": training.steps})


def _choose_device(setting: BenchConfig) -> None:
    """Tell accelerate, which would take a GPU if it saw one."""
    if torch.device(setting.device).type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "1"
