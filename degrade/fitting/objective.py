"""How far a degradation is from pairs of images: the objective of `degrade.fitting.fit`, for each pair."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from degrade.base import Degradation, Params, expand_level, map_params
from degrade.constants import ROUNDING_NOISE
from degrade.functional.quantization import is_8bit
from degrade.precision import to_float64
from degrade.registry import get, make
from degrade.serializable import Serializable

__all__ = ["Objective", "with_value"]

PART = 2**22  # values of one call of D


def with_value(cls: type[Degradation], arguments: Mapping[str, Any], name: str, value: float) -> dict[str, Any]:
    """Return the arguments of a degradation with one more value.

    Args:
        cls: the degradation.
        arguments: those given.
        name: name of the argument, or of an argument of an object: `sigmas.sigma`.
        value: its value, in place of one that is given.

    >>> import degrade
    >>> with_value(degrade.Blur, {"T": 3, "sigmas": "constant"}, "sigmas.sigma", 2.0)
    {'T': 3, 'sigmas': 'constant:sigma=2.0'}
    >>> with_value(degrade.Blur, {}, "sigmas.rate", 0.5)
    {'sigmas': {'name': 'exponential', 'arguments': {'rate': 0.5, 'initial': 1.0}}}
    """
    owner, _, inner = name.partition(".")
    if not inner:
        return {**arguments, owner: value}
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    held = arguments.get(owner, fields.get(owner))
    if isinstance(held, str):
        return {**arguments, owner: f"{held}{',' if ':' in held else ':'}{inner}={value!r}"}
    if isinstance(held, Serializable):
        held = held.to_dict()
    if not isinstance(held, dict) or "name" not in held:
        raise ValueError(f"{name} cannot be fitted: {owner} is {held!r}, which has no arguments")
    return {**arguments, owner: {**held, "arguments": {**held.get("arguments", {}), inner: value}}}


class Objective:
    """q_i(values, t) for m pairs: a sum of squares, or for Gaussian noise the negative log likelihood.

    Args:
        name: name of the degradation.
        arguments: those that are known.
        names: names of the arguments that are fitted; those of an object as `sigmas.sigma`.
        x0: (m, C, H, W) clean images.
        y: (m, C, H, W) degraded images.
        margin: number of pixels at each border that are not compared.

    Raises:
        ValueError: if the images are no pairs.
    """

    def __init__(
        self, name: str, arguments: dict[str, Any], names: tuple[str, ...], x0: Tensor, y: Tensor, margin: int
    ) -> None:
        _check_pairs(x0, y, margin)
        self.name, self.arguments, self.names, self.margin = name, arguments, names, margin
        self.x0, self.y = x0, y
        self.hot = get(name).gaussian and get(name).additive
        self.cut = bool(y.abs().max() <= 1)  # only then an end of the range may stand for what is beyond
        self.rounding = ROUNDING_NOISE if is_8bit(y) else 0.0

    @property
    def size(self) -> int:
        """The number of values of a pair that are compared."""
        return self._inside(self.y[:1]).numel()

    def degradation(self, values: Sequence[float]) -> Degradation:
        """Return D with these values of the fitted arguments."""
        arguments = self.arguments
        for name, value in zip(self.names, values, strict=True):
            arguments = with_value(get(self.name), arguments, name, value)
        return make(self.name, **arguments)

    def __call__(self, values: Sequence[float], t: int) -> Tensor:
        """Return q_i (m,) float64."""
        D, found = self.degradation(values), []
        count = max(1, PART // self.x0[0].numel())
        for first in range(0, len(self.x0), count):
            x0, y = (to_float64(part[first : first + count]) for part in (self.x0, self.y))
            found.append(self._likelihood(D, x0, y, t) if self.hot else self._squares(D, x0, y, t))
        return torch.cat(found)

    def noise_level(self, D: Degradation, t: int) -> float:
        """Return b_t of Gaussian noise."""
        return float(D.coefficients(expand_level(t, self.x0[:1]), self.x0[:1].double())[1])

    def log_likelihood(self, q: Tensor) -> float:
        """Return the log likelihood of one value, in nats."""
        if self.hot:
            return -float(q.mean()) / self.size
        # Noise below that of float32 counts as such: of an exact fit the likelihood has no limit.
        variance = max(float(q.mean()) / self.size, 1e-14)
        return -(math.log(2 * math.pi * variance) + 1) / 2

    def _inside(self, x: Tensor) -> Tensor:
        m = self.margin
        return x[..., m : x.shape[2] - m, m : x.shape[3] - m]

    def _squares(self, D: Degradation, x0: Tensor, y: Tensor, t: int) -> Tensor:
        level = expand_level(t, x0)
        residual = y - D(x0, level, self._params(D, x0, y, level))
        return self._inside(residual).square().sum((1, 2, 3))

    def _params(self, D: Degradation, x0: Tensor, y: Tensor, level: Tensor) -> Params:
        """Return None, or the z that explains y.

        Raises:
            ValueError: if it cannot be computed, or explains any y.
        """
        if not D.random:
            return None
        z = D.draw(x0, torch.Generator(x0.device).manual_seed(0)) if D.identifiable else None
        if z is None:
            raise ValueError(
                f"{D.name}: what is random about it cannot be computed from a pair, so it cannot be fitted; if an "
                f"argument fixes it, as center=middle does for inpaint, give that"
            )
        numbers: list[int] = []
        map_params(lambda part: numbers.append(part[0].numel()) or part, z)  # type: ignore[func-returns-value]
        if sum(numbers) >= x0[0].numel():
            raise ValueError(
                f"{D.name}: its z has as many numbers as an image and explains any pair, so nothing can be fitted; "
                f"of a composition with noise, fit the parts before the noise, which is estimated beside them"
            )
        return D.estimate(y, x0, level.clamp(min=1), z)

    def _likelihood(self, D: Degradation, x0: Tensor, y: Tensor, t: int) -> Tensor:
        """Return the negative log likelihood of y ~ N(a_t x0, b_t^2 I), cut off at the ends of the range."""
        a_t, b_t = D.coefficients(expand_level(t, x0), x0)
        sigma = (b_t.square() + self.rounding**2).sqrt()
        u = self._inside(y - a_t * x0) / sigma
        q = sigma.log() + 0.5 * math.log(2 * math.pi) + u.square() / 2
        if self.cut:
            end = self._inside(y)
            q = torch.where(end.abs() >= 1, -torch.special.log_ndtr(end.sign() * -u), q)
        return q.sum((1, 2, 3))


def _check_pairs(x0: Tensor, y: Tensor, margin: int) -> None:
    for name, x in (("x0", x0), ("y", y)):
        if x.ndim != 4 or not x.numel() or not x.is_floating_point():
            raise ValueError(f"{name} is {x.dtype} {tuple(x.shape)}; it needs floating point (m, C, H, W) in [-1, 1]")
        if not x.isfinite().all():
            raise ValueError(f"{name} has values that are nan or infinite; leave such pairs out")
    if x0.shape != y.shape or x0.device != y.device:
        found = f"{tuple(x0.shape)} on {x0.device} and y {tuple(y.shape)} on {y.device}"
        raise ValueError(f"x0 is {found}; pairs have the same shape and device")
    if 2 * margin >= min(x0.shape[2:]):
        raise ValueError(f"margin is {margin}; it must be a number of pixels in 0..{(min(x0.shape[2:]) - 1) // 2}")
