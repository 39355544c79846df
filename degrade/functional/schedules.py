"""Schedules: how much of the clean image and how much of z level t holds.

    x_t = a_t x0 + b_t z,    t = 0..T,    a_0 = 1,    b_0 = 0

A schedule is a small frozen object that returns the float64 tables (a, b) of T + 1 entries for any T. Two are variance
preserving, a_t^2 + b_t^2 = 1, and defined by alpha_bar_t = a_t^2 = prod_{i <= t} (1 - beta_i):

* `linear_beta`  beta_i on a straight line (Ho et al., arXiv 2006.11239, 2020); with no betas given, the published line
              from 1e-4 to 0.02 over 1000 levels, at T equally spaced positions
* `cosine`    alpha_bar_t proportional to cos^2((t / T + s) / (1 + s) pi / 2), beta_i <= max_beta
              (Nichol and Dhariwal, arXiv 2102.09672, 2021)

one is the straight line between image and z, a_t = 1 - t / T, b_t = t / T (`rectified`), and one adds z to an image
that stays as it is, a_t = 1, b_t = sigma_max t / T (`linear_sigma`), as noise from a camera does. `table` takes the two
tables as they are.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import Tensor

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = [
    "SCHEDULES",
    "AnySchedule",
    "Cosine",
    "LinearBeta",
    "LinearSigma",
    "Rectified",
    "Schedule",
    "TableSchedule",
    "register_schedule",
]

Beta = Annotated[float, Field(gt=0, le=1)]


@frozen
class Schedule(Serializable):
    """The base of schedules. A subclass defines `__call__` and is registered under a name.

    >>> import degrade
    >>> @register_schedule("square")
    ... class Square(Schedule):
    ...     power: float = 2.0
    ...     def __call__(self, T):
    ...         b = torch.linspace(0, 1, T + 1, dtype=torch.float64) ** self.power
    ...         return 1 - b, b
    >>> D = degrade.make("gaussian_noise", T=2, schedule={"name": "square", "arguments": {"power": 3.0}})
    >>> D(torch.ones(1, 1, 1, 1), torch.tensor([1]), torch.zeros(1, 1, 1, 1)).item()
    0.875
    """

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,), with a_0 = 1, b_0 = 0 and b_t > 0 for t >= 1."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(T) -> (a, b)")


SCHEDULES = Registry(Schedule, "schedule", "degrade.plugins")
register_schedule = SCHEDULES.register


# The type of a field that holds a schedule: given as an object, a name, or {"name": ..., "arguments": {...}}.
AnySchedule = Annotated[Schedule, PlainValidator(SCHEDULES.from_dict), PlainSerializer(Serializable.to_dict)]


def _log_alpha_bar(betas: Tensor) -> Tensor:
    """Return log alpha_bar (T + 1,) from (T,) betas, with the clean entry in front."""
    return torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas).cumsum(0)])


def _linear_log_alpha_bar(T: int, beta_start: float, beta_end: float) -> Tensor:
    """Return log alpha_bar (T + 1,) of betas on a straight line."""
    return _log_alpha_bar(torch.linspace(beta_start, beta_end, T, dtype=torch.float64))


def _from_log(log_alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(alpha_bar) and sqrt(1 - alpha_bar)."""
    # expm1 keeps the digits of b where alpha_bar is close to 1.
    return torch.exp(log_alpha_bar / 2), torch.sqrt(torch.expm1(log_alpha_bar).abs())


PUBLISHED = (1000, 1e-4, 0.02)  # T, beta_1 and beta_T of Ho et al.


