"""Images that are halved again and again, and enlarged to their size; with the adjoint and the proximal map of that.

The large pixels of level t, each of 2^t x 2^t pixels, are G_t x, with G_t = M ... M F: F halves an image by its filter,
every M takes the mean of 2 x 2 large pixels. E_t enlarges them, and E_t^T E_t = 4^t, so for A = E_t G_t

    A^T u = G_t^T E_t^T u                               E_t^T u = 4^t (means of u over large pixels)
    prox  = x + G_t^T (K_t + rho / 4^t)^-1 (means of x_t - G_t x),    K_t = G_t G_t^T

In all of these, only small images are worked on: those of all levels together have a third of the pixels of x, so a
batch may mix levels. `bilinear` and `area` halving take means, and K_t = 4^-t. Bicubic halving has the taps
(f, n, n, f) = (-0.09375, 0.59375, 0.59375, -0.09375), with end pixels repeated beyond the borders. The rows of F
overlap their neighbors in two taps, so along an axis K_1 has d = 2 (n^2 + f^2) on the diagonal, o = 2 n f beside it,
and d + o at both ends: its eigenvectors are the waves of `symmetric` borders, the cosines of DCT-II. With m = 2^(t-1)
the means keep that form, and the eigenvalue of the wave of frequency w is

    k_t(w) = (m d + 2 (m - 1) o + 2 o cos w) / m^2
"""

from __future__ import annotations

import operator

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from degrade.functional.levels import LevelTables, SizedLevelTables
from degrade.functional.wave_transform import wave_transform
from degrade.params import expand_level

__all__ = ["Halving", "twofold"]

NEAR, FAR = 0.59375, -0.09375  # the taps of a bicubic filter half way between two pixels


class Halving:
    """Halving up to T times, by one filter the first time; see the module.

    Args:
        T: number of levels; the sides of images are multiples of 2^T.
        filter: `bicubic`, `bilinear` or `area`.
    """

    def __init__(self, T: int, filter: str) -> None:
        self.T, self.filter = T, filter
        self.waves = SizedLevelTables(self._at_size)

    def small(self, x: Tensor) -> list[Tensor]:
        """Return G_t x (B, C, H / 2^t, W / 2^t) for t = 1..T, one number per large pixel."""
        height, width = x.shape[2:]
        return self._coarser(interpolate(x, (height // 2, width // 2), mode=self.filter))

    def half(self, small: list[Tensor], t: Tensor) -> Tensor:
        """Return the images of levels t (B,) in the size of level 1, from those of all levels; of level 1 for t = 0."""
        *larger, x = small
        for level in range(len(larger), 0, -1):
            x = torch.where(t.view(-1, 1, 1, 1) > level, twofold(x), larger[level - 1])
        return x

    def adjoint(self, u: Tensor, t: Tensor) -> Tensor:
        """Return A^T u (B, C, H, W) at levels t (B,); u itself where t = 0."""
        half = 4 * self.half(self._means(u), t)
        return torch.where(t.view(-1, 1, 1, 1) > 0, self._transposed(half), u)

    def prox(self, x: Tensor, x_t: Tensor, t: Tensor, rho: Tensor) -> Tensor:
        """Return the proximal map (B, C, H, W) at levels t (B,) for rho (B, 1, 1, 1)."""
        missed = [mean - small for mean, small in zip(self._means(x_t), self.small(x))]
        # G_t^T = F^T (M^T)^(t-1), where M^T enlarges twofold and divides by 4.
        if self.filter == "bicubic":
            missed = [self._solved(r, level, rho) / 4 ** (level - 1) for level, r in enumerate(missed, 1)]
        else:
            missed = [4 / (1 + rho) * r for r in missed]
        clean = (t == 0).view(-1, 1, 1, 1).to(x)  # A is the identity there
        step = self._transposed((1 - clean) * self.half(missed, t))
        return torch.lerp(x, x_t, clean / (1 + rho)) + step

    def _means(self, x: Tensor) -> list[Tensor]:
        """Return the means of x over the large pixels of the levels 1..T."""
        return self._coarser(avg_pool2d(x, 2))

    def _coarser(self, first: Tensor) -> list[Tensor]:
        small = [first]
        while len(small) < self.T:
            small.append(avg_pool2d(small[-1], 2))
        return small

    def _transposed(self, v: Tensor) -> Tensor:
        """Return F^T v, of twice the size of v."""
        if self.filter != "bicubic":
            return twofold(v) / 4
        for dim in (3, 2):
            N = v.shape[dim]
            before = torch.cat([v.narrow(dim, 0, 1), v.narrow(dim, 0, N - 1)], dim)
            after = torch.cat([v.narrow(dim, 1, N - 1), v.narrow(dim, N - 1, 1)], dim)
            v = torch.stack([NEAR * v + FAR * before, NEAR * v + FAR * after], dim + 1).flatten(dim, dim + 1)
        return v

    def _solved(self, r: Tensor, level: int, rho: Tensor) -> Tensor:
        """Return (K_t + rho / 4^t)^-1 r for t = `level`."""
        transform = wave_transform("symmetric", *map(operator.index, r.shape[-2:]))
        k_h, k_w = self.waves.gather(expand_level(level, r[:1]), r)
        constants = self.waves.constants(r)
        c = transform.forward(r, constants) / (transform.gains(k_h, k_w) + rho / 4**level)
        return transform.back(c, constants)

    def _at_size(self, height: int, width: int, dtype: torch.dtype) -> LevelTables:
        """Return k_t (T + 1, N) for both axes of small images, and the constants of their transform."""
        transform = wave_transform("symmetric", height, width)
        m = 2.0 ** (torch.arange(self.T + 1, dtype=torch.float64)[:, None] - 1)  # row 0 is not used
        d, o = 2 * (NEAR**2 + FAR**2), 2 * NEAR * FAR
        k = ((m * d + 2 * (m - 1) * o + 2 * o * torch.cos(w)) / m**2 for w in transform.frequencies())
        return LevelTables(*k, constants=transform.constants())


def twofold(x: Tensor) -> Tensor:
    """Return images of twice the size, by nearest neighbor."""
    return interpolate(x, scale_factor=2.0)
