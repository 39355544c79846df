"""Exponential averaging of the guess over the steps of a walk.

    x0_bar <- momentum x0_bar + (1 - momentum) R(x_t, t),    from the first guess on

and the inner step is given x0_bar for the guess. What one guess gets wrong at random, the average gets less wrong; what
a guess at high severity could not know yet lingers. With momentum = 0 it is the inner step.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation
from samplers.base import Restore, Sampler, StepInput, StepOutput
from samplers.registry import AnySampler, register_sampler
from samplers.steps.diffusion import Algorithm2

__all__ = ["AveragedPrediction"]


@register_sampler("average")
class AveragedPrediction(Sampler):
    """Another step, with the running average of the guesses for its guess.

    Args:
        step: the other step.
        momentum: how much of the old average stays, in [0, 1).

    >>> AveragedPrediction().arguments
    {'step': {'name': 'algorithm2', 'arguments': {'estimate': True}}, 'momentum': 0.5}
    """

    step: AnySampler = Algorithm2()
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the inner step does not apply to `D`."""
        self.step.check_compatible(D)

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk as the inner step would; the memory is the average so far, and the inner step's memory."""
        average, inner = at.memory or (None, None)

        def averaged(x: Tensor, level: Tensor) -> Tensor:
            x0_hat = R(x, level)
            return x0_hat if average is None else torch.lerp(x0_hat, average, self.momentum)

        walked = self.step.walk(D, averaged, at._replace(memory=inner))
        return walked._replace(memory=(walked.x0_hat, walked.memory))
