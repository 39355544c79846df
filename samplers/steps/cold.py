"""Samplers for any degradation: Algorithm 1, Algorithm 2, Heun's method and InDI.

With x0_hat = R(x_t, t), and z the parameters that explain x_t if x0_hat were the clean image, z = D.estimate(...):

    Algorithm 1    x_s = D(x0_hat, s, z)
    Algorithm 2    x_s = x_t + D(x0_hat, s, z) - D(x0_hat, t, z)
    InDI           x_s = (s / t) x_t + (1 - s / t) x0_hat

(Bansal et al., arXiv 2208.09392, 2022; Delbracio and Milanfar, arXiv 2303.11435, 2023, without its noise.) With
`estimate=False` the first two keep the z that the trajectory started with, the paper's "fixed noise".

Algorithm 2 is Euler's method. Heun's method makes a second prediction where that step ends, and takes the mean of both
changes:

    d_1 = D(x0_hat, s, z) - D(x0_hat, t, z),       x0_hat = R(x_t, t)
    d_2 = D(x0_hat', s, z') - D(x0_hat', t, z'),   x0_hat' = R(x_t + d_1, s)
    x_s = x_t + (d_1 + d_2) / 2

(Ruehling Cachay et al., "DYffusion", arXiv 2306.01984, 2023, who read cold sampling as Euler's method and try Heun's;
for noise it is in the spirit of Karras et al., arXiv 2206.00364, 2022.) R is not defined at severity 0, so the step to
the clean level is Euler's.

InDI applies no degradation at all: it is the cheapest and needs no z. Where x_t = (1 - t / T) x0 + (t / T) z, the
rectified interpolation, it equals Algorithms 1 and 2 with estimated z. Elsewhere its states leave the path of D, and R
sees images that it was not trained on (for blur, the sum of a blurred and a sharp image). That may still work; it is
not exact even for a perfect R.
"""

from __future__ import annotations

import torch
from torch import Tensor

from degrade import Degradation, Params
from degrade.frozen import frozen
from degrade.functional.levels import compute_dtype
from restore import BaseRestorer
from samplers.base import Sampler, SinglePrediction, StepInput, StepOutput
from samplers.registry import register_sampler

__all__ = ["Algorithm1", "Algorithm2", "Heun", "InDI"]


@frozen
class _ColdSampler(SinglePrediction):
    estimate: bool = True

    def infer_params(self, D: Degradation, at: StepInput, x0_hat: Tensor) -> Params:
        """Return the estimated z, or the one that the trajectory started with."""
        return super().infer_params(D, at, x0_hat) if self.estimate else at.z


@register_sampler("algorithm1")
class Algorithm1(_ColdSampler):
    """x_s = D(x0_hat, s, z): degrade the prediction again. Every step starts from the full error of the prediction.

    Args:
        estimate: whether z is estimated at every step (True) or kept as the trajectory started (False).

    >>> import degrade, restore
    >>> D = degrade.make("gaussian_noise", T=2, schedule="rectified")
    >>> R = restore.FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), D)
    >>> at = StepInput(torch.full((1, 1, 1, 1), 4.0), t=torch.tensor([2]), s=torch.tensor([1]))
    >>> Algorithm1().step(R, at).x_s.item()
    2.0
    """

    def update(self, D: Degradation, at: StepInput, x0_hat: Tensor, z: Params) -> Tensor:
        """Return D(x0_hat, s, z)."""
        return D(x0_hat, at.s, z)


@register_sampler("algorithm2")
class Algorithm2(_ColdSampler):
    """x_s = x_t + D(x0_hat, s, z) - D(x0_hat, t, z): errors of the prediction that s and t share cancel.

    Args:
        estimate: whether z is estimated at every step (True) or kept as the trajectory started (False).

    >>> import degrade, restore
    >>> D = degrade.make("interpolation", T=2, schedule="rectified")
    >>> R = restore.FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), D)
    >>> x_T = torch.full((1, 1, 1, 1), 4.0)
    >>> Algorithm2(estimate=False).step(R, StepInput(x_T, torch.tensor([2]), torch.tensor([1]), z=x_T)).x_s.item()
    2.0
    """

    def update(self, D: Degradation, at: StepInput, x0_hat: Tensor, z: Params) -> Tensor:
        """Return x_t + (D(x0_hat, s, z) - D(x0_hat, t, z))."""
        return at.x_t + D.delta(x0_hat, at.t, at.s, z)


@register_sampler("heun")
class Heun(_ColdSampler):
    """x_s = x_t + the mean of two changes of D: for the prediction at x_t, and for the one where Algorithm 2 ends.

    Args:
        estimate: whether z is estimated at every step (True) or kept as the trajectory started (False).

    >>> import degrade, restore
    >>> from samplers import sample
    >>> D = degrade.make("interpolation", T=20, schedule="rectified")
    >>> half = restore.FunctionRestorer(lambda x_t, t: x_t / 2, D)
    >>> x_T = torch.ones(1, 1, 1, 1)  # infinitely many steps give (t / T)^(1/2) = 0.5
    >>> [sample(half, sampler, x_T, steps=[20, 10, 5]).item() for sampler in (Algorithm2(), Heun())]
    [0.5625, 0.47265625]
    """

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the images at severities `at.s`, from two predictions of R; x0_hat is the first."""
        D, x0_hat = R.degradation, R(at.x_t, at.t)
        z = self.infer_params(D, at, x0_hat)
        first = D.delta(x0_hat, at.t, at.s, z)
        euler = at.x_t + first
        # On the CPU the second call is skipped where it would not be used, at s = 0 for every image. On an accelerator
        # the test would make the host wait for the device at every step, which costs more than one call in vain at the
        # last step.
        if at.s.device.type == "cpu" and not torch.compiler.is_compiling() and not at.s.any():
            return StepOutput(euler, x0_hat, z)
        level = at.s.clamp(min=1)  # in the place of 0, where the result is not used
        again = R(euler, level)
        second = D.delta(again, at.t, at.s, self.infer_params(D, at._replace(x_t=euler, t=level), again))
        inside = (at.s > 0).view(-1, 1, 1, 1)
        return StepOutput(torch.where(inside, at.x_t + (first + second) / 2, euler), x0_hat, z)


@register_sampler("indi")
class InDI(Sampler):
    """x_s = (s / t) x_t + (1 - s / t) x0_hat, whatever D is; z is passed on unchanged.

    >>> import degrade, restore
    >>> R = restore.FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), degrade.make("blur", T=8))
    >>> InDI().step(R, StepInput(torch.ones(1, 1, 2, 2), torch.tensor([8]), torch.tensor([6]))).x_s.mean().item()
    0.75
    """

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the images at severities `at.s`, on the straight line between x_t and the prediction."""
        x0_hat = R(at.x_t, at.t)
        # In float32 at least: half precisions cannot represent t = 999, and bfloat16 not even t = 257.
        t, s = (level.to(compute_dtype(at.x_t.dtype)).view(-1, 1, 1, 1) for level in (at.t, at.s))
        share = s / t
        return StepOutput((share * at.x_t + (1 - share) * x0_hat).to(at.x_t.dtype), x0_hat, at.z)
