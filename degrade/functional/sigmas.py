"""Widths: the standard deviation sigma_i in pixels of the Gaussian of step i, i = 0..T-1.

Blurs chain T Gaussians and masks multiply T of them; their widths are free. A rule is a small frozen object that
returns T widths for any T. Four rules come from Bansal et al. (arXiv 2208.09392, 2022), and one from heat dissipation
(Rissanen et al., arXiv 2206.13397, 2022), which uses it for the total width of a chain up to level i + 1:

* `constant`      sigma_i = sigma
* `incremental`   sigma_i = step (i + offset)
* `exponential`   sigma_i = initial exp(rate i)
* `cifar10`       sigma_i = 0.35 + i / 100
* `geometric`     from `sigma_min` to `sigma_max`, each wider than the one before by the same factor

An argument that takes a rule also takes a list of T widths.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import Tensor

from degrade.frozen import frozen
from degrade.functional.levels import per_level
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = [
    "SIGMA_RULES",
    "AnySigmas",
    "Cifar10",
    "Constant",
    "Exponential",
    "Geometric",
    "Incremental",
    "Sigma",
    "SigmaRule",
    "register_sigma_rule",
    "sigma_table",
]

Sigma = Annotated[float, Field(gt=0)]


@frozen
class SigmaRule(Serializable):
    """The base of width rules. A subclass defines `__call__` and is registered under a name.

    >>> import degrade
    >>> @register_sigma_rule("square_root")
    ... class SquareRoot(SigmaRule):
    ...     scale: float = 1.0
    ...     def __call__(self, T):
    ...         return self.scale * torch.arange(1, T + 1, dtype=torch.float64).sqrt()
    >>> degrade.make("blur", T=4, sigmas="square_root:scale=0.5").sigmas(4)[3].item()
    1.0
    """

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels, all greater than 0."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __call__(T) -> widths")


SIGMA_RULES = Registry(SigmaRule, "width rule", "degrade.plugins")
register_sigma_rule = SIGMA_RULES.register


def _steps(T: int) -> Tensor:
    return torch.arange(T, dtype=torch.float64)


@register_sigma_rule("constant")
class Constant(SigmaRule):
    """The same width at every step.

    >>> Constant(sigma=7)(3).tolist()
    [7.0, 7.0, 7.0]
    """

    sigma: Sigma

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels."""
        return torch.full((T,), self.sigma, dtype=torch.float64)


@register_sigma_rule("incremental")
class Incremental(SigmaRule):
    """Widths that grow by `step` pixels with every step, from `step * offset` on.

    >>> Incremental(step=0.5)(3).tolist()
    [0.5, 1.0, 1.5]
    """

    step: Sigma
    offset: Sigma = 1.0

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels."""
        return self.step * (_steps(T) + self.offset)


@register_sigma_rule("exponential")
class Exponential(SigmaRule):
    """Widths that start at `initial` pixels and grow by the factor exp(rate) with every step.

    >>> [round(sigma, 3) for sigma in Exponential(rate=0.01)(3).tolist()]
    [1.0, 1.01, 1.02]
    """

    rate: Sigma
    initial: Sigma = 1.0

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels."""
        return self.initial * torch.exp(self.rate * _steps(T))


@register_sigma_rule("cifar10")
class Cifar10(SigmaRule):
    """The widths of the published CIFAR-10 blur: 0.35 pixels, and 0.01 more with every step.

    >>> Cifar10()(3).tolist()
    [0.35, 0.36, 0.37]
    """

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels."""
        return 0.35 + _steps(T) / 100


@register_sigma_rule("geometric")
class Geometric(SigmaRule):
    """Widths from `sigma_min` to `sigma_max`, in pixels, growing by a constant factor.

    With T = 1, the one width is `sigma_max`.

    >>> Geometric(sigma_min=1, sigma_max=16)(3).tolist()
    [1.0, 4.0, 16.0]
    """

    sigma_min: Sigma = 0.5
    sigma_max: Sigma = 20.0

    def __post_init__(self) -> None:
        if self.sigma_min > self.sigma_max:
            raise ValueError(
                f"sigma_min = {self.sigma_min} is more than sigma_max = {self.sigma_max}; the widths must not fall"
            )

    def __call__(self, T: int) -> Tensor:
        """Return the float64 widths (T,) in pixels."""
        u = torch.linspace(1, 0, T, dtype=torch.float64).flip(0)
        return self.sigma_min ** (1 - u) * self.sigma_max**u


def sigma_table(argument: str, sigmas: SigmaRule | tuple[float, ...], T: int) -> Tensor:
    """Return the float64 widths (T,) in pixels of a rule, or those listed.

    Args:
        argument: name of the argument that `sigmas` was given as, for the error message.
        sigmas: the rule, or T widths.
        T: number of levels.

    Raises:
        ValueError: if the list does not have T entries.
    """
    return per_level(argument, sigmas, T) if isinstance(sigmas, tuple) else sigmas(T)


def _read(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else SIGMA_RULES.from_dict(value)


# The type of a field that holds widths: T of them, or a rule, given as an object, as a text such as "cifar10" or
# "constant:sigma=2", or as {"name": ..., "arguments": {...}}.
AnySigmas = Annotated[
    tuple[Sigma, ...] | Annotated[SigmaRule, PlainSerializer(Serializable.to_dict)], BeforeValidator(_read)
]
