"""The settings of Bansal et al. (arXiv 2208.09392, 2022) for MNIST, CIFAR-10 and CelebA, as values of options.

Restoration presets are named after data set and degradation, `cifar10-blur`. The four `generation-...` presets train on
faces of 128 pixels (CelebA, or with --data the animals of AFHQ) and fit a prior, so that images can be generated.
Training is the same for all: L1, Adam 2e-5, 64 images per step in two forward passes, 700,000 steps, EMA 0.995 every 10
steps after step 2,000. The original networks are ConvNeXt UNets, for CIFAR-10 the UNet of DDPM; here all are `UNet`
with the same widths and levels.

The presets `...-inverse` are ours: the same tasks for images that were rounded to 8 bits, with a network that sees
their linear inverse. (There is none for inpaint, whose hole is at a random place that a network does not know.)
`mnist-snow` and `mnist-motion-blur` are ours too.

Two are for photographs of any size and not of the paper either. They train on windows of 64 pixels at the pictures'
own resolution, with a network of two levels that sees 2 x 2 pixels as one and is applied to whole pictures afterwards
(3.7 M parameters for noise, 0.9 M for blur). Give them --data.

    photo-noise   noise of standard deviation t = 1..75 on the scale 0..255, not clipped; the network predicts the noise
    photo-blur    Gaussian blur of standard deviation 0.08 t pixels, t = 1..50, symmetric borders, rounded to 8 bits;
                  the network sees the linear inverse

Their learning rate stays constant and falls to 0 over the last fifth of --steps. A run that was stopped may be given
another number of steps with --resume, and then ends with a fall of its own.

`shrink` turns any preset into a run of minutes on a CPU: the same degradation, a small network, a short training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEMO", "LABELED_DIGITS", "PAPER_NETWORK", "PAPER_TRAINING", "PRESETS", "QUICK", "shrink"]

Values = Mapping[str, Any]

PAPER_TRAINING: Values = {
    "loss": "l1", "steps": 700_000, "batch_size": 64, "micro_batch_size": 32, "optimizer": "adam:lr=2e-5",
    "lr_schedule": "constant", "max_grad_norm": None, "ema_decay": 0.995, "ema_every": 10, "ema_start": 2000,
    "eval_images": 1000, "log_every": 100, "save_every": 1000,
}  # fmt: skip
PAPER_NETWORK: Values = {
    "model_channels": 64, "channel_mult": (1, 2, 4, 8), "num_res_blocks": 2, "attention_resolutions": (16,),
    "patch_size": 1, "norm_groups": 32,
}  # fmt: skip
DDPM_UNET: Values = {
    **PAPER_NETWORK, "model_channels": 128, "channel_mult": (1, 2, 2, 2), "num_heads": 1, "dropout": 0.1,
}  # fmt: skip

# MNIST with its classes, and a border of two black pixels, which makes its pictures 32 pixels wide.
LABELED_DIGITS: Values = {"data": "mnist", "resize": "pad", "oversize": 1.0, "labels": "folders"}
MNIST: Values = {**PAPER_TRAINING, **PAPER_NETWORK, "data": "mnist", "size": 32, "resize": "pad", "flip": False}
CIFAR10: Values = {**PAPER_TRAINING, **DDPM_UNET, "data": "cifar10", "size": 32}
CELEBA: Values = {**PAPER_TRAINING, **PAPER_NETWORK, "data": "celeba", "size": 128}

PHOTO: Values = {
    "data": "photographs", "size": 64, "resize": "none", "flip": True, "rotate": True, "channels": "3",
    "model_channels": 64, "channel_mult": (1, 2), "num_res_blocks": 2, "attention_resolutions": (), "num_heads": 1,
    "norm_groups": 8, "patch_size": 2, "loss": "l1", "steps": 20_000, "batch_size": 16, "precision": "auto",
    "optimizer": "adam:lr=1e-3", "lr_schedule": "warmup_stable_decay:warmup=300,decay=0.2", "max_grad_norm": 1.0,
    "ema_decay": 0.999, "ema_every": 1, "ema_start": 300, "log_every": 50, "save_every": 250, "sample_steps": 5,
}  # fmt: skip
PHOTO_NOISE: Values = {"T": 75, "schedule": {"name": "linear_sigma", "arguments": {"sigma_max": 150 / 255}}}
PHOTO_BLUR: Values = {
    "T": 50, "cumulative_sigma": tuple(round(0.08 * t, 2) for t in range(1, 51)), "padding_mode": "symmetric",
}  # fmt: skip

DIGIT_BLUR: Values = {"T": 20, "sigmas": "constant:sigma=7", "kernel_size": 11, "padding_mode": "circular"}
TINY_BLUR: Values = {"T": 50, "sigmas": "cifar10", "kernel_size": 11}
FACE_BLUR: Values = {"T": 200, "sigmas": "exponential:rate=0.01", "kernel_size": 15}
SMALL_HOLE: Values = {"T": 50, "sigmas": "incremental:step=0.1", "center": "random"}
FACE_HOLE: Values = {"T": 100, "sigmas": "incremental:step=0.2"}
TO_MEAN: Values = {
    "T": 300, "sigmas": "exponential:rate=0.01", "kernel_size": 27, "padding_mode": "circular", "mean_at_T": True,
}  # fmt: skip


def _preset(base: Values, degradation: str, arguments: Values, **more: Any) -> Values:
    return {**base, "degradation": degradation, "degradation_args": dict(arguments), **more}


DEMO: Values = {
    "size": 32, "model_channels": 48, "channel_mult": (1, 2), "patch_size": 2, "attention_resolutions": (8,),
    "steps": 600, "batch_size": 32, "degradation": "blur",
    "degradation_args": {"T": 20, "sigmas": "cifar10", "kernel_size": 11},
}  # fmt: skip
PRESETS: dict[str, Values] = {
    "mnist-blur": _preset(MNIST, "blur", DIGIT_BLUR),
    "mnist-inpaint": _preset(MNIST, "inpaint", SMALL_HOLE, quantize_input=True),
    "mnist-pixelate": _preset(MNIST, "pixelate", {"T": 3}),
    "mnist-snow": _preset(MNIST, "snow", {"T": 200, "strength": 3}),
    "mnist-motion-blur": _preset(MNIST, "motion_blur", {"T": 20, "kernel_size": 15, "padding_mode": "circular"}),
    "cifar10-blur": _preset(CIFAR10, "blur", TINY_BLUR),
    "cifar10-inpaint": _preset(CIFAR10, "inpaint", SMALL_HOLE, quantize_input=True),
    "cifar10-pixelate": _preset(CIFAR10, "pixelate", {"T": 3}),
    "cifar10-snow": _preset(CIFAR10, "snow", {"T": 200, "strength": 3}),
    "cifar10-decolor": _preset(CIFAR10, "decolor", {"T": 20}),
    "celeba-blur": _preset(CELEBA, "blur", FACE_BLUR),
    "celeba-inpaint": _preset(CELEBA, "inpaint", FACE_HOLE),
    "celeba-pixelate": _preset(CELEBA, "pixelate", {"T": 4}),
    "celeba-snow": _preset(CELEBA, "snow", {"T": 200, "strength": 4}),
    "celeba-decolor": _preset(CELEBA, "decolor", {"T": 20}),
    "generation-blur": _preset(CELEBA, "blur", TO_MEAN, quantize_input=True, prior="auto", jitter=0.002),
    "generation-mask": _preset(CELEBA, "mask_to_color", {"T": 750, "sigmas": "incremental:step=0.05"}, prior="auto"),
    "generation-pixelate": _preset(CELEBA, "pixelate", {"T": 6}, prior="auto"),
    "generation-noise": _preset(CELEBA, "gaussian_noise", {"T": 200, "schedule": "cosine"}, prior="auto"),
    "photo-noise": _preset(PHOTO, "gaussian_noise", PHOTO_NOISE, prediction_type="eps"),
    "photo-blur": _preset(
        PHOTO, "blur", PHOTO_BLUR, quantize_input=True, inverse_input=True, model_channels=32, steps=40_000
    ),
}
PRESETS |= {
    f"{data}-{name}-inverse": {**PRESETS[f"{data}-{name}"], "quantize_input": True, "inverse_input": True}
    for data, names in {
        "mnist": ("blur", "pixelate"),
        "cifar10": ("blur", "pixelate", "decolor"),
    }.items()
    for name in names
}

QUICK: Values = {
    "model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 2, "num_heads": 4, "norm_groups": 8,
    "dropout": 0.0, "loss": "l1", "steps": 2000, "batch_size": 32, "micro_batch_size": None,
    "optimizer": "adam:lr=1e-3", "lr_schedule": "cosine:warmup=50", "max_grad_norm": 1.0, "ema_decay": 0.99,
    "ema_every": 1, "ema_start": 100, "precision": "auto", "eval_images": 128, "sample_steps": 20,
    "log_every": 20, "save_every": 250,
}  # fmt: skip


def shrink(preset: Values) -> Values:
    """Return the preset for minutes on a CPU: at most 64 pixels, which the network sees as 16 x 16.

    >>> values = shrink(PRESETS["celeba-blur"])
    >>> values["size"], values["patch_size"], values["attention_resolutions"], values["degradation_args"]["T"]
    (64, 4, (8,), 200)
    """
    size = min(64, preset.get("size", 64))
    return {
        **preset,
        **QUICK,
        "size": size,
        "patch_size": max(1, size // 16),
        "attention_resolutions": (min(8, size // 2),),
    }
