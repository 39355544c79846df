"""A tiny training that many tests start from."""

from __future__ import annotations

import torch

import degrade
from restore import EMAConfig, Restorer, TrainConfig, Trainer, UNet, UNetConfig
from restore.distributed import SingleProcess
from restore.lr_schedules import LR_SCHEDULES
from restore.optimizers import Adam

SMALL = UNetConfig(
    image_size=16,
    in_channels=1,
    model_channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(8,),
    norm_groups=4,
    dropout=0.1,
)


# Options of a program for a network that trains in a moment.
TINY_NETWORK = [
    "--size",
    "16",
    "--patch-size",
    "2",
    "--model-channels",
    "8",
    "--channel-mult",
    "1,2",
    "--attention-resolutions",
    "4",
    "--norm-groups",
    "4",
]
TINY = UNetConfig(
    image_size=16,
    in_channels=1,
    model_channels=8,
    channel_mult=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    norm_groups=4,
)


def start(steps, seed=0, processes=SingleProcess(), network=SMALL, **changes):
    """Return a training of 2 x 4 images a step; `lr`, `warmup` and `decay` are put where they belong."""
    torch.manual_seed(seed)
    D = degrade.make("interpolation", T=10, source=noise)
    how = {
        "batch_size": 8,
        "micro_batch_size": 4,
        "max_grad_norm": 1.0,
        "ema": EMAConfig(0.9, update_every=2, update_after=4),
        "seed": seed,
    }
    lr, warmup, name = (changes.pop(key, value) for key, value in (("lr", 1e-3), ("warmup", 3), ("decay", "constant")))
    how |= {"optimizer": Adam(lr), "lr_schedule": LR_SCHEDULES.make(name, warmup=warmup)}
    return Trainer(Restorer(UNet(network), D), TrainConfig(steps=steps, **how | changes), processes)


def data(n, generator):
    return torch.rand(n, 1, 16, 16, generator=generator) * 2 - 1


def noise(n, generator):
    return torch.randn(n, 1, 16, 16, generator=generator)


class Numbered:
    """N images, brightened at random as they are fetched; it remembers what it gave."""

    def __init__(self, n=17):
        self.images = data(n, torch.Generator().manual_seed(1))
        self.given = []

    def __len__(self):
        return len(self.images)

    def at(self, index, generator=None):
        batch = 0.9 * self.images[index] + 0.1 * torch.rand(len(index), 1, 1, 1, generator=generator)
        self.given.append((index, batch))
        return batch


def states(training):
    state = training.state_dict()
    yield from state["weights"].values()
    yield from state["ema"].values()
    for moments in state["optimizer"]["state"].values():
        yield from moments.values()
