"""The exponential moving average of a network's weights.

    ema <- weights                              after every step before `start`
    ema <- decay ema + (1 - decay) weights      after the steps from `start` on that `every` divides

The average is taken over a copy of the *uncompiled* network, so that it is the weights themselves that are followed.
"""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from degrade.frozen import frozen
from restore.distributed import whole

__all__ = ["EMA", "EMAConfig"]


@frozen
class EMAConfig:
    """How weights are averaged; the default is that of Cold Diffusion (about 0.9995 a step).

    Args:
        decay: weight of the past at each update, in [0, 1).
        every: steps between two updates from step `start` on.
        start: step before which the average is a copy of the weights, whatever `every` is.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    every: Annotated[int, Field(ge=1)] = 10
    start: Annotated[int, Field(ge=0)] = 2000


class EMA:
    """A copy of `net`, in evaluation mode, that follows its weights.

    >>> net = nn.Linear(1, 1)
    >>> ema = EMA(net, EMAConfig(decay=0.5, every=1, start=0))
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
        """Follow the weights as they are after optimizer step `step` (1, 2, ...)."""
        begun = step >= self.config.start
        if begun and step % self.config.every:
            return
        follow = self._average if begun else self._copy
        follow(list(self.net.parameters()), [whole(p) for p in self.source.parameters()], None)
        for mine, theirs in zip(self.net.buffers(), self.source.buffers()):
            mine.copy_(theirs)
