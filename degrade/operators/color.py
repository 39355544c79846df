"""Decolor: the image loses its color and keeps its brightness.

    x_t = s_t x0 + (1 - s_t) m(x0),    m(x) = sum_c w_c x_c

The weights w are free: the plain mean over the channels, or luma, the brightness that a viewer sees (ITU-R BT.601,
1982). So is the saturation s_t: `linear`, 1 - t / T; `constant`, factor^t; or a list of T values. `gray_at_T` sets
s_T = 0. Bansal et al. (arXiv 2208.09392, 2022) use T = 20, the plain mean, and factor 0.9 for `constant`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.levels import LevelTables, per_level
from degrade.registry import register

__all__ = ["LUMA", "Decolor", "luma"]

Fraction = Annotated[float, Field(ge=0, le=1)]

LUMA = (0.299, 0.587, 0.114)


def luma(x: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of red, green and blue (B, 3, H, W).

    >>> luma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()
    0.29899999499320984
    """
    return sum(w * x[:, c : c + 1] for c, w in enumerate(LUMA))  # type: ignore[return-value]


@register("decolor")
class Decolor(Degradation):
    """The saturation falls from 1 along `saturation`: `linear`, `constant` (by `factor` a level) or a list of T values.

    >>> D = Decolor(T=2)
    >>> x0 = torch.tensor([1.0, 0.0, -0.25]).view(1, 3, 1, 1)
    >>> [D(x0, torch.tensor([t])).flatten().tolist() for t in range(3)]
    [[1.0, 0.0, -0.25], [0.625, 0.125, 0.0], [0.25, 0.25, 0.25]]
    """

    T: NumLevels = 20
    saturation: Literal["linear", "constant"] | tuple[Fraction, ...] = "linear"
    factor: Fraction = 0.9
    gray_at_T: bool = True
    weights: Literal["mean", "luma"] = "mean"

    affine: ClassVar[bool] = True

    def precompute(self) -> LevelTables:
        """Return the table s, T + 1 entries."""
        u = torch.linspace(1, 0, self.T + 1, dtype=torch.float64)
        if self.saturation == "linear":
            s = u
        elif self.saturation == "constant":
            s = self.factor ** torch.arange(self.T + 1, dtype=torch.float64)
        else:
            s = torch.cat([u[:1], per_level("saturation", self.saturation, self.T)])
        if self.gray_at_T:
            s[-1] = 0
        return LevelTables(s)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return s_t x0 + (1 - s_t) m(x0).

        Raises:
            ValueError: for luma of images without three channels.
        """
        (s_t,) = self.tables.gather(t, x0)
        return s_t * x0 + (1 - s_t) * self._gray(x0)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (s_s - s_t) (x0 - m(x0))."""
        (s_t,), (s_s,) = self.tables.gather(t, x0), self.tables.gather(s, x0)
        return (s_s - s_t) * (x0 - self._gray(x0))

    def _gray(self, x0: Tensor) -> Tensor:
        if self.weights == "mean":
            return x0.mean(1, keepdim=True)
        if x0.shape[1] != 3:
            raise ValueError(f"{self.name}: x0 has {x0.shape[1]} channels; luma weighs 3: take weights='mean'")
        return luma(x0)
