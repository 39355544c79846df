"""Degradations: how a clean image is spoiled to severity t.

A degradation D(x0, t, z) takes images x0 (B, C, H, W) in [-1, 1] and severities t (B,) in 0..T, with everything
random in z; `degrade.base` states the contract and its laws. It is made by name and written as one small class:

>>> import torch, degrade
>>> D = degrade.make("gaussian_noise", T=100)
>>> x0 = torch.zeros(4, 3, 32, 32)
>>> z = D.draw(x0, torch.Generator().manual_seed(0))
>>> D(x0, torch.tensor([0, 1, 50, 100]), z).shape
torch.Size([4, 3, 32, 32])
"""

from degrade.base import Degradation, Latent, Levels, map_latent
from degrade.check import LawError, Verdict, check
from degrade.mixture import GaussianNoise, Interpolation, Mixture, Source
from degrade.registry import get, make, names, register

__all__ = [
    "Degradation",
    "GaussianNoise",
    "Interpolation",
    "Latent",
    "LawError",
    "Levels",
    "Mixture",
    "Source",
    "Verdict",
    "check",
    "get",
    "make",
    "map_latent",
    "names",
    "register",
]
