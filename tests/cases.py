"""Argument sets on which every registered degradation is tested, and images to test it on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import degrade
from degrade.functional.schedules import Cosine, LinearBeta, LinearSigma, Rectified

SCHEDULES = [
    LinearBeta(),
    Cosine(),
    Rectified(),
    LinearSigma(sigma_max=0.6),
    LinearBeta(beta_start=0.01, beta_end=0.3),
    Cosine(s=0.0, max_beta=0.9),
]


def seed(number: int) -> torch.Generator:
    """A generator of random numbers on the CPU."""
    return torch.Generator().manual_seed(number)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Smooth random images in [-1, 1]."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.tanh(0.5 * noise + noise.mean((2, 3), keepdim=True))


def partners(channels: int, height: int, width: int) -> degrade.Source:
    """A source of random images for `interpolation`."""

    def source(n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, channels, height, width, generator=generator, dtype=torch.float64).tanh()

    return source


NOISE = {"name": "gaussian_noise", "arguments": {"T": 40}}
LATE = {"name": "ramp", "arguments": {"start": 0.4, "power": 2.0}}

# name -> argument sets; each must work on images of (3, 12, 16) and of (1, 16, 16), see SHAPES.
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "gaussian_noise": [{}, {"T": 1}, {"T": 50, "schedule": "cosine"}, {"T": 7, "schedule": "rectified"}],
    "interpolation": [{"T": 20}, {"T": 5, "coupling": "optimal"}, {"T": 9, "schedule": "rectified"}],
    "blur": [
        {},
        {"T": 1, "sigmas": "constant:sigma=7", "kernel_size": 11, "padding_mode": "circular"},
        {"T": 5, "sigmas": [1.0, 0.5, 2.0, 0.1, 3.0], "kernel_size": 9, "padding_mode": "symmetric", "mean_at_T": True},
        {"T": 50, "sigmas": "cifar10", "kernel_size": 11, "mean_at_T": True},
        {"T": 8, "sigmas": "incremental:step=0.2", "kernel_size": 5},
        {"T": 12, "cumulative_sigma": "geometric", "padding_mode": "symmetric"},
        {"T": 3, "cumulative_sigma": [0.5, 2, 8], "padding_mode": "circular", "mean_at_T": True},
    ],
    "inpaint": [
        {},
        {"T": 20, "sigmas": "incremental:step=0.1", "center": "random"},
        {"T": 3, "sigmas": [1, 4, 2], "center": [9, 2]},
    ],
    "missing_pixels": [{}, {"T": 1, "share_at_T": 0.5}, {"T": 6, "share_at_T": 0.8}],
    "mask_to_color": [
        {},
        {"T": 10, "sigmas": "incremental:step=0.5", "outside_in": False},
        {"T": 2, "sigmas": "constant:sigma=2"},
    ],
    "pixelate": [
        {"T": 2},
        {"T": 1, "filter": "area"},
        {"T": 3, "filter": "bilinear", "allow_uneven": True},
        {"T": 12, "sizes": "decrement", "filter": "area"},
        {"T": 5, "sizes": "decrement"},
        {"T": 3, "sizes": [0.75, 0.3, 0.01], "filter": "area"},
    ],
    "snow": [{}, {"T": 1, "strength": 1}, {"T": 20, "strength": 2, "fix_brightness": True}, {"T": 5, "strength": 3}],
    "decolor": [
        {},
        {"T": 1},
        {"T": 5, "saturation": "constant", "gray_at_T": False},
        {"T": 2, "saturation": [0.4, 0.1]},
    ],
    "compose": [
        {"T": 12},
        {"T": 5, "noise_fraction": 0.0},
        {"T": 9, "noise_fraction": 0.3, "parts": ["decolor", {"name": "gaussian_noise", "arguments": {"T": 7}}]},
        {
            "T": 5,
            "noise_fraction": 1.0,
            "parts": ["inpaint", "decolor", "interpolation"],
            "curves": ["ramp", "ramp", {"name": "table", "arguments": {"levels": [0, 0, 1, 9, 60, 200]}}],
        },
        {
            "T": 8,
            "parts": [
                NOISE,
                {"name": "compose", "arguments": {"parts": ["decolor", NOISE], "curves": ["ramp", LATE]}},
            ],
            "curves": [LATE, "ramp"],
        },
    ],
    "jpeg": [{"T": 4}, {"T": 1, "end_quality": 40}],
    "motion_blur": [
        {},
        {"T": 1, "kernel_size": 3},
        {"T": 6, "kernel_size": 9, "direction": 0.7},
        {"T": 6, "kernel_size": 9, "direction": 0.7, "padding_mode": "circular"},
        {"T": 2, "kernel_size": 5, "angle": 30.0},
    ],
}

SHAPES = [(3, 12, 16), (1, 16, 16)]
CASES = [(name, arguments) for name, sets in ARGUMENTS.items() for arguments in sets]

# Every case on every shape above, and cases that want a shape of their own or must work on an odd one.
CASES_ON_SHAPES = [
    *((name, arguments, shape) for name, arguments in CASES for shape in SHAPES),
    ("blur", {}, (2, 13, 9)),
    ("blur", {"T": 9, "padding_mode": "circular", "mean_at_T": True}, (1, 1, 7)),
    ("blur", {"T": 9, "padding_mode": "symmetric"}, (1, 5, 1)),
    ("inpaint", {"T": 9, "center": "random"}, (2, 13, 9)),
    ("inpaint", {"T": 9}, (1, 1, 7)),
    ("inpaint", {"T": 3, "sigmas": [1, 4, 2]}, (3, 12, 16)),
    ("missing_pixels", {"T": 9}, (2, 13, 9)),
    ("mask_to_color", {"T": 9, "color": [0.1, -0.5, 1.0]}, (3, 9, 13)),
    ("pixelate", {"T": 4}, (3, 16, 48)),
    ("pixelate", {"T": 3, "allow_uneven": True, "filter": "area"}, (2, 13, 9)),
    ("snow", {"T": 9, "fix_brightness": True}, (2, 13, 9)),
    ("decolor", {"weights": "luma"}, (3, 9, 13)),
    ("decolor", {"saturation": "constant"}, (5, 9, 13)),
    ("jpeg", {"T": 2}, (3, 9, 37)),
    ("motion_blur", {"T": 5, "kernel_size": 5}, (5, 9, 13)),
    ("motion_blur", {"T": 5, "kernel_size": 15, "padding_mode": "circular"}, (2, 13, 4)),
]


def live(name: str, arguments: dict[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """The objects that a degradation must be given beside its arguments, to draw z for images of `shape`."""
    if name == "compose":
        parts = degrade.make(name, **arguments).parts
        return {"part_runtime": tuple(live(part.name, part.arguments, shape) for part in parts)}
    return {"source": partners(*shape)} if name == "interpolation" else {}


def build(name: str, arguments: dict[str, Any], shape: tuple[int, int, int]) -> degrade.Degradation:
    """Make a degradation ready to draw z for images of `shape`."""
    return degrade.make(name, **arguments, **live(name, arguments, shape))
