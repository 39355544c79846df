"""Widths: how wide the Gaussian of step i is, i = 0..T-1.

Blurs chain T Gaussians and masks multiply T of them; their widths are free. Four rules come from Bansal et al.
(arXiv 2208.09392, 2022), with one number `growth` in three of them:

* `incremental`   growth (i + offset)
* `constant`      growth
* `exponential`   exp(growth i)
* `cifar10`     0.35 + i / 100

and a list of T numbers is taken as it is. `Geometric` is a rule for totals, the width of the whole chain up to level t,
as heat dissipation uses it (Rissanen et al., arXiv 2206.13397, 2022): from `sigma_min` at t = 1 to `sigma_max` at t =
T, each level wider by the same factor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import Tensor

from degrade.frozen import frozen
from degrade.functional.levels import per_level
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = ["CUMULATIVE_RULES", "CumulativeRule", "CumulativeSigmas", "Geometric", "Sigma", "SigmaRule", "sigma_table"]

Sigma = Annotated[float, Field(gt=0)]
SigmaRule = Literal["incremental", "constant", "exponential", "cifar10"]


def sigma_table(sigmas: SigmaRule | tuple[float, ...], T: int, growth: float, offset: float = 1) -> Tensor:
    """Return the float64 widths (T,) of a rule, or those listed.

    Raises:
        ValueError: if the list does not have T entries.

    >>> sigma_table("incremental", T=3, growth=0.5).tolist()
    [0.5, 1.0, 1.5]
    """
    i = torch.arange(T, dtype=torch.float64)
    if sigmas == "incremental":
        return growth * (i + offset)
    if sigmas == "constant":
        return torch.full_like(i, growth)
    if sigmas == "exponential":
        return torch.exp(growth * i)
    if sigmas == "cifar10":
        return 0.35 + i / 100
    return per_level("sigmas", sigmas, T)


@frozen
class CumulativeRule(Serializable):
    """The base of rules for the total width; a subclass defines `__call__` and is registered in `CUMULATIVE_RULES`."""

    def __call__(self, T: int) -> Tensor:
        """Return the float64 totals (T,) in pixels, none less than the one before."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(T) -> totals")


CUMULATIVE_RULES = Registry(CumulativeRule, "rule for cumulative_sigma", "degrade.plugins")


@CUMULATIVE_RULES.register("geometric")
class Geometric(CumulativeRule):
    """Totals from `sigma_min` at t = 1 to `sigma_max` at t = T, in pixels, growing by a constant factor.

    >>> Geometric(sigma_min=1, sigma_max=16)(3).tolist()
    [1.0, 4.0, 16.0]
    """

    sigma_min: Sigma = 0.5
    sigma_max: Sigma = 20.0

    def __post_init__(self) -> None:
        if self.sigma_min > self.sigma_max:
            raise ValueError(
                f"sigma_min = {self.sigma_min} is more than sigma_max = {self.sigma_max}; a blur only grows"
            )

    def __call__(self, T: int) -> Tensor:
        """Return the float64 totals (T,); with T = 1 it is the last that counts."""
        u = torch.linspace(1, 0, T, dtype=torch.float64).flip(0)
        return self.sigma_min ** (1 - u) * self.sigma_max**u


def _read(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else CUMULATIVE_RULES.from_dict(value)


# What an argument called `cumulative_sigma` accepts: T totals, or a rule: an object, a name, or
# {"name": ..., "arguments": {...}}.
CumulativeSigmas = Annotated[
    tuple[Sigma, ...] | Annotated[CumulativeRule, PlainSerializer(Serializable.to_dict)], BeforeValidator(_read)
]
