"""Denoising diffusion as published (Ho et al., arXiv 2006.11239, 2020): train, sample, and measure the bound.

    python experiments/ddpm.py                                              drawn faces, minutes on a CPU
    python experiments/ddpm.py --preset mnist --download                    digits padded to 32 pixels
    python experiments/ddpm.py --preset cifar10 --download                  35.7 M parameters: a GPU and days
    python experiments/ddpm.py --preset mnist --quick --data mnist.zip      the same, small
    python experiments/ddpm.py --preset mnist-small --download              an hour of one CPU core
    python experiments/ddpm.py --preset mnist-small --download --labels folders --cond-dropout 0.1 --guidance-scale 2
                                                                            the same, of classes that can be asked for

The run ends with

    samples.png    samples by ancestral steps with either variance, and by strided ancestral steps and DDIM
    reverse.png    ten trajectories, shown at t = 999, 700, 550, 400, 300, 200, 100, 50, 15, 0 (of T = 1000)
    classes.png    with --labels: samples of every class, guided as --guidance-scale says
    metrics.json   distances to unseen images, and the variational bound in bits per dimension, term by term

With --labels the model is told the class of every image, and all samples are as many of each class, guided. The
guidance needs --cond-dropout, without which the model has learned nothing about images of no known class.

Code whose steps count from 0 calls the step from level k + 1 to level k here "step k", and shows its result "at k". The
severities above are therefore the same numbers in both.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from degrade import make
from degrade.command_line import UsageError, run_main
from experiments.data.datasets import load_labeled
from experiments.data.options import LabelOptions
from experiments.evaluation.diffusion import Classes, DiffusionEvaluator, summary
from experiments.run.options import Count
from experiments.run.training import Results, TrainerOptions, TrainingTask, start_run, train, write_results
from restore import Predict, Restorer
from samplers import StandardNormal

__all__ = ["Config", "main"]

PROGRAM = "ddpm"


class DiffusionOptions(LabelOptions):
    """Diffusion."""

    T: int = Field(1000, ge=2, description="number of noise levels")
    schedule: str = Field("linear_beta", description="linear_beta (beta from 1e-4 to 0.02), cosine or rectified")
    prediction_type: Predict = Field("eps", description="what the network predicts: eps, x0 or v")
    clip_sample: bool = Field(True, description="clamp the predicted image to [-1, 1] when sampling")
    sample_steps: Count = Field(50, description="number of steps of the samplers that skip levels")
    samples: Count = Field(64, description="images drawn by each sampler")
    guidance_scale: float = Field(
        1.0, description="guidance of the samples towards their class: 1 for none, above 1 for more; with --labels"
    )
    bound_images: int = Field(32, ge=0, description="number of held-out images for the bound; 0 for no bound")
    bound_times: Count | None = Field(
        None,
        description="number of random severities in the bound, fewer are noisier (default: all)",
    )
    quick: bool = Field(False, description="small network and short training: minutes on a CPU")

    @classmethod
    def merge(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset, made small if asked, with those given over them."""
        return super().merge({**preset, **QUICK} if given.get("quick") is True else preset, given)


class Config(TrainerOptions, DiffusionOptions):
    """Everything."""

    @model_validator(mode="after")
    def _check_guidance(self) -> Config:
        if self.guidance_scale != 1 and not (self.labels and self.cond_dropout):
            missing = "--cond-dropout, such as 0.1" if self.labels else "--labels"
            raise ValueError(f"--guidance-scale {self.guidance_scale:g} needs {missing}")
        if self.cond_dropout and not self.labels:
            raise ValueError(f"--cond-dropout {self.cond_dropout:g} leaves out conditions, and there are no --labels")
        return self


