"""Pixelation: fewer and larger pixels with every level.

    x_t = R_t(... R_1(x0)),    R_i(x) = x resized from S to S_i and back to S by nearest neighbor

Both resizings treat rows and columns alike, so R_i(x) = A x B^T with an (H, H) and a (W, W) matrix, and a level is the
product of the matrices up to it:

    x_t = P_t x0 Q_t^T

The sizes S_i are floor(S / 2^i) (`halve`), S - i + 1 (`decrement`, whose first level changes nothing), or
round(S fraction_i) for a list of T fractions. The first resizing uses a bicubic, bilinear or area filter; bicubic and
bilinear are not widened against aliasing. Bansal et al. (arXiv 2208.09392, 2022) use bicubic halving with T = 3 for
MNIST and CIFAR-10, T = 4 for CelebA (the default) and T = 6 to generate faces.

Where halving leaves no remainder, every level after the first takes the mean of four large pixels. The small images of
all levels together then cost 4 / 3 of the first, and x_t is made from them by enlarging twofold, from the smallest on;
the adjoint and the proximal map work on small images, too (`degrade.functional.halving`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.halving import Halving, twofold
from degrade.functional.levels import LevelTables, SizedLevelTables, per_level
from degrade.functional.proximal import damped
from degrade.registry import register

__all__ = ["Pixelate"]

LEAST_HALVED = 64  # pixels of the shorter side from which small images are faster than products with matrices


@register("pixelate")
class Pixelate(Degradation):
    """Pixelation: fewer and larger pixels with every level.

    z is None.

    Args:
        T: number of levels, at least 1.
        sizes: side of the image in large pixels at level t, for a side of S pixels: `halve` (S / 2^t), `decrement`
            (S - t + 1), or a list of T fractions of S in (0, 1].
        filter: filter that makes the image smaller: `bicubic`, `bilinear` or `area`.
        allow_uneven: whether `halve` rounds down; otherwise the sides of an image must be multiples of 2^T.

    >>> D = Pixelate(T=2, filter="area")
    >>> x0 = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    >>> [D(x0, torch.tensor([t]))[0, 0, 0].tolist() for t in range(3)]
    [[0.0, 1.0, 2.0, 3.0], [0.5, 0.5, 2.5, 2.5], [1.5, 1.5, 1.5, 1.5]]
    """

    T: NumLevels = 4
    sizes: Literal["halve", "decrement"] | tuple[Annotated[float, Field(gt=0, le=1)], ...] = "halve"
    filter: Literal["bicubic", "bilinear", "area"] = "bicubic"
    allow_uneven: bool = False

    affine: ClassVar[bool] = True
    factors: ClassVar[SizedLevelTables]
    halving: ClassVar[Halving]

    @property
    def size_divisor(self) -> int:
        """2^T for halving without rounding, else 1."""
        return 2**self.T if self._exact else 1

    @property
    def position_dependent(self) -> bool:  # type: ignore[override]
        """Whether the grids of the levels fit the image only at its own size, as all but exact halving do."""
        return not self._exact

    @property
    def _exact(self) -> bool:
        return self.sizes == "halve" and not self.allow_uneven

    def precompute(self) -> SizedLevelTables:
        """Return the matrices P (T + 1, H, H) and Q (T + 1, W, W) for each size of image."""
        if isinstance(self.sizes, tuple):
            per_level("sizes", self.sizes, self.T)
        object.__setattr__(self, "factors", SizedLevelTables(self._factors_at_size))  # only `prox` needs these
        object.__setattr__(self, "halving", Halving(self.T, self.filter))
        return SizedLevelTables(self._at_size)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return P_t x0 Q_t^T.

        Raises:
            ValueError: if the image is too small for T levels, or its size does not divide.
        """
        if self._by_halves(x0):
            half = self.halving.half(self._small_images(x0), t)
            return torch.where(t.view(-1, 1, 1, 1) > 0, twofold(half), x0)
        P_t, Q_t = self.tables.gather(t, x0)
        return torch.einsum("bij,bcjk,blk->bcil", P_t, x0, Q_t)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return the difference of two levels, which share their small images; of matrices, two products."""
        if not self._by_halves(x0):
            return super()._difference(x0, t, s, z)
        small = self._small_images(x0)
        clean_s, clean_t = ((level == 0).view(-1, 1, 1, 1).to(x0) for level in (s, t))
        half = (1 - clean_s) * self.halving.half(small, s) - (1 - clean_t) * self.halving.half(small, t)
        return torch.addcmul(twofold(half), clean_s - clean_t, x0)

    def _by_halves(self, x0: Tensor) -> bool:
        """Return whether the levels are halved exactly and the images large enough to make that the faster way."""
        return self._exact and min(x0.shape[2:]) >= LEAST_HALVED

    def _small_images(self, x0: Tensor) -> list[Tensor]:
        """Return the images (B, C, H / 2^t, W / 2^t) of levels t = 1..T, one number per large pixel."""
        self._need_room(*x0.shape[2:])
        return self.halving.small(x0)

    def _adjoint(self, u: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return P_t^T u Q_t."""
        if self._by_halves(u):
            self._need_room(*u.shape[2:])
            return self.halving.adjoint(u, t)
        P_t, Q_t = self.tables.gather(t, u)
        return torch.einsum("bji,bcjk,bkl->bcil", P_t, u, Q_t)

    def _prox(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: Tensor) -> Tensor:
        """Return the proximal map, a division between waves of small images or singular vectors of both axes."""
        if self._by_halves(x):
            self._need_room(*x.shape[2:])
            return self.halving.prox(x, x_t, t, rho)
        residual = x_t - self.apply(x, t, z)
        U_h, g_h, V_h, U_w, g_w, V_w = self.factors.gather(t, x)
        gain = (g_h[:, :, None] * g_w[:, None, :])[:, None]
        r = torch.einsum("bji,bcjk,bkl->bcil", U_h, residual, U_w)
        return x + torch.einsum("bij,bcjk,blk->bcil", V_h, damped(gain, rho) * r, V_w)

    def grid_size(self, N: int, t: int) -> int:
        """Return the number of large pixels along N small ones at level t >= 1."""
        if self.sizes == "halve":
            return N >> t
        if self.sizes == "decrement":
            return N - t + 1
        return max(1, round(N * self.sizes[t - 1]))

    def _at_size(self, height: int, width: int, dtype: torch.dtype) -> LevelTables:
        self._need_room(height, width)
        return LevelTables(self._matrices(height, dtype), self._matrices(width, dtype))

    def _factors_at_size(self, height: int, width: int, dtype: torch.dtype) -> LevelTables:
        """Return U, a, V of the singular value decompositions P = U diag(a) V^T and of those of Q."""
        factors = []
        for N in (height, width):
            U, a, Vt = torch.linalg.svd(self._matrices(N, dtype))
            lost = a < N * torch.finfo(a.dtype).eps  # rounding errors of 0; the largest is about 1
            factors += [U, a.masked_fill(lost, 0), Vt.mT.contiguous()]
        return LevelTables(*factors)

    def _matrices(self, N: int, dtype: torch.dtype) -> Tensor:
        """Return the products (T + 1, N, N); steps have the rounding of `interpolate` on images of this precision."""
        P = [torch.eye(N, dtype=torch.float64)]
        for t in range(1, self.T + 1):
            small = interpolate(torch.eye(N, dtype=dtype)[None, None], (self.grid_size(N, t), N), mode=self.filter)
            R = interpolate(small, (N, N), mode="nearest-exact")[0, 0]
            P.append(R.double() @ P[-1])
        return torch.stack(P)

    def _need_room(self, height: int, width: int) -> None:
        """Raise where an image is too small for T levels or does not divide."""
        sides = (height, width)
        who = f"{self.name}: x0 is {height} x {width}"
        if self.sizes == "halve":
            most = min(N.bit_length() for N in sides) - 1
            even = min((N & -N).bit_length() for N in sides) - 1
            if even < self.T <= most and not self.allow_uneven:
                fewer = f", take T <= {even}" if even else ""
                raise ValueError(f"{who}, which 2^{self.T} does not divide: resize x0{fewer} or allow_uneven=True")
        else:
            most = min(sides) if self.sizes == "decrement" else self.T
        if most < self.T:
            fewer = f"take T <= {most}" if most else "resize x0"
            raise ValueError(f"{who}, too small to {self.sizes} for T = {self.T} levels: {fewer}")
