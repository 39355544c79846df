"""The exponential moving average of a network's weights.

    ema <- weights                              after every step before `update_after`
    ema <- decay ema + (1 - decay) weights      after the steps from `update_after` on that `update_every` divides

The average belongs to a copy of the *uncompiled* network, whose parameters have the names and order of the weights.
"""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from degrade.frozen import frozen
from restore.distributed import full_tensor

__all__ = ["EMA", "EMAConfig"]


@frozen
class EMAConfig:
    """How weights are averaged; the default is that of Cold Diffusion (about 0.9995 per step).

    Args:
        decay: weight of the old average in each update, in [0, 1).
        update_every: number of steps from one update to the next, from step `update_after` on.
        update_after: number of the step from which on weights are averaged; before it the average is a copy of the
            weights, whatever `update_every` is.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    update_every: Annotated[int, Field(ge=1)] = 10
    update_after: Annotated[int, Field(ge=0)] = 2000


class EMA:
    """A copy of a network, in evaluation mode, whose weights are the average.

    Args:
        net: the network in training; a module that `torch.compile` returned stands for the one inside.
        config: settings of the average.

    >>> net = nn.Linear(1, 1)
    >>> ema = EMA(net, EMAConfig(decay=0.5, update_every=1, update_after=0))
    >>> _ = nn.init.constant_(ema.net.weight, 0), nn.init.constant_(net.weight, 1)
    >>> ema.update(1)
    >>> ema.net.weight.item()
    0.5
    """

    def __init__(self, net: nn.Module, config: EMAConfig) -> None:
        self.config = config
        self.source = getattr(net, "_orig_mod", net)
        self.net: nn.Module = copy.deepcopy(self.source).eval().requires_grad_(False)
        # Each is one operation on the lists of all tensors; with decay 0 it copies.
        self._average, self._copy = (get_ema_multi_avg_fn(decay) for decay in (config.decay, 0.0))  # type: ignore

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after optimizer step `step` (1, 2, ...)."""
        begun = step >= self.config.update_after
        if begun and step % self.config.update_every:
            return
        follow = self._average if begun else self._copy
        follow(list(self.net.parameters()), [full_tensor(p) for p in self.source.parameters()], None)
        for mine, theirs in zip(self.net.buffers(), self.source.buffers()):
            mine.copy_(theirs)
