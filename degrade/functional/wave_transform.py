"""Into the waves of a boundary rule and back, each size in its cheapest way.

A symmetric filter multiplies every wave of its boundary rule (`degrade.functional.boundary`) by a gain. With c the
amplitudes of an image in the waves of both axes and g_h, g_w the gains,

    y = back(gains(g_h, g_w) c),    c = forward(x)

and any function of the gains, a difference or an inverse, costs the same. There are four ways:

* `Dense`    products with the matrices of the waves, for any rule. A filter of separate gains is cheaper as a product
             with A = U diag(g) U^-1 for each axis than with U^-1 and then with U, since A serves all channels.
* `Folded`   the same with half the operations: each wave is even or odd about the middle of the axis, so that the
             even part of an image needs the even waves only, in two products of half the size
* `Fourier`  the fast Fourier transform, for `circular`
* `Cosine`   the fast cosine transform (DCT-II), for `symmetric`: an FFT of the same length of the row
             v = (x_0, x_2, ..., x_3, x_1) (Makhoul, "A fast cosine transform in one and two dimensions", 1980),

                 p_k V_k = C_k - i C_{N-k},    p_k = exp(-i pi k / (2 N)),    C_N = 0,    k = 0, ..., N // 2

             so that the real and imaginary parts are the amplitudes, and the way back divides by p and inverts the FFT.

Processor time in milliseconds of one filter, and in brackets of a difference of two, in float32 with three channels on
one thread (AVX-512, other programs running):

| images      | `Dense`   | `Folded`  | `Fourier` | `Cosine`  |
|-------------|-----------|-----------|-----------|-----------|
| 32 of 32    | 0.4 (0.5) | 0.7 (0.7) | 0.5 (0.5) | 0.9 (0.8) |
| 16 of 64    | 1.4 (1.8) | 1.1 (1.5) | 1.5 (1.4) | 1.7 (1.6) |
| 32 of 128   | 16 (25)   | 16 (22)   | 10 (9)    | 20 (21)   |
| 4 of 256    | 12 (20)   | 9 (15)    | 5 (5)     | 7 (7)     |
| 2 of 512    | 44 (73)   | 28 (46)   | 12 (12)   | 17 (17)   |
| 1 of 1,024  | 178 (297) | 92 (166)  | 28 (27)   | 46 (46)   |

A length with a prime factor above 13 makes the FFT about six times slower. Under `reflect` the period is 2 (N - 1),
which mostly has one (2 * 127, 2 * 7 * 73); for short filters see `degrade.functional.padded_transform`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fft import irfft, irfft2, rfft, rfft2

from degrade.functional.boundary import PaddingMode, boundary_basis, boundary_weights

__all__ = ["Cosine", "Dense", "Folded", "Fourier", "WaveTransform", "orthonormal_waves", "wave_transform"]

# Pixels of the shorter side from which a way is the cheaper one.
LEAST_FOURIER, LEAST_FOLDED, LEAST_COSINE = 64, 128, 256
LEAST_SPLIT = 512**2  # pixels of an image whose channels are transformed one by one


class WaveTransform:
    """The transform of images of one size; see the module. A subclass defines `forward`, `back`, `gains`, and more.

    Args:
        height: height of the images in pixels.
        width: width of the images in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def frequencies(self) -> tuple[Tensor, Tensor]:
        """Return the frequencies (N,) of the waves of the height and of the width, in radians per pixel, 0 first."""
        raise NotImplementedError

    def constants(self) -> tuple[Tensor, ...]:
        """Return the real constants in float64 that the other methods need, in their precision and on their device."""
        return ()

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the amplitudes c of the images x (B, C, H, W), four-dimensional, in an order of their own."""
        raise NotImplementedError

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the images (B, C, H, W) of the amplitudes c."""
        raise NotImplementedError

    def gains(self, g_h: Tensor, g_w: Tensor) -> Tensor:
        """Return the gains of c (B, 1, ...) from those of the height (B, H) and of the width (B, W), g_h g_w^T."""
        return (g_h[:, :, None] * g_w[:, None, :])[:, None]

    def filtered(self, x: Tensor, g_h: Tensor, g_w: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return back(gains(g_h, g_w) forward(x))."""
        return self.multiplied(x, self.gains(g_h, g_w), constants)

    def multiplied(self, x: Tensor, gain: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return back(gain forward(x)), of large images channel by channel, as a processor's cache holds one only."""
        parts = x.chunk(x.shape[1], 1) if self.height * self.width >= LEAST_SPLIT else (x,)
        return torch.cat([self.back(gain * self.forward(part, constants), constants) for part in parts], 1)


class Fourier(WaveTransform):
    """The waves of `circular` borders: the fast Fourier transform of real images."""

    def frequencies(self) -> tuple[Tensor, Tensor]:
        """Return 2 pi |k| / N in the order of the FFT."""
        w_h, w_w = (2 * math.pi * torch.fft.fftfreq(N, dtype=torch.float64).abs() for N in (self.height, self.width))
        return w_h, w_w

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the complex amplitudes (B, C, H, W // 2 + 1)."""
        c: Tensor = rfft2(x)
        return c

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the images (B, C, H, W)."""
        x: Tensor = irfft2(c, s=(self.height, self.width))
        return x

    def gains(self, g_h: Tensor, g_w: Tensor) -> Tensor:
        """Return g_h g_w^T (B, 1, H, W // 2 + 1)."""
        return super().gains(g_h, g_w[:, : self.width // 2 + 1])


class Cosine(WaveTransform):
    """The waves of `symmetric` borders, by the fast Fourier transform."""

    def frequencies(self) -> tuple[Tensor, Tensor]:
        """Return pi k / N and pi (N - k) / N in turn, (2 (N // 2 + 1),)."""
        w_h, w_w = (math.pi / N * torch.stack([k, N - k], 1).flatten() for N, k in self._indices())
        return w_h, w_w

    def constants(self) -> tuple[Tensor, ...]:
        """Return p of the height and of the width, (N // 2 + 1, 2), real and imaginary parts."""
        turns = (math.pi / (2 * N) * k for N, k in self._indices())
        return tuple(torch.stack([torch.cos(turn), -torch.sin(turn)], 1) for turn in turns)

    def _indices(self) -> Iterator[tuple[int, Tensor]]:
        for N in (self.height, self.width):
            yield N, torch.arange(N // 2 + 1, dtype=torch.float64)

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return C_k and -C_{N-k} in turn of both axes, the width first, (B, C, 2 (W // 2 + 1), 2 (H // 2 + 1))."""
        for p in reversed(constants):  # always along the last axis, which lies together in memory
            v = torch.cat([x[..., ::2], x[..., 1::2].flip(3)], 3)
            x = torch.view_as_real(torch.view_as_complex(p) * rfft(v)).flatten(3).mT
        return x.mT

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the images (B, C, H, W)."""
        for p, N, dim in zip(constants, (self.height, self.width), (2, 3)):
            V = torch.view_as_complex(p).conj() * torch.view_as_complex(c.contiguous().view(*c.shape[:3], -1, 2))
            v = irfft(V, n=N)
            c = _shuffled(v.mT if dim == 2 else v, dim)
        return c

    def gains(self, g_h: Tensor, g_w: Tensor) -> Tensor:
        """Return g_w g_h^T."""
        return super().gains(g_w, g_h)


class Dense(WaveTransform):
    """The waves of any boundary rule, by products with their matrices; see `orthonormal_waves`."""

    def __init__(self, padding_mode: PaddingMode, height: int, width: int) -> None:
        super().__init__(height, width)
        self.padding_mode: PaddingMode = padding_mode

    def frequencies(self) -> tuple[Tensor, Tensor]:
        """Return those of the boundary rule, of the even waves first."""
        w_h, w_w = (_even_first(boundary_basis(self.padding_mode, N)[0]) for N in (self.height, self.width))
        return w_h, w_w

    def constants(self) -> tuple[Tensor, ...]:
        """Return U and U^-1 of the height and of the width."""
        waves = (orthonormal_waves(self.padding_mode, N) for N in (self.height, self.width))
        return tuple(matrix for U, W in waves for matrix in (U, (W[:, None] * U).mT))

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return U_h^-1 x U_w^-T (B, C, H, W)."""
        return constants[1] @ x @ constants[3].mT

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return U_h c U_w^T."""
        return constants[0] @ c @ constants[2].mT

    def filtered(self, x: Tensor, g_h: Tensor, g_w: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return A x B^T with A = U_h diag(g_h) U_h^-1 and likewise B."""
        U_h, inverse_h, U_w, inverse_w = constants[:4]
        A = U_h * g_h[:, None, :] @ inverse_h
        B = A if self.height == self.width else U_w * g_w[:, None, :] @ inverse_w
        return torch.einsum("bij,bcjk,blk->bcil", A, x, B)


class Folded(Dense):
    """The waves of any boundary rule, by products with matrices of half the size."""

    def constants(self) -> tuple[Tensor, ...]:
        """Return U and U^-1 of the even and of the odd waves of the height, on the first half, then of the width."""
        return (*self._halves(self.height), *self._halves(self.width))

    def _halves(self, N: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        U, W = orthonormal_waves(self.padding_mode, N)
        half = N - N // 2
        even, odd = U[:half, :half], U[: N - half, half:]
        return even, (W[:half, None] * even).mT, odd, (W[: N - half, None] * odd).mT

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return U_h^-1 x U_w^-T (B, C, H, W)."""
        _, even_h, _, odd_h, _, even_w, _, odd_w = constants[:8]
        even, odd = _fold(x, 2)
        x = torch.cat([even_h @ even, odd_h @ odd], 2)
        even, odd = _fold(x, 3)
        return torch.cat([even @ even_w.mT, odd @ odd_w.mT], 3)

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return U_h c U_w^T."""
        even_h, _, odd_h, _, even_w, _, odd_w, _ = constants[:8]
        half_h, half_w = self.height - self.height // 2, self.width - self.width // 2
        c = _unfold(c[..., :half_w] @ even_w.mT, c[..., half_w:] @ odd_w.mT, 3)
        return _unfold(even_h @ c[:, :, :half_h], odd_h @ c[:, :, half_h:], 2)

    def filtered(self, x: Tensor, g_h: Tensor, g_w: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return A x B^T, the even and the odd parts of both axes apart."""
        square = self.height == self.width
        even_h, odd_h = _matrices(g_h, constants[:4])
        even_w, odd_w = (even_h, odd_h) if square else _matrices(g_w, constants[4:8])
        even, odd = _fold(x, 2)
        x = _unfold(even_h @ even, odd_h @ odd, 2)
        even, odd = _fold(x, 3)
        return _unfold(even @ even_w.mT, odd @ odd_w.mT, 3)


def orthonormal_waves(padding_mode: PaddingMode, N: int) -> tuple[Tensor, Tensor]:
    """Return waves U (N, N), the even ones first, and weights W (N,) of the pixels with U^T W U = I: U^-1 = U^T W."""
    V, W = _even_first(boundary_basis(padding_mode, N)[1]), boundary_weights(padding_mode, N)
    return V * (W[:, None] * V.square()).sum(0).rsqrt(), W


def wave_transform(padding_mode: PaddingMode, height: int, width: int) -> WaveTransform:
    """Return the cheapest transform of images of this size; see the module.

    >>> [type(wave_transform("circular", N, N)).__name__ for N in (32, 178, 180)]
    ['Dense', 'Folded', 'Fourier']
    """
    side = min(height, width)
    if has_small_factors(height) and has_small_factors(width):
        if padding_mode == "circular" and side >= LEAST_FOURIER:
            return Fourier(height, width)
        if padding_mode == "symmetric" and side >= LEAST_COSINE:
            return Cosine(height, width)
    return (Folded if side >= LEAST_FOLDED else Dense)(padding_mode, height, width)


def has_small_factors(N: int, primes: tuple[int, ...] = (2, 3, 5, 7, 11, 13)) -> bool:
    """Return whether N is a product of powers of the primes.

    >>> has_small_factors(1024), has_small_factors(1022)
    (True, False)
    """
    for p in primes:
        while N % p == 0:
            N //= p
    return N == 1


def _shuffled(v: Tensor, dim: int) -> Tensor:
    """Return (v_0, v_{N-1}, v_1, v_{N-2}, ...) along an axis."""
    N = v.shape[dim]
    first, last = v.narrow(dim, 0, N // 2), v.narrow(dim, N - N // 2, N // 2).flip(dim)
    pairs = torch.stack([first, last], dim + 1).flatten(dim, dim + 1)
    return torch.cat([pairs, v.narrow(dim, N // 2, 1)], dim) if N % 2 else pairs


def _even_first(waves: Tensor) -> Tensor:
    """Return the waves (..., N) of a basis, which are even and odd in turn, the even ones first."""
    return torch.cat([waves[..., ::2], waves[..., 1::2]], -1)


def _fold(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the sum and the difference of the first half of an axis and the mirrored last half; the middle is even."""
    N = x.shape[dim]
    first, last = x.narrow(dim, 0, N // 2), x.narrow(dim, N - N // 2, N // 2).flip(dim)
    even = first + last
    return torch.cat([even, x.narrow(dim, N // 2, 1)], dim) if N % 2 else even, first - last


def _unfold(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Return the axis whose first half is the sum, and whose mirrored last half is the difference."""
    n = odd.shape[dim]
    if even.shape[dim] == n:
        return torch.cat([even + odd, (even - odd).flip(dim)], dim)
    middle, even = even.narrow(dim, n, 1), even.narrow(dim, 0, n)
    return torch.cat([even + odd, middle, (even - odd).flip(dim)], dim)


def _matrices(g: Tensor, constants: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return U diag(g) U^-1 (B, 1, N / 2, N / 2) of the even and of the odd waves."""
    even, even_inverse, odd, odd_inverse = constants
    half = len(even)
    A_even = even * g[:, None, :half] @ even_inverse
    return A_even[:, None], (odd * g[:, None, half:] @ odd_inverse)[:, None]
