"""Restoration without a network: the linear inverse of an affine degradation.

    x0_hat = argmin_v  |D(v, t, z) - x_t|^2 / noise^2 + |v - mean|^2 / spread^2

(Wiener, 1949; Tikhonov, 1963), which is `D.invert`. It is the best linear estimate if clean images are N(mean, spread^2
I) and x_t has an error N(0, noise^2 I). Nothing is trained, so it serves images of every size, and every restoration by
a network should be compared with it: a blur that was not rounded to 8 bits is nearly undone by a division.

What `noise` has to be depends on where x_t comes from:

| x_t                                              | noise                                                 |
|--------------------------------------------------|-------------------------------------------------------|
| rounded to 8 bits, such as a file                | 2 / 255 / sqrt(12), the default                       |
| computed in float32, never rounded               | 1e-6 to 1e-5                                          |
| on its way down in a sampler                     | errors of the predictions before it; larger           |
| a_t x0 + b_t eps, with z = 0 in place of the eps | b_t, a value for every severity: a table of T + 1     |

The fine detail of a large photograph is much weaker than `spread`, which holds for all frequencies alike, so a blurred
photograph wants a larger noise than its rounding: 0.01 to 0.03 for a Gaussian of 1 to 3 pixels. With the default, the
rounding error is amplified and the result can be further from the image than x_t.

**In a sampler** it knows x_t and t, not where the trajectory began. With g_t the gain of a wave under blur and rho =
(noise / spread)^2, a step of Algorithm 2 multiplies its amplitude by

    1 + (g_s - g_t) g_t / (g_t^2 + rho),    many short steps from T to 0 by  ((1 + rho) / (g_T^2 + rho))^(1/2)

where one prediction multiplies by g_T / (g_T^2 + rho). A wave that the blur has erased, g_T = 0, holds rounding errors
only. One prediction leaves it at 0. Algorithm 2 takes the error that a step has amplified for a part of the image at
the next one, until it is as large as `spread`. So restore from 8 bits by one prediction or by Algorithm 1, which does
not amplify it. For blur on CIFAR-10, T = 50, from 8 bits, RMSE is .138 degraded, .090 after one prediction, .093 after
50 steps of Algorithm 1, and .097 and .213 after 2 and 50 steps of Algorithm 2; from float32, .066 and at last .064
(`python experiments/linear_inverse.py --data cifar10.zip --images 100 --steps 2,50`). For inpainting, .117 degraded
becomes .082 after one prediction and .121 after 50 steps of Algorithm 2. A single larger noise for all waves helps
in part only (.096 for blur with ten times that of rounding).
"""

from __future__ import annotations

import math

from torch import Tensor

from degrade import Degradation, Params, map_params
from degrade.constants import ROUNDING_NOISE
from degrade.params import need_params
from restore.base_restorer import BaseRestorer
from restore.tiling import reflect_pad

__all__ = ["LinearInverse"]


class LinearInverse(BaseRestorer):
    """The linear inverse of an affine degradation as a restorer: R(x_t, t) = D.invert(x_t, t, z).

    Args:
        degradation: an affine degradation.
        noise: standard deviation of the error of x_t, above 0: one number, or a tensor (T + 1,) with a value for every
            severity (that of severity 0 is not used) on the device of the images. By default that of rounding to 8
            bits. The table in the module's docstring says which noise to take.
        spread: standard deviation of the pixels of clean images, above 0.
        z: what is random about the images at hand, as `degradation.draw` returns it: for a batch of as many images as
            R is called with, or for one image, which then counts for all. None if nothing is random.
        clip_sample: whether x0_hat is clamped to the data range [-1, 1].

    Raises:
        ValueError: if the degradation is not affine, or naming the argument, what it is and what was expected.

    >>> import degrade, torch
    >>> D = degrade.make("blur", T=3, sigmas="constant:sigma=0.5", kernel_size=3)
    >>> x0, t = torch.eye(8)[None, None], torch.tensor([3])
    >>> R = LinearInverse(D, noise=1e-6)
    >>> bool((R(D(x0, t), t) - x0).abs().max() < 1e-3)
    True
    """

    noise: float | Tensor

    def __init__(
        self,
        degradation: Degradation,
        noise: float | Tensor = ROUNDING_NOISE,
        spread: float = 0.5,
        z: Params = None,
        clip_sample: bool = False,
    ) -> None:
        super().__init__(degradation)
        if not degradation.affine:
            raise ValueError(
                f"{degradation.name} is not affine, so it has no linear inverse; take a trained network, or one of "
                "the affine degradations, such as blur, pixelate, inpaint or decolor"
            )
        if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 < spread < math.inf:
            raise ValueError(f"spread is {spread!r}; it needs a number above 0")
        noise = _checked_noise(noise, degradation.T)
        if isinstance(noise, Tensor):
            self.register_buffer("noise", noise, persistent=False)  # moves with the module
        else:
            self.noise = noise
        self.spread = spread
        self.z = z
        self.clip_sample = clip_sample

    def with_input_noise(self, noise: float) -> LinearInverse:
        """Return the linear inverse of pictures with an error of at least this standard deviation, above 0."""
        if isinstance(self.noise, Tensor):
            least: float | Tensor = self.noise.clamp(min=noise)
        else:
            least = max(self.noise, noise)
        return LinearInverse(self.degradation, least, self.spread, self.z, self.clip_sample)

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return the linear restoration of x_t (B, C, H, W) at severities t (B,), in the dtype of x_t.

        Conditions are not looked at, so that this can stand in for a network that has some.
        """
        return self.restore_prepared(self.prepare(x_t, t), t)

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the linear inverse, which needs whole images: a cut is no edge of the kind that D continues."""
        noise = self.noise[t] if isinstance(self.noise, Tensor) else self.noise
        z = need_params(self.degradation, self.z)
        z = map_params(lambda part: part.to(x_t.device).expand(len(x_t), *part.shape[1:]), z)
        height, width = x_t.shape[2:]
        x_t = reflect_pad(x_t, *(-side % self.degradation.size_divisor for side in (height, width)))
        return self.degradation.invert(x_t, t, z, noise=noise, spread=self.spread)[:, :, :height, :width]

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return what `prepare` returned, clamped by option."""
        return prepared.clamp(-1, 1) if self.clip_sample else prepared


def _checked_noise(noise: float | Tensor, T: int) -> float | Tensor:
    """Return the noise, a number above 0 or T + 1 of them of which the first is not used."""
    expected = f"a number above 0, or a floating point tensor of T + 1 = {T + 1} such numbers, one for each severity"
    if isinstance(noise, Tensor):
        if noise.shape != (T + 1,) or not noise.is_floating_point():
            raise ValueError(f"noise is {noise.dtype} {tuple(noise.shape)}; it needs {expected}")
        if not (noise[1:].isfinite() & (noise[1:] > 0)).all():
            raise ValueError(f"noise spans {noise[1:].min():g}..{noise[1:].max():g}; it needs {expected}")
    elif isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 < noise < math.inf:
        raise ValueError(f"noise is {noise!r}; it needs {expected}")
    return noise
