"""Decolor: the image loses its color and keeps its brightness m.

    x_t = s_t x0 + (1 - s_t) m(x0),    m(x) = sum_c w_c x_c

The weights w are the mean over the channels or luma, the brightness that a viewer sees (ITU-R BT.601, 1982). The
saturation s_t is 1 - t / T (`linear`), factor^t (`constant`), or a list of T values; `gray_at_T` sets s_T = 0. Bansal
et al. (arXiv 2208.09392, 2022) use T = 20, the mean, and factor 0.9 for `constant`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.levels import LevelTables, per_level
from degrade.functional.luma import LUMA, luma
from degrade.functional.proximal import damped
from degrade.registry import register

__all__ = ["Decolor"]

Fraction = Annotated[float, Field(ge=0, le=1)]


@register("decolor")
class Decolor(Degradation):
    """Loss of color: the saturation s_t falls from 1 as t grows.

    z is None.

    Args:
        T: number of levels, at least 1.
        saturation: `linear` (1 - t / T), `constant` (factor^t), or a list of the T values s_1..s_T in [0, 1].
        factor: factor in [0, 1] by which the saturation falls with each level, for `constant`.
        gray_at_T: whether the saturation at T is set to 0.
        weights: the gray image: `mean` of the channels, or `luma` (3 channels only).

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
        return torch.lerp(self._gray(x0), x0, s_t)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return (s_s - s_t) (x0 - m(x0))."""
        (s_t,), (s_s,) = self.tables.gather(t, x0), self.tables.gather(s, x0)
        return (s_s - s_t) * (x0 - self._gray(x0))

    def _adjoint(self, u: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return s_t u + (1 - s_t) w sum_c u_c."""
        (s_t,) = self.tables.gather(t, u)
        return s_t * u + (1 - s_t) * self._weights(u) * u.sum(1, keepdim=True)

    def _prox(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: Tensor) -> Tensor:
        """Return the proximal map, solved for each pixel.

        A = s I + (1 - s) 1 w^T acts as s on colors orthogonal to both 1 and w. In the basis e_1 = 1 / sqrt(C), e_2
        along w - 1 / C, it is [[1, k], [0, s]] with k = (1 - s) sqrt(C) |w - 1 / C|.
        """
        (s_t,) = self.tables.gather(t, x)
        C = x.shape[1]
        w = self._weights(x) - 1 / C
        length = w.square().sum().sqrt()
        e_1, e_2 = torch.full_like(w, C**-0.5), w / torch.where(length > 0, length, 1)
        k = (1 - s_t) * C**0.5 * length
        determinant = (s_t.square() + rho) * (1 + rho) + rho * k.square()
        e = torch.cat([e_1, e_2], 1)[:, :, 0].mT  # (2, C), one basis vector in each row
        rows = [[s_t.square() + rho, -k * s_t], [rho * k, (1 + rho) * s_t]]
        inner = torch.stack([torch.cat(row, -1)[:, 0, 0] for row in rows], 1) / determinant[:, 0]
        eye = torch.eye(C, dtype=x.dtype, device=x.device)
        inverse = damped(s_t, rho)[:, 0] * (eye - e.mT @ e) + e.mT @ inner @ e  # (B, C, C)
        A = s_t[:, 0] * eye + (1 - s_t[:, 0]) * self._weights(x)[:, :, 0].mT
        kept = torch.bmm(eye - inverse @ A, x.flatten(2))
        return torch.baddbmm(kept, inverse, x_t.flatten(2)).view_as(x)

    def _weights(self, x: Tensor) -> Tensor:
        """Return w (C, 1, 1)."""
        C = x.shape[1]
        weights = LUMA if self.weights == "luma" else (1 / C,) * C
        # Filled, not copied from the host, which would wait for the device.
        return torch.stack([x.new_full((1, 1), value) for value in weights])

    def _gray(self, x0: Tensor) -> Tensor:
        if self.weights == "mean":
            return x0.mean(1, keepdim=True)
        if x0.shape[1] != 3:
            raise ValueError(f"{self.name}: x0 has {x0.shape[1]} channels; luma weighs 3: take weights='mean'")
        return luma(x0)
