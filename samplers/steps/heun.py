"""Heun's method for Algorithm 2.

Algorithm 2 is Euler's method: it moves by the change of D under the guess at x_t. Heun's looks at the guess where that
move ends, too, and takes the mean of the two changes:

    d_1 = D(x0_hat, s, z) - D(x0_hat, t, z),       x0_hat = R(x_t, t)
    d_2 = D(x0_hat', s, z') - D(x0_hat', t, z'),   x0_hat' = R(x_t + d_1, s)
    x_s = x_t + (d_1 + d_2) / 2

(Ruehling Cachay et al., "DYffusion", arXiv 2306.01984, 2023, who read cold sampling as Euler's method and try Heun's;
for noise it is in the spirit of Karras et al., arXiv 2206.00364, 2022.) It asks R twice a step. R knows no severity 0,
so the step to the clean level is Euler's.
"""

from __future__ import annotations

import torch

from degrade import Degradation
from samplers.base import Algorithm, Restore, StepInput, StepOutput
from samplers.registry import register_sampler

__all__ = ["Heun"]


@register_sampler("heun")
class Heun(Algorithm):
    """x_s = x_t + the mean of the changes of D under the guess at x_t and under the guess where that would lead.

    >>> import degrade
    >>> from samplers import Algorithm2, sample
    >>> D = degrade.make("interpolation", T=20, schedule="rectified")
    >>> half, x_T = (lambda x_t, t: x_t / 2), torch.ones(1, 1, 1, 1)  # infinitely small steps give (t / T)^(1/2)
    >>> [sample(D, half, step, x_T, None, [20, 10, 5]).item() for step in (Algorithm2(), Heun())]
    [0.5625, 0.47265625]
    """

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk with two guesses of R; the one returned is the first."""
        x_t, t, s = at.x_t, at.t, at.s
        x0_hat = R(x_t, t)
        z = self.infer_params(D, x_t, x0_hat, t, at.z)
        first = D.delta(x0_hat, t, s, z)
        x_s = x_t + first
        # Where looking is free, R is not asked in vain; elsewhere it would wait for the device.
        if s.device.type == "cpu" and not torch.compiler.is_compiling() and not s.any():
            return StepOutput(x_s, x0_hat, z)
        level = s.clamp(min=1)  # stands in for 0, where nothing of it is used
        again = R(x_s, level)
        second = D.delta(again, t, s, self.infer_params(D, x_s, again, level, z))
        inside = (s > 0).view(-1, 1, 1, 1)
        return StepOutput(torch.where(inside, x_t + (first + second) / 2, x_s), x0_hat, z)