HO: dict[str, Any] = {
    **{"loss": "l2", "lr_schedule": "constant", "max_grad_norm": None, "flip": None, "oversize": 1.0},
    **{
        "ema_decay": 0.9999,
        "ema_every": 1,
        "ema_start": 0,
        "size": 32,
        "patch_size": 1,
        "dropout": 0.1,
        "norm_groups": 32,
    },
    **{"log_every": 100, "save_every": 1000},
}
PRESETS: dict[str, Mapping[str, Any]] = {
    "demo": {
        **{
            "size": 32,
            "model_channels": 48,
            "channel_mult": (1, 2),
            "patch_size": 2,
            "attention_resolutions": (8,),
            "steps": 1500,
        },
        **{"batch_size": 32, "loss": "l2", "ema_decay": 0.995, "samples": 16, "bound_images": 8},
    },
    # A UNet of the same resolutions and attention as the tutorial's, which has 64 to 512 channels.
    "mnist": {
        **{
            **HO,
            "data": "mnist",
            "resize": "pad",
            "model_channels": 64,
            "channel_mult": (1, 2, 4, 8),
            "num_res_blocks": 2,
        },
        **{
            "attention_resolutions": (16,),
            "num_heads": 8,
            "optimizer": "adam:lr=2e-5",
            "batch_size": 64,
            "steps": 70_312,
        },
    },
    # About an hour of one CPU core, at 100 images a second: patches of 2 pixels, and a rate that falls at the end.
    "mnist-small": {
        **{
            **HO,
            "data": "mnist",
            "resize": "pad",
            "patch_size": 2,
            "model_channels": 48,
            "channel_mult": (1, 2, 2),
            "num_res_blocks": 1,
            "attention_resolutions": (8,),
            "num_heads": 4,
            "norm_groups": 8,
            "dropout": 0.0,
        },
        **{
            "optimizer": "adam:lr=1e-3",
            "lr_schedule": "warmup_stable_decay:warmup=200,decay=0.25",
            "max_grad_norm": 1.0,
            "batch_size": 32,
            "steps": 11_000,
        },
        **{"ema_decay": 0.999, "ema_start": 100, "precision": "bfloat16", "save_every": 500, "bound_images": 16},
    },
    "cifar10": {
        **{
            **HO,
            "data": "cifar10",
            "flip": True,
            "model_channels": 128,
            "channel_mult": (1, 2, 2, 2),
            "num_res_blocks": 2,
        },
        **{
            "attention_resolutions": (16,),
            "num_heads": 1,
            "optimizer": "adam:lr=2e-4",
            "lr_schedule": "constant:warmup=5000",
        },
        **{"max_grad_norm": 1.0, "batch_size": 128, "steps": 800_000},
    },
}
QUICK: dict[str, Any] = {
    **{
        "model_channels": 32,
        "channel_mult": (1, 2, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (8,),
        "num_heads": 4,
        "norm_groups": 8,
        "dropout": 0.0,
    },
    **{"optimizer": "adam:lr=1e-3", "lr_schedule": "cosine:warmup=100", "max_grad_norm": 1.0, "batch_size": 64},
    **{"steps": 5000, "ema_decay": 0.999},
    **{"precision": "bfloat16", "log_every": 20, "save_every": 200, "bound_images": 8},
}


def main(argv: Sequence[str]) -> None:
    """Train, sample, measure."""
    config, folder = start_run(Config, PRESETS, argv, PROGRAM, __doc__ or "")
    device = config.torch_device()
    try:
        D = make("gaussian_noise", T=config.T, schedule=config.schedule)
    except ValueError as error:
        raise UsageError(f"--schedule {config.schedule}: {error}") from None
    data = load_labeled(config, config.size, config.seed, device)
    config = config.model_copy(update={"network_args": {**config.network_args, **data.network_arguments}})
    classes = Classes(data.classes, config.guidance_scale) if data.classes else None

    def study(R: Restorer) -> DiffusionEvaluator:
        return DiffusionEvaluator(R, data.validation, config.seed, config.forward_size, config.sample_steps, classes)

    def preview(path: Path, R: Restorer) -> Path:
        return study(R).preview(path)

    task = TrainingTask(
        D,
        data.training,
        data.spec,
        config.prediction_type,
        config.clip_sample,
        preview,
        StandardNormal((data.channels, config.size, config.size)),
    )
    training, folder = train(config, folder, task, data.channels)
    if training.rank:  # the first process samples and measures
        return
    final = study(training.ema)
    made = final.samples(config.samples)
    measured = final.measure(made) | ({"guidance_scale": config.guidance_scale} if classes else {})
    if config.bound_images:
        measured["bits_per_dim"] = final.bound(config.bound_images, config.bound_times)
    pictures = [final.grids(folder / "samples.png", made), final.plot_trajectories(folder / "reverse.png")]
    pictures += [final.class_grid(folder / "classes.png")] if classes else []
    title = f"{config.loss} loss of {config.prediction_type}"
    write_results(folder, Results(measured, summary(measured), pictures, title), device)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
