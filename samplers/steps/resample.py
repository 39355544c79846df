"""Resampling: walk a stretch, degrade it again, and walk it anew.

A walk fills in what is missing without having seen, at first, how it goes with what is there. Lugmayr et al.
("RePaint", arXiv 2201.09865, 2022) therefore go back up after each stretch, by the forward process, and walk it again:

    repeat:  x_s = step(x_t);  x_t ~ q(x_t | x_s)

The way up is, for Gaussian noise, q(x_t | x_s) = N((a_t / a_s) x_s, b_t^2 - (a_t b_s / a_s)^2), which knows nothing of
a guess. A degradation without fresh randomness is climbed by its own change under the last guess,

    x_t = x_s + D(x0_hat, t, z) - D(x0_hat, s, z)

so Algorithm 1 goes back to D(x0_hat, t, z) and asks R what it makes of its own guess: a fixed-point iteration.
Algorithm 2 comes back to the very x_t it left, and repeating it changes nothing: there is nothing to draw anew. The
stretch is the pair (t, s): `spaced_timesteps(250, 25)` jumps ten levels. With repeats = 1 it is the inner step. What a
step gets wrong because it is long, it gets wrong each time: many repeats want short stretches.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from degrade import Degradation, GaussianNoise, Params
from degrade.random import Generators, randn_like
from samplers.base import Restore, Sampler, StepInput, StepOutput
from samplers.registry import AnySampler, register_sampler
from samplers.steps.diffusion import DDPM

__all__ = ["RePaint", "renoise"]


def renoise(
    D: Degradation, x_s: Tensor, s: Tensor, t: Tensor, x0_hat: Tensor, z: Params, generator: Generators = None
) -> tuple[Tensor, Params]:
    """Return images at severity t > s that degrade x_s further, and the z in them.

    Args:
        D: the degradation.
        x_s: (B, C, H, W) images at severity s.
        s: (B,) int64 severities.
        t: (B,) int64 severities, t > s.
        x0_hat: the guess of their clean images.
        z: what is random about D in x_s.
        generator: of the noise that is added, where D is Gaussian noise.
    """
    if not isinstance(D, GaussianNoise):
        return x_s - D.delta(x0_hat, t, s, z), z
    (a_t, b_t), (a_s, b_s) = D.coefficients(t, x_s), D.coefficients(s, x_s)
    kept = a_t / a_s
    x_t = kept * x_s + (b_t**2 - (kept * b_s) ** 2).clamp(min=0).sqrt() * randn_like(x_s, generator)
    x_t = x_t.to(x_s.dtype)  # the coefficients have the compute precision, which is float32 at least
    return x_t, D.estimate(x_t, x0_hat, t, z)


@register_sampler("resample")
class RePaint(Sampler):
    """Another step, taken `repeats` times with a way back up between.

    Args:
        step: the other step.
        repeats: how often the stretch from t to s is walked.

    >>> from samplers.registry import parse_sampler
    >>> parse_sampler("resample:repeats=3,step=ddim:eta=0.5").step.eta
    0.5
    """

    step: AnySampler = DDPM()
    repeats: Annotated[int, Field(ge=1)] = 10

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the inner step does not apply to `D`."""
        self.step.check_compatible(D)

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk as the inner step would, as often as it is repeated."""
        walked = self.step.walk(D, R, at)
        for _ in range(self.repeats - 1):
            x_t, z = renoise(D, walked.x_s, at.s, at.t, walked.x0_hat, walked.z, at.generator)
            walked = self.step.walk(D, R, at._replace(x_t=x_t, z=z, memory=walked.memory))
        return walked
