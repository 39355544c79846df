"""Widths: how wide the Gaussian of step i is, i = 0..T-1.

Blurs chain T Gaussians and masks multiply T of them; their widths are free. Four rules come from Bansal et al.
(arXiv 2208.09392, 2022), with one number `std` in three of them:

* `incremental`   std (i + first)
* `constant`      std
* `exponential`   exp(std i)
* `special_6`     0.35 + i / 100

and a list of T numbers is taken as it is. `Geometric` is a rule for totals, the width of the whole chain up to level t,
as heat dissipation uses it (Rissanen et al., arXiv 2206.13397, 2022): from `first` at t = 1 to `last` at t = T, each
level wider by the same factor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from degrade.frozen import frozen
from degrade.functional.levels import listed

__all__ = ["Geometric", "Rule", "Totals", "Width", "width_table"]

Width = Annotated[float, Field(gt=0)]
Rule = Literal["incremental", "constant", "exponential", "special_6"]


def width_table(widths: Rule | tuple[float, ...], T: int, std: float, first: float = 1) -> Tensor:
    """Return the float64 widths (T,) of a rule, or those listed.

    Raises:
        ValueError: if the list does not have T entries.

    >>> width_table("incremental", T=3, std=0.5).tolist()
    [0.5, 1.0, 1.5]
    """
    i = torch.arange(T, dtype=torch.float64)
    if widths == "incremental":
        return std * (i + first)
    if widths == "constant":
        return torch.full_like(i, std)
    if widths == "exponential":
        return torch.exp(std * i)
    if widths == "special_6":
        return 0.35 + i / 100
    return listed("widths", widths, T)


@frozen
class Geometric:
    """Totals from `first` at t = 1 to `last` at t = T, in pixels, growing by a constant factor.

    >>> Geometric(first=1, last=16)(3).tolist()
    [1.0, 4.0, 16.0]
    """

    name: Literal["geometric"] = "geometric"
    first: Width = 0.5
    last: Width = 20.0

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"first = {self.first} is more than last = {self.last}; a blur only grows")

    def __call__(self, T: int) -> Tensor:
        """Return the float64 totals (T,); with T = 1 it is the last that counts."""
        u = torch.linspace(1, 0, T, dtype=torch.float64).flip(0)
        return self.first ** (1 - u) * self.last**u


def _named(value: Any) -> Any:
    return {"name": "geometric"} if value == "geometric" else value


# What an argument called `total_sigma` accepts: T totals, or the rule above by name, by name and parameters, or itself.
Totals = Annotated[tuple[Width, ...] | Geometric, BeforeValidator(_named)]