@register_schedule("linear_beta")
class LinearBeta(Schedule):
    """Beta on a straight line from `beta_start` to `beta_end`, or the published process if neither is given.

    The published betas belong to T = 1000. Used with T = 100 they would leave a_T = 0.60 of the image, and sampling,
    which starts from pure noise, would go wrong. Without betas, alpha_bar_t is therefore that of the published process
    at its level 1000 t / T (log alpha_bar interpolated where that is no whole number), as if its levels were strided
    (Nichol and Dhariwal, arXiv 2102.09672, 2021, section 4). Every T then ends at the same a_T = 0.0064, and T = 1000
    is the published table itself. If only one beta is given, the other is the published one.

    >>> [f"{LinearBeta()(T)[0][-1] ** 2:.3g}" for T in (1, 10, 1000)]
    ['4.04e-05', '4.04e-05', '4.04e-05']
    >>> f"{LinearBeta(beta_start=1e-4, beta_end=0.02)(100)[0][-1]:.2f}"
    '0.60'
    """

    beta_start: Beta | None = None
    beta_end: Beta | None = None

    def __post_init__(self) -> None:
        if (self.beta_start is None) != (self.beta_end is None):
            _, beta_start, beta_end = PUBLISHED
            object.__setattr__(self, "beta_start", self.beta_start or beta_start)
            object.__setattr__(self, "beta_end", self.beta_end or beta_end)

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,)."""
        if self.beta_start is not None and self.beta_end is not None:
            return _from_log(_linear_log_alpha_bar(T, self.beta_start, self.beta_end))
        whole = _linear_log_alpha_bar(*PUBLISHED)
        k = torch.arange(T + 1, dtype=torch.float64) * PUBLISHED[0] / T
        below = k.floor().long().clamp(max=PUBLISHED[0] - 1)
        return _from_log(torch.lerp(whole[below], whole[below + 1], k - below))


@register_schedule("cosine")
class Cosine(Schedule):
    """Squared cosine alpha_bar with offset `s` and betas cut at `max_beta`.

    >>> a, b = Cosine()(200)
    >>> a[0].item(), b[0].item(), bool((a**2 + b**2 - 1).abs().max() < 1e-15)
    (1.0, 0.0, True)
    """

    s: Annotated[float, Field(ge=0)] = 0.008
    max_beta: Beta = 0.999

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,)."""
        u = torch.linspace(0, 1, T + 1, dtype=torch.float64)
        v = (u + self.s) / (1 + self.s) * math.pi / 2
        # 1 - cos^2 v_i / cos^2 v_{i-1}, as a product: the difference would lose the digits of small betas.
        betas = math.sin(math.pi / 2 / (T * (1 + self.s))) * torch.sin(v[1:] + v[:-1]) / torch.cos(v[:-1]) ** 2
        return _from_log(_log_alpha_bar(betas.clamp(max=self.max_beta)))


@register_schedule("rectified")
class Rectified(Schedule):
    """The straight line from x0 to z.

    >>> Rectified()(4)[1].tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,)."""
        b = torch.linspace(0, 1, T + 1, dtype=torch.float64)
        return b.flip(0), b


@register_schedule("linear_sigma")
class LinearSigma(Schedule):
    """The image stays, and z is added to it with a weight on a straight line: a_t = 1, b_t = sigma_max t / T.

    A step of variance exploding processes (Song et al., arXiv 2011.13456, 2021) has the same form. With T = 75 and
    sigma_max = 150 / 255, level t is noise of standard deviation t on the scale 0..255, since images lie in [-1, 1].

    Args:
        sigma_max: weight of z at T, above 0.

    >>> [table.tolist() for table in LinearSigma(sigma_max=2.0)(4)]
    [[1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.5, 1.0, 1.5, 2.0]]
    """

    sigma_max: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,)."""
        t = torch.arange(T + 1, dtype=torch.float64)
        return torch.ones_like(t), self.sigma_max * t / T


@register_schedule("table")
class TableSchedule(Schedule):
    """The tables themselves, T + 1 entries each, the first 1 and 0 and no other of `b` 0.

    >>> TableSchedule(a=(1, 0.5), b=(0, 0.5))(1)[0].tolist()
    [1.0, 0.5]
    """

    a: tuple[float, ...]
    b: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.a) != len(self.b) or self.a[:1] != (1,) or self.b[:1] != (0,):
            raise ValueError("a and b need the same length and a clean first entry, a[0] = 1 and b[0] = 0")
        if 0 in self.b[1:]:
            t = self.b.index(0, 1)
            raise ValueError(f"b[{t}] = 0: only level 0 is without z, which could not be estimated; give more than 0")

    def __call__(self, T: int) -> tuple[Tensor, Tensor]:
        """Return the float64 tables (a, b), each (T + 1,).

        Raises:
            ValueError: if they do not have T + 1 entries.
        """
        if len(self.a) != T + 1:
            raise ValueError(f"the table has {len(self.a)} entries; T = {T} needs {T + 1}, the clean one included")
        return torch.tensor(self.a, dtype=torch.float64), torch.tensor(self.b, dtype=torch.float64)
