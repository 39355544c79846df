"""Distributions of the severity t in training, by name and arguments.

A distribution is T probabilities, of t = 1..T. A severity is drawn by inversion of their cumulative sum P,

    t = min {t : P_t > u},    u ~ U[0, 1)

with one random number for each image, on the device where training takes place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import Generator, Tensor

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = [
    "TIMESTEPS",
    "AnyTimesteps",
    "BetaTimesteps",
    "PowerTimesteps",
    "TableTimesteps",
    "Timesteps",
    "UniformTimesteps",
    "register_timesteps",
]

Positive = Annotated[float, Field(gt=0)]


@frozen
class Timesteps(Serializable):
    """The base of distributions of t. A subclass defines `weights` and is registered under a name.

    >>> @register_timesteps("odd")
    ... class Odd(Timesteps):
    ...     def weights(self, T):
    ...         return torch.arange(1, T + 1) % 2
    >>> t = Odd().sample(100, 4, torch.Generator().manual_seed(0), "cpu")
    >>> sorted(set(t.tolist()))
    [1, 3]
    """

    def weights(self, T: int) -> Tensor:
        """Return (T,) numbers in proportion to the probabilities of t = 1..T: at least 0, and not all 0.

        Args:
            T: number of severities of the degradation.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method weights(T) -> (T,)")

    def probabilities(self, T: int) -> Tensor:
        """Return the probabilities (T,) float64 of t = 1..T, on the CPU.

        Raises:
            ValueError: if `weights` does not give T finite numbers of at least 0 that are not all 0.

        >>> TableTimesteps((1, 3)).probabilities(2).tolist()
        [0.25, 0.75]
        """
        weights = self.weights(T).to("cpu", torch.float64)
        if weights.shape != (T,):
            raise ValueError(f"timesteps {self.name!r} has {len(weights)} weights; give one for each t in 1..{T}")
        if not (weights.isfinite().all() and (weights >= 0).all() and weights.any()):
            raise ValueError(f"timesteps {self.name!r} has weights that are negative, not finite or all 0")
        return weights / weights.sum()

    def sample(self, n: int, T: int, generator: Generator | None, device: torch.device | str) -> Tensor:
        """Draw severities.

        Args:
            n: number of severities.
            T: number of severities of the degradation.
            generator: source of randomness, on `device`.
            device: device of the result.

        Returns:
            (n,) int64 in 1..T.
        """
        u = torch.rand(n, generator=generator, device=device)
        return torch.searchsorted(_cumulative(self, T, torch.device(device)), u, right=True) + 1


@lru_cache(maxsize=16)
def _cumulative(timesteps: Timesteps, T: int, device: torch.device) -> Tensor:
    """Return the cumulative probabilities (T,) float32 on a device."""
    total = timesteps.probabilities(T).cumsum(0)
    return (total / total[-1]).float().to(device)


TIMESTEPS = Registry(Timesteps, "distribution of timesteps", "restore.plugins")
register_timesteps = TIMESTEPS.register


# The type of a field that holds one.
AnyTimesteps = Annotated[Timesteps, PlainValidator(TIMESTEPS.from_dict), PlainSerializer(Serializable.to_dict)]


@register_timesteps("uniform")
class UniformTimesteps(Timesteps):
    """Every t in 1..T is as likely as any other."""

    def weights(self, T: int) -> Tensor:
        """Return (T,) ones."""
        return torch.ones(T)

    def sample(self, n: int, T: int, generator: Generator | None, device: torch.device | str) -> Tensor:
        """Draw (n,) int64 severities in 1..T."""
        return torch.randint(1, T + 1, (n,), generator=generator, device=device)


@register_timesteps("power")
class PowerTimesteps(Timesteps):
    """The probability of t is in proportion to t^exponent.

    Args:
        exponent: above 0 for more of the severe degradations, below 0 for more of the slight ones.
    """

    exponent: float = 1.0

    def weights(self, T: int) -> Tensor:
        """Return (T,) numbers t^exponent."""
        return torch.arange(1, T + 1, dtype=torch.float64) ** self.exponent


@register_timesteps("beta")
class BetaTimesteps(Timesteps):
    """The density of a beta distribution at s = (t - 1/2) / T: in proportion to s^(alpha - 1) (1 - s)^(beta - 1).

    Args:
        alpha: above 1 for few slight degradations, below 1 for many.
        beta: above 1 for few severe degradations, below 1 for many.
    """

    alpha: Positive = 2.0
    beta: Positive = 2.0

    def weights(self, T: int) -> Tensor:
        """Return the (T,) densities, up to a factor."""
        s = (torch.arange(1, T + 1, dtype=torch.float64) - 0.5) / T
        return s ** (self.alpha - 1) * (1 - s) ** (self.beta - 1)


@register_timesteps("table")
class TableTimesteps(Timesteps):
    """A probability for every t.

    Args:
        table: T numbers in proportion to the probabilities of t = 1..T, such as the losses that were measured.
    """

    table: tuple[Annotated[float, Field(ge=0)], ...]

    def weights(self, T: int) -> Tensor:
        """Return `table`."""
        return torch.tensor(self.table, dtype=torch.float64)
