"""Motion blur: the camera, or the object, moves along a straight line while the shutter is open.

    x_t = k_t(angle) * x0,    k_t(angle) a line of length l_t = 1 + (kernel_size - 1) t / T pixels

The kernel is the line of `kernel_size` taps of kornia, rotated by the angle with bilinear weights, multiplied by a disc
of diameter l_t with a soft edge one pixel wide, and scaled to sum 1. Only the disc depends on t: the cost does not, and
l_t need not be an integer. Each image has its own angle z, in degrees, counter-clockwise, unless `angle` gives one.
`direction` is the slope of the weights along the line: 0 for a uniform exposure, 1 and -1 for an exposure that
increases or decreases. The module is an example of how to wrap an operator of a library: its per-sample parameters
become z, and one of its numbers becomes the severity.

Under `circular` borders, the Fourier transform F turns the kernel into the transfer function K,

    x_t = F^-1 K F x0,    A^T u = F^-1 conj(K) F u,    prox(x) = x + F^-1 (conj(K) / (|K|^2 + rho)) F (x_t - D(x))

Under `reflect` there is no such form: an oblique line is not symmetric along either axis, so it turns the cosine waves
of this rule into sine waves, too. `prox` and `invert` then use conjugate gradients, up to 500 iterations of two
applications each; a larger rho needs fewer.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.fft import irfft2, rfft2

from degrade.base import Degradation, NumLevels, Params, check_params
from degrade.functional.levels import LevelTables
from degrade.functional.proximal import proximal, transpose
from degrade.optional import require
from degrade.random import Generators, rand
from degrade.registry import register

__all__ = ["MotionBlur"]


@register("motion_blur")
class MotionBlur(Degradation):
    """Blur along a line at a random angle; needs kornia.

    z is the angle of each image, (B,) in degrees, uniform in [0, 360); None if `angle` is given.

    Args:
        T: number of levels, at least 1.
        kernel_size: length of the line at T in pixels, odd and at least 3.
        direction: slope of the weights along the line, in [-1, 1]; 0 for equal weights.
        padding_mode: continuation of the image beyond its borders: `reflect` (a b c b a), or `circular` (a b c a b c),
            whose `adjoint`, `prox` and `invert` cost no more than about two applications, whatever the kernel's size.
        angle: the angle of all images in degrees, counter-clockwise; None draws one for each image.

    >>> D = MotionBlur(T=4, kernel_size=5)
    >>> x0 = torch.eye(9).view(1, 1, 9, 9)
    >>> D(x0, torch.tensor([4]), torch.tensor([0.0]))[0, 0, 4, 1:8].mul(5).round().tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """

    affine: ClassVar[bool] = True
    without_z: ClassVar[str] = "give its angle in degrees, such as angle=30, or z"

    T: NumLevels = 50
    kernel_size: Annotated[int, Field(ge=3)] = 15
    direction: Annotated[float, Field(ge=-1, le=1)] = 0.0
    padding_mode: Literal["reflect", "circular"] = "reflect"
    angle: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @property
    def random(self) -> bool:
        """Whether the angle is drawn."""
        return self.angle is None

    def precompute(self) -> LevelTables:
        """Return the soft discs, (T + 1, kernel_size, kernel_size)."""
        require("kornia.filters", self.name)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size = {self.kernel_size} is even; a line has a middle pixel, so take an odd one")
        offset = torch.arange(self.kernel_size, dtype=torch.float64) - self.kernel_size // 2
        radius = torch.hypot(offset[:, None], offset[None, :])
        reach = torch.linspace(1, self.kernel_size, self.T + 1, dtype=torch.float64) / 2
        return LevelTables((reach.view(-1, 1, 1) + 0.5 - radius).clamp(0, 1))

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor | None:
        """Return angles (B,) in degrees, uniform in [0, 360); None if the angle is given."""
        return 360 * rand((len(x0),), x0, generator) if self.angle is None else None

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return x0 blurred along the angles z.

        Raises:
            ValueError: if z is not one angle per image, or a side is not larger than half the line under `reflect`.
        """
        # A GPU may round even x * 1, in TF32, where there is one image of one channel.
        return torch.where(t.view(-1, 1, 1, 1) > 0, self._filter(x0, self._kernels(x0, t, z)), x0)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return x0 filtered with the difference of the two kernels."""
        return self._filter(x0, self._kernels(x0, s, z) - self._kernels(x0, t, z))

    def _adjoint(self, u: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return A^T u: the conjugate transfer function under `circular`, else by differentiating `apply`."""
        if self.padding_mode == "reflect":
            return super()._adjoint(u, t, z)
        return _filtered(u, _transfer(self._kernels(u, t, z), u).conj())

    def _prox(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: Tensor) -> Tensor:
        """Return the proximal map: a division of waves under `circular`, else by conjugate gradients."""
        kernels = self._kernels(x, t, z)  # once, and not in every iteration; at t = 0 they hold a single 1
        if self.padding_mode == "reflect":

            def apply(v: Tensor) -> Tensor:
                return self._filter(v, kernels)

            return proximal(apply, transpose(apply, x), x, x_t, rho)
        K = _transfer(kernels, x)
        residual = x_t - _filtered(x, K)
        return x + _filtered(residual, K.conj() / (K.real.square() + K.imag.square() + rho))

    def _kernels(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return k_t for every image, (B, kernel_size, kernel_size)."""
        from kornia.filters import get_motion_kernel2d

        if self.angle is None:
            angle = check_params(self.name, z, (len(x0),)).to(x0)
        else:
            angle = x0.new_full((len(x0),), self.angle)
        (disc,) = self.tables.gather(t, x0)
        line = get_motion_kernel2d(self.kernel_size, angle, torch.full_like(angle, self.direction), "bilinear")
        kernels: Tensor = disc * line
        return kernels / kernels.sum((1, 2), keepdim=True)

    def _filter(self, x0: Tensor, kernels: Tensor) -> Tensor:
        from kornia.filters import filter2d

        if self.padding_mode == "circular":
            return _filtered(x0, _transfer(kernels, x0))
        if min(x0.shape[2:]) <= self.kernel_size // 2:
            raise ValueError(
                f"{self.name}: x0 is {tuple(x0.shape)}; a line of {self.kernel_size} pixels with reflected borders "
                f"needs sides of more than {self.kernel_size // 2}: take a smaller kernel_size"
            )
        filtered: Tensor = filter2d(x0, kernels, "reflect")
        return filtered


def _transfer(kernels: Tensor, x: Tensor) -> Tensor:
    """Return K (B, 1, H, W // 2 + 1), K(w) = sum_d k_d exp(i w d) for kernels (B, n, n) and images like x."""
    H, W = x.shape[2:]
    d = torch.arange(kernels.shape[1], device=x.device) - kernels.shape[1] // 2

    def waves(N: int, count: int) -> Tensor:
        cycles = torch.outer(torch.arange(count, device=x.device), d) % N  # whole ones left out, which is exact
        angle = 2 * math.pi / N * cycles.to(kernels.dtype)
        return torch.polar(torch.ones_like(angle), angle)

    rows, columns = waves(H, H), waves(W, W // 2 + 1)
    return (rows @ kernels.to(rows.dtype) @ columns.mT)[:, None]


def _filtered(x: Tensor, K: Tensor) -> Tensor:
    """Return F^-1 K F x."""
    filtered: Tensor = irfft2(K * rfft2(x), s=x.shape[2:])
    return filtered
