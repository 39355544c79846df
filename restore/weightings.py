"""Weightings of the loss over the severity t, by name and arguments.

The training minimizes the mean of w(t_i) loss_i. With x_t = a_t x0 + b_t z and SNR = a_t^2 / b_t^2, an error of the
network's output is an error of x0_hat times a factor. So the same weighting min(SNR, gamma) of the squared error of x0
needs another w for each kind of output (Hang et al., arXiv 2303.09556, 2023):

    prediction   error of the output            w
    x0           e                              min(SNR, gamma)
    eps          sqrt(SNR) e                    min(SNR, gamma) / SNR  = min(1, gamma / SNR)
    v            sqrt(SNR + 1) e, if a^2+b^2=1  min(SNR, gamma) / (SNR + 1)
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import Tensor

from degrade.frozen import frozen
from degrade.registry import Registry
from degrade.serializable import Serializable
from restore.restorer import Restorer

__all__ = [
    "WEIGHTINGS",
    "AnyWeighting",
    "MinSNR",
    "TableWeighting",
    "UniformWeighting",
    "Weighting",
    "register_weighting",
]


@frozen
class Weighting(Serializable):
    """The base of weightings. A subclass defines `table` and is registered under a name.

    >>> @register_weighting("severe")
    ... class Severe(Weighting):
    ...     "Twice the weight for the more severe half."
    ...     def table(self, restorer):
    ...         T = restorer.degradation.T
    ...         return 1.0 + (torch.arange(1, T + 1) > T / 2)
    >>> import degrade
    >>> from restore import Restorer
    >>> Severe().table(Restorer(torch.nn.Identity(), degrade.make("decolor", T=4))).tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    def table(self, restorer: Restorer) -> Tensor:
        """Return the weights (T,) of t = 1..T, finite and at least 0.

        Args:
            restorer: the restorer in training, with its `degradation` and `prediction_type`.

        Raises:
            ValueError: if the weighting makes no sense for this restorer.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method table(restorer) -> (T,)")

    def checked_table(self, restorer: Restorer) -> Tensor:
        """Return the weights (T,) float64 of t = 1..T, on the CPU.

        Raises:
            ValueError: if the weighting makes no sense for this restorer, or does not give T finite weights of at least
                0.
        """
        weights, T = self.table(restorer).to("cpu", torch.float64), restorer.degradation.T
        if weights.shape != (T,):
            raise ValueError(f"weighting {self.name!r} has {len(weights)} weights; give one for each t in 1..{T}")
        if not (weights.isfinite().all() and (weights >= 0).all()):
            raise ValueError(f"weighting {self.name!r} has weights that are negative or not finite")
        return weights


WEIGHTINGS = Registry(Weighting, "weighting", "restore.plugins")
register_weighting = WEIGHTINGS.register


# The type of a field that holds one.
AnyWeighting = Annotated[Weighting, PlainValidator(WEIGHTINGS.from_dict), PlainSerializer(Serializable.to_dict)]


@register_weighting("uniform")
class UniformWeighting(Weighting):
    """The weight 1 for every t."""

    def table(self, restorer: Restorer) -> Tensor:
        """Return (T,) ones."""
        return torch.ones(restorer.degradation.T)


@register_weighting("min_snr")
class MinSNR(Weighting):
    """The signal-to-noise ratio, limited: so neither slight nor severe noise dominates the gradient.

    Args:
        gamma: largest ratio SNR = a_t^2 / b_t^2 that counts.

    >>> import degrade
    >>> from restore import Restorer
    >>> D = degrade.make("gaussian_noise", T=1000)
    >>> w = MinSNR().table(Restorer(torch.nn.Identity(), D))
    >>> w.max().item(), bool(w[-1] < 1e-3)
    (5.0, True)
    """

    gamma: Annotated[float, Field(gt=0)] = 5.0

    def table(self, restorer: Restorer) -> Tensor:
        """Return the weights (T,) of t = 1..T for what the network predicts.

        Raises:
            ValueError: if the degradation is not x_t = a_t x0 + b_t z.
        """
        D = restorer.degradation
        if not D.additive:
            raise ValueError(
                f"weighting 'min_snr' needs x_t = a_t x0 + b_t z, which {D.name!r} is not; use weighting='uniform'"
            )
        like = torch.zeros(D.T, 1, 1, 1, dtype=torch.float64)
        a, b = (v.flatten() for v in D.coefficients(torch.arange(1, D.T + 1), like))
        snr = (a / b) ** 2  # infinite where there is no noise
        if restorer.prediction_type == "eps":
            return (self.gamma / snr).clamp(max=1)
        limited = snr.clamp(max=self.gamma)
        return limited / (snr + 1) if restorer.prediction_type == "v" else limited


@register_weighting("table")
class TableWeighting(Weighting):
    """A weight for every t, such as the inverse of the losses that were measured.

    Args:
        weights: T weights of t = 1..T.
    """

    weights: tuple[Annotated[float, Field(ge=0)], ...]

    def table(self, restorer: Restorer) -> Tensor:
        """Return `weights`."""
        return torch.tensor(self.weights, dtype=torch.float64)
