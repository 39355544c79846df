"""Counting the calls of a restorer, the cost of a trajectory (nfe)."""

from __future__ import annotations

from torch import Tensor

from restore import BaseRestorer
from restore.base_restorer import WrappedRestorer

__all__ = ["CountCalls"]


class CountCalls(WrappedRestorer):
    """A restorer that counts how often it is called."""

    def __init__(self, R: BaseRestorer) -> None:
        super().__init__(R)
        self.calls = 0

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return R(x_t, t)."""
        self.calls += 1
        x0_hat: Tensor = self.R(x_t, t, **cond)
        return x0_hat
