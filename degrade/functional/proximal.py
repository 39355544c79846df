"""The proximal map of an affine operator: the image that fits a measurement and stays near a given image.

    prox(x) = argmin_v  |A v + b - x_t|^2 + rho |v - x|^2
            = x + (A^T A + rho I)^-1 A^T r,    r = x_t - (A x + b)

Where A is diagonal in a pair of orthonormal bases, A = U diag(a) V^T, this is a division:

    prox(x) = x + V diag(a / (a^2 + rho)) U^T r

In general the system is solved by conjugate gradients, which need A and A^T only. A^T comes from automatic
differentiation: the pullback of an affine map is the same at every point, and it is A^T.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import debug_unwrap

from degrade.functional.conjugate_gradient import conjugate_gradient
from degrade.functional.levels import compute_dtype

__all__ = ["damped", "per_image", "proximal", "transpose"]

Linear = Callable[[Tensor], Tensor]


def per_image(name: str, value: float | Tensor, x: Tensor, above: bool = False) -> Tensor:
    """Return `value`, a number or (B,), as (B, 1, 1, 1) or (1, 1, 1, 1), in the compute precision of the images `x`.

    Args:
        name: name of the value, for messages.
        value: finite and at least 0. The values of a tensor are looked at where that is free, on the CPU.
        x: (B, C, H, W) images.
        above: whether 0 itself is refused.

    Raises:
        ValueError: naming what the value is and what was expected.

    >>> per_image("rho", 0.25, torch.zeros(2, 3, 8, 8)).shape
    torch.Size([1, 1, 1, 1])
    """
    expected = f"a number {'above' if above else 'of at least'} 0, or a floating point tensor ({x.shape[0]},) of such"
    dtype = compute_dtype(x.dtype)
    if isinstance(value, Tensor):
        if value.shape != x.shape[:1] or not value.is_floating_point():
            raise ValueError(f"{name} is {value.dtype} {tuple(value.shape)}; it needs {expected}")
        if value.device != x.device:
            raise ValueError(f"{name} is on {value.device} and the images on {x.device}; move {name}")
        if value.device.type == "cpu" and not torch.compiler.is_compiling() and len(value):
            low, high = (float(v) for v in torch.aminmax(debug_unwrap(value.detach())))
            _need_range(name, low, above, expected)
            _need_range(name, high, above, expected)
        return value.to(dtype).view(-1, 1, 1, 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}; it needs {expected}")
    _need_range(name, value, above, expected)
    return x.new_full((1, 1, 1, 1), value, dtype=dtype)


def _need_range(name: str, value: float, above: bool, expected: str) -> None:
    if not math.isfinite(value) or value < 0 or (above and value == 0):
        raise ValueError(f"{name} is {value}; it needs {expected}")


def damped(gain: Tensor, rho: Tensor) -> Tensor:
    """Return a / (a^2 + rho), which inverts the gain a where a^2 is much larger than rho > 0.

    >>> damped(torch.tensor([1.0, 0.01, 0.0]), torch.tensor(0.01)).tolist()
    [0.9900990128517151, 0.9900990128517151, 0.0]
    """
    return gain / (gain.square() + rho)


def transpose(apply: Linear, x: Tensor) -> Linear:
    """Return u -> A^T u of the affine map `apply`, v -> A v + b, for arguments shaped like `x`."""
    pullback: Callable[[Tensor], tuple[Tensor]] = torch.func.vjp(apply, x)[1]
    return lambda u: pullback(u)[0]


def proximal(apply: Linear, adjoint: Linear, x: Tensor, x_t: Tensor, rho: Tensor) -> Tensor:
    """Return argmin_v |apply(v) - x_t|^2 + rho |v - x|^2 by conjugate gradients.

    Args:
        apply: v (B, C, H, W) -> A v + b.
        adjoint: u (B, C, H, W) -> A^T u.
        x: (B, C, H, W) the images to stay near to.
        x_t: (B, C, H, W) what was measured.
        rho: (B, 1, 1, 1), positive. The smaller it is, the more iterations are needed.
    """
    b = apply(torch.zeros_like(x))
    step = conjugate_gradient(lambda v: adjoint(apply(v) - b) + rho * v, adjoint(x_t - apply(x)))
    return x + step
