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

                 C_k = Re(p_k V_k),    V_k = conj(p_k) (C_k - i C_{N-k}),    p_k = exp(-i pi k / (2 N)),    C_N = 0

             One complex number p_k V_k of the width holds C_k and -C_{W-k}, so a transform of both axes is one FFT of
             real images; over the height, C_k = (p_k V_k + conj(p_k) V_{-k}) / 2 for complex columns.

Processor time in milliseconds of one filter, and in brackets of a difference of two, in float32 with three channels on
one thread (AVX-512, other programs running):

| images      | `Dense`   | `Folded`  | `Fourier` | `Cosine`  |
|-------------|-----------|-----------|-----------|-----------|
| 32 of 32    | 0.4 (0.5) | 0.7 (0.7) | 0.5 (0.5) | 0.7       |
| 16 of 64    | 1.4 (1.8) | 1.1 (1.5) | 1.5 (1.4) | 1.5       |
| 32 of 128   | 16 (25)   | 16 (22)   | 10 (9)    | 17        |
| 4 of 256    | 13 (21)   | 10 (16)   | 5 (5)     | 12 (12)   |
| 2 of 512    | 44 (74)   | 30 (47)   | 11        | 20        |
| 1 of 1,024  | 174 (297) | 108 (166) | 46 (37)   | 110 (68)  |

A length with a prime factor above 13 makes the FFT about six times slower. Under `reflect` the period is 2 (N - 1),
which mostly has one (2 * 127, 2 * 7 * 73), and an FFT of a longer, padded row took as long as `Dense`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fft import irfft2, rfft2

from degrade.functional.boundary import PaddingMode, boundary_basis, boundary_weights

__all__ = ["Cosine", "Dense", "Folded", "Fourier", "WaveTransform", "orthonormal_waves", "wave_transform"]

# Pixels of the shorter side from which a way is the cheaper one.
LEAST_FOURIER, LEAST_FOLDED, LEAST_COSINE = 64, 128, 256


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
        return self.back(self.gains(g_h, g_w) * self.forward(x, constants), constants)


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
        """Return pi k / N."""
        w_h, w_w = (math.pi / N * torch.arange(N, dtype=torch.float64) for N in (self.height, self.width))
        return w_h, w_w

    def constants(self) -> tuple[Tensor, ...]:
        """Return p_h p_w and conj(p_h) p_w, (H, W // 2 + 1, 2), real and imaginary parts."""
        turn_h, turn_w = (w / 2 for w in self.frequencies())
        turns = (sign * turn_h[:, None] + turn_w[: self.width // 2 + 1] for sign in (1, -1))
        return tuple(torch.stack([torch.cos(turn), -torch.sin(turn)], -1) for turn in turns)

    def forward(self, x: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return C_k and -C_{W-k} in turn, (B, C, H, 2 (W // 2 + 1))."""
        p, q = map(torch.view_as_complex, constants)
        for dim in (2, 3):
            odd = x.narrow(dim, 1, x.shape[dim] - 1)
            x = torch.cat([_every_other(x, dim), _every_other(odd, dim).flip(dim)], dim)
        V = rfft2(x)
        negative = torch.cat([V[:, :, :1], V[:, :, 1:].flip(2)], 2)
        return torch.view_as_real((p * V + q * negative) / 2).flatten(3)

    def back(self, c: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """Return the images (B, C, H, W)."""
        p, H, W = torch.view_as_complex(constants[0]), self.height, self.width
        C = torch.view_as_complex(c.reshape(*c.shape[:3], -1, 2))
        mirrored = torch.cat([torch.zeros_like(C[:, :, :1]), C[:, :, 1:].flip(2)], 2)
        x: Tensor = irfft2(p.conj() * (C - 1j * mirrored), s=(H, W))
        for dim, N in ((3, W), (2, H)):
            even, odd = x.narrow(dim, 0, N - N // 2), x.narrow(dim, N - N // 2, N // 2).flip(dim)
            rest = even.narrow(dim, N // 2, N % 2)  # the last one of an odd number
            pairs = torch.stack([even.narrow(dim, 0, N // 2), odd], dim + 1).flatten(dim, dim + 1)
            x = torch.cat([pairs, rest], dim) if N % 2 else pairs
        return x

    def gains(self, g_h: Tensor, g_w: Tensor) -> Tensor:
        """Return g_h g_w^T (B, 1, H, 2 (W // 2 + 1)), in turn for k and for W - k of the width."""
        k = self.width // 2 + 1
        both = torch.stack([g_w[:, :k], torch.cat([g_w[:, :1], g_w.flip(1)[:, : k - 1]], 1)], 2)
        return super().gains(g_h, both.flatten(1))


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
    if _has_small_factors(height) and _has_small_factors(width):
        if padding_mode == "circular" and side >= LEAST_FOURIER:
            return Fourier(height, width)
        if padding_mode == "symmetric" and side >= LEAST_COSINE:
            return Cosine(height, width)
    return (Folded if side >= LEAST_FOLDED else Dense)(padding_mode, height, width)


def _has_small_factors(N: int) -> bool:
    for p in (2, 3, 5, 7, 11, 13):
        while N % p == 0:
            N //= p
    return N == 1


def _every_other(x: Tensor, dim: int) -> Tensor:
    return x[..., ::2] if dim == 3 else x[:, :, ::2]


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
