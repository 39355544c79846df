"""What a picture tells of z: nothing, if z is a place or a flake; all of it, if z is the noise on a known image."""

from __future__ import annotations

import torch
from torch import Tensor

from degrade import Degradation, Params, expand_level
from degrade.random import Generators

__all__ = ["determined", "drawn", "hidden", "is_random"]


def determined(D: Degradation, x: Tensor, generator: Generators = None) -> bool:
    """Return whether the z of D is told by x_t and x0, as that of noise is, so that it need not be known."""
    first, second = drawn(D, x, generator), drawn(D, x, generator)
    t = expand_level(D.T, x)
    try:
        one, other = (D.estimate(x, 0.5 * x, t, z) for z in (first, second))
    except (ValueError, TypeError, AttributeError):
        return False
    return one is not None and _same(one, other) and not _same(one, first)


def hidden(D: Degradation, x: Tensor, generator: Generators = None) -> bool:
    """Return whether something is random about D that no picture tells, such as the place of a hole."""
    return is_random(drawn(D, x, generator)) and not determined(D, x, generator)


def drawn(D: Degradation, x: Tensor, generator: Generators = None) -> Params:
    """Return a z for images like x; None where there is nothing to draw it from."""
    try:
        return D.draw(x, generator)
    except ValueError:
        return None


def is_random(z: Params) -> bool:
    """Return whether there is anything in z."""
    return any(map(is_random, z)) if isinstance(z, tuple) else z is not None


def _same(a: Params, b: Params) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b
