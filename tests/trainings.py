"""A tiny training that many tests start from."""

from __future__ import annotations

import torch

import degrade
from restore import EMAConfig, Restorer, TrainConfig, Training, UNet, UNetConfig

SMALL = UNetConfig(size=16, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(8,), groups=4, dropout=0.1)


def start(steps, seed=0, **changes):
    torch.manual_seed(seed)
    D = degrade.make("interpolation", T=10, source=noise)
    config = TrainConfig(
        steps=steps, batch=4, lr=1e-3, warmup=3, clip=1.0, ema=EMAConfig(0.9, every=2, start=4), seed=seed, **changes
    )
    return Training(Restorer(UNet(SMALL), D), config)


def data(n, generator):
    return torch.rand(n, 1, 16, 16, generator=generator) * 2 - 1


def noise(n, generator):
    return torch.randn(n, 1, 16, 16, generator=generator)


def states(training):
    state = training.state_dict()
    yield from state["weights"].values()
    yield from state["ema"].values()
    for moments in state["optimizer"]["state"].values():
        yield from moments.values()
