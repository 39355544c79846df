"""A bridge to diffusers: its UNet2DModel read into our UNet, and written back, without diffusers installed.

The two are one network, that of Ho et al. (arXiv 2006.11239, 2020) with the variants of Dhariwal and Nichol (arXiv
2105.05233, 2021); what else a UNet2DModel can be is refused: Fourier or learned embeddings of time, classes, skip
blocks. diffusers counts noise levels k = 0..T-1 where this library counts t = k + 1, hence `time_offset = -1` in a
network that is read. The image size is the shorter side if `sample_size` has two values; if it is missing, it is 32, or
the size that leaves one pixel at the lowest level, whichever is larger.

A folder holds `config.json`, `diffusion_pytorch_model.safetensors` (or `.bin`, read with weights_only=True) and, if it
was written by a pipeline, `scheduler_config.json`: at the top, or in the subfolders `unet` and `scheduler`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore.interop.diffusers_config import network_options, read_network
from restore.interop.diffusers_scheduler import read_scheduler, scheduler_options
from restore.interop.diffusers_weights import load_weights, their_weights
from restore.nets.unet import UNet
from restore.restorer import Restorer

__all__ = ["from_diffusers", "to_diffusers"]

NETWORK, SCHEDULER, PIPELINE = "config.json", "scheduler_config.json", "model_index.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def from_diffusers(folder: str | Path, device: torch.device | str = "cpu") -> Restorer:
    """Return the restorer in a folder that diffusers' `save_pretrained` wrote, in evaluation mode.

    Its network is a `UNet`; its degradation is `gaussian_noise` with the schedule of the folder's scheduler, or the
    defaults of diffusers if it has none: T = 1000, linear betas from 1e-4 to 0.02, eps predicted, x0_hat clamped. To
    train the network for another degradation, make `Restorer(R.net, D, "x0")`.

    Args:
        folder: folder of a UNet2DModel, or of a pipeline with a DDPMScheduler or DDIMScheduler.
        device: device of the restorer.

    Raises:
        FileNotFoundError: if the configuration or the weights are missing.
        ValueError: in one line, naming the options that our network or its noise cannot express, or the tensors that
            do not fit; if a file cannot be read.
    """
    folder = Path(folder)
    unet, scheduler = (folder / name if (folder / name).is_dir() else folder for name in ("unet", "scheduler"))
    config, flip = read_network(unet / NETWORK)
    info = read_scheduler(scheduler / SCHEDULER if (scheduler / SCHEDULER).is_file() else None)
    net = UNet(config)
    load_weights(net, _read_weights(unet), flip)
    return Restorer(net, *info).eval().to(device)


def to_diffusers(model: Restorer | UNet, folder: str | Path) -> Path:
    """Write a network for `UNet2DModel.from_pretrained(folder)`, and a restorer also for `DDPMPipeline`.

    Args:
        model: a UNet, or a restorer with a UNet that removes Gaussian noise with a_t^2 + b_t^2 = 1.
        folder: folder that is written; it is made if missing.

    Returns:
        The folder.

    Raises:
        ValueError: naming the option that diffusers cannot express; no file is written then.

    >>> import tempfile
    >>> from restore.nets.unet import UNetConfig
    >>> shape = {"image_size": 8, "model_channels": 8, "channel_mult": (1, 2), "norm_groups": 4}
    >>> net = UNet(UNetConfig(**shape, attention_resolutions=()))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     from_diffusers(to_diffusers(net, folder)).net.config.channel_mult
    (1, 2)
    """
    net = model.net if isinstance(model, Restorer) else model
    if not isinstance(net, UNet):
        raise ValueError(f"only a restore.UNet can be written for diffusers, not {type(net).__name__}")
    files: dict[str, dict[str, Any]] = {NETWORK: network_options(net.config)}
    if isinstance(model, Restorer):
        files[SCHEDULER] = scheduler_options(model)
        parts = {"unet": files[NETWORK], "scheduler": files[SCHEDULER]}
        classes = {part: ["diffusers", options["_class_name"]] for part, options in parts.items()}
        files[PIPELINE] = {"_class_name": "DDPMPipeline"} | classes
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(their_weights(net), folder / WEIGHTS[0], metadata={"format": "pt"})
    for name, options in files.items():
        (folder / name).write_text(json.dumps(options, indent=2) + "\n")
    return folder


def _read_weights(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHTS:
        file = folder / name
        if file.is_file():
            break
    else:
        raise FileNotFoundError(f"{folder} holds neither {' nor '.join(WEIGHTS)}")
    try:
        if file.suffix == ".bin":
            weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
            return weights
        return load_file(file)
    except Exception as error:  # each format raises its own types of error for a damaged file
        raise ValueError(f"{file} cannot be read: {str(error).partition(chr(10))[0]}") from error
