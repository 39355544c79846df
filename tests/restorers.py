"""Restorers of small pictures: a formula, and an untrained network."""

from __future__ import annotations

import torch

import degrade
from experiments.data.drawn import DrawnFaces
from restore import Restorer, UNet, UNetConfig

FACE = DrawnFaces(32)(1, torch.Generator().manual_seed(5))
BLUR = degrade.make("blur", T=8, cumulative_sigma="geometric", padding_mode="symmetric")
NOISE = degrade.make("gaussian_noise", T=50)
NEAR = torch.nn.AvgPool2d(3, 1, 1)  # sees one pixel far


class Says(torch.nn.Module):
    """A network that is a formula."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x, t):
        return self.formula(x, t)


def restorer(D, formula=lambda x, t: x):
    return Restorer(Says(formula), D)


def trained(channels=3, D=BLUR, seed=0):
    torch.manual_seed(seed)
    shape = {"model_channels": 8, "channel_mult": (1, 2), "attention_resolutions": (), "norm_groups": 4}
    net = UNet(UNetConfig(image_size=16, in_channels=channels, **shape))
    torch.nn.init.normal_(net.conv_out.weight, std=0.1)
    return Restorer(net, D).eval()
