"""Short filters of large images under mirrored borders: the Fourier transform of images continued to a smooth size.

A filter whose taps h_d vanish beyond d = r needs r pixels of the continued image on each side. It is then a circular
convolution of any length L >= N + 2 r, and L is taken as a product of powers of 2, 3 and 5, while the transform of the
borders themselves has the length 2 (N - 1) under `reflect`, which is mostly a slow one, and N under `symmetric`, which
is slow for some images, and needs more passes over the image. Taps below a quarter of the rounding error count as 0,
in float64 those below all of it. Only filters and their differences are computed in this way, and no inverses, which
are long.

Processor time in milliseconds as in `degrade.functional.wave_transform`, with `Dense` and `Folded` in the same run, of
a filter under `reflect`, and in brackets of a difference of two:

| images     | `Dense`   | `Folded` | r = 25  | 54      | 112     | 150     |
|------------|-----------|----------|---------|---------|---------|---------|
| 4 of 256   | 12        | 9 (15)   | 8 (8)   | 12 (12) | -       | -       |
| 2 of 512   | 44        | 27 (46)  | 15 (14) | 19 (19) | 30 (30) | 39 (39) |
| 1 of 1,024 | 178       | 92 (166) | 30 (30) | 37 (35) | 51 (47) | 63 (57) |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from degrade.functional.boundary import PaddingMode
from degrade.functional.wave_transform import Cosine, Fourier, WaveTransform, has_small_factors

__all__ = ["Padded", "padded_lengths"]

LEAST_SIDE = 256  # pixels of the shorter side from which this way is the cheaper one
# Pixels of the continued image up to which it is, as a multiple of those of the image: than `Folded`, than `Cosine`.
MOST_PIXELS, MOST_PIXELS_OF_COSINE = 1.75, 1.35


class Padded(Fourier):
    """The Fourier transform of images continued by reflection.

    Args:
        padding_mode: `reflect` (a b c b a) or `symmetric` (a b c c b a).
        height: height of the images in pixels.
        width: width of the images in pixels.
        lengths: height and width of the continued images, the images being in the middle; less than twice theirs.
    """

    def __init__(self, padding_mode: PaddingMode, height: int, width: int, lengths: tuple[int, int]) -> None:
        super().__init__(*lengths)
        self.unrepeated = 1 if padding_mode == "reflect" else 0  # pixels at each end that the mirror image leaves out
        self.sides = (height, width)
        self.before = [(L - N) // 2 for L, N in zip(lengths, self.sides)]

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the complex amplitudes of the continued images."""
        for dim, L, N, before in zip((2, 3), (self.height, self.width), self.sides, self.before):
            after = L - N - before
            # torch.nn.functional.pad has no deterministic gradient on CUDA.
            first, last = x.narrow(dim, self.unrepeated, before), x.narrow(dim, N - self.unrepeated - after, after)
            x = torch.cat([first.flip(dim), x, last.flip(dim)], dim)
        return super().forward(x, constants)

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the images (B, C, H, W), without what continues them."""
        (top, left), (height, width) = self.before, self.sides
        return super().back(c, constants)[:, :, top : top + height, left : left + width]


def padded_lengths(
    transform: WaveTransform, response: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> tuple[int, int] | None:
    """Return the lengths of `Padded` for some filters, or None where the transform of the borders is cheaper.

    Args:
        transform: the transform of the borders.
        response: from frequencies (N,) in radians per pixel to the gains (..., N) of the filters.
        dtype: precision of the images.

    >>> from degrade.functional.wave_transform import wave_transform
    >>> transform = wave_transform("reflect", 1024, 1000)
    >>> padded_lengths(transform, lambda w: torch.exp(-4 * w**2), torch.float32)
    (1080, 1080)
    """
    height, width = transform.height, transform.width
    most = MOST_PIXELS_OF_COSINE if isinstance(transform, Cosine) else MOST_PIXELS
    if min(height, width) < LEAST_SIDE:
        return None
    # The taps carry the rounding of their own transform. It is least for lengths with small factors, and must not count
    # as reach: how large it is depends on the processor.
    period = _fast_length(4 * max(height, width))
    least = max(torch.finfo(dtype).eps / 4, torch.finfo(torch.float64).eps)
    w = 2 * math.pi / period * torch.arange(period // 2 + 1, dtype=torch.float64)
    taps = torch.fft.irfft(response(w))[..., : period // 2].abs()
    reach = int((taps > least).nonzero()[:, -1].max())
    rows, columns = (_fast_length(N + 2 * reach) for N in (height, width))
    return (rows, columns) if rows * columns <= most * height * width else None


def _fast_length(least: int) -> int:
    """Return the least multiple of 8 from `least` on with the prime factors 2, 3 and 5 only."""
    return next(L for L in count(-(-least // 8) * 8, 8) if has_small_factors(L, (2, 3, 5)))
