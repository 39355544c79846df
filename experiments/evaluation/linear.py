"""The row "linear inverse" of a table of restorations: what can be had from the operator alone, without training.

    D affine                       D.invert(x_t, t, z), with the noise of the precision in which x_t comes
    x_t = a_t x0 + b_t eps         the same with z = 0 and the noise sqrt(b_t^2 + noise^2), since eps is not known

For an image that was turned into another one, whose z is that other image, there is no such row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade import Degradation, Params, quantize_8bit
from degrade.constants import ROUNDING_NOISE
from experiments.evaluation.choices import InputPrecision
from restore import LinearInverse

__all__ = ["INPUT_NOISE", "has_linear_inverse", "linear_inverse", "linear_restorer", "to_input_precision"]

# Standard deviation of the error of x_t: of rounding to 8 bits, or of computing in float32.
INPUT_NOISE: dict[InputPrecision, float] = {"8bit": ROUNDING_NOISE, "float32": 5e-6}


def to_input_precision(x_t: Tensor, precision: InputPrecision) -> Tensor:
    """Return images rounded to 256 levels, as a file does, for `8bit`, and as they are for `float32`."""
    return quantize_8bit(x_t) if precision == "8bit" else x_t


def has_linear_inverse(D: Degradation) -> bool:
    """Return whether the row makes sense for D.

    >>> import degrade
    >>> [has_linear_inverse(degrade.make(name)) for name in ("blur", "gaussian_noise", "snow")]
    [True, True, False]
    """
    return D.affine and (not D.identifiable or _is_noise(D))


def linear_inverse(D: Degradation, x_t: Tensor, t: Tensor, z: Params, precision: InputPrecision) -> Tensor:
    """Return the linear inverse (B, C, H, W) of x_t = D(x0, t, z), rounded as `precision` says.

    >>> import degrade, torch
    >>> D = degrade.make("decolor", T=4)
    >>> x_t, t = torch.full((1, 3, 2, 2), 0.5), torch.tensor([3])
    >>> torch.allclose(linear_inverse(D, x_t, t, None, "float32"), x_t, atol=1e-4)
    True
    """
    found: Tensor = linear_restorer(D, x_t, z, precision)(x_t, t)
    return found


def linear_restorer(D: Degradation, like: Tensor, z: Params, precision: InputPrecision) -> LinearInverse:
    """Return the linear inverse of images (B, C, H, W) like these, whose precision is `precision`, as a restorer."""
    noise = INPUT_NOISE[precision]
    if not _is_noise(D):
        return LinearInverse(D, noise, z=z)
    b = D.coefficients(torch.arange(D.T + 1, device=like.device), like)[1].flatten()
    return LinearInverse(D, (b.square() + noise**2).sqrt(), z=torch.zeros_like(like[:1]))


def _is_noise(D: Degradation) -> bool:
    return D.additive and D.gaussian
