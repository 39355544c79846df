"""Degradations: how a clean image is degraded to severity t.

A degradation D(x0, t, z) takes images x0 (B, C, H, W) in [-1, 1] and severities t (B,) in 0..T, with everything
random in z; `degrade.base` states the contract and its laws. It is made by name and written as one small class:

>>> import torch, degrade
>>> D = degrade.make("gaussian_noise", T=100)
>>> x0 = torch.zeros(4, 3, 32, 32)
>>> z = D.draw(x0, torch.Generator().manual_seed(0))
>>> D(x0, torch.tensor([0, 1, 50, 100]), z).shape
torch.Size([4, 3, 32, 32])
"""

from degrade.lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
