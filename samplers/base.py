"""The contract of a sampler step: from severity t to severity s < t, with a restorer R.

    step(D, R, x_t, t, s, z, generator, memory) -> x_s, x0_hat, z, memory

A step is a pure function: state in, state out, randomness from the generator. It is called with one t and one s per
image and works for any t > s, so few-step sampling needs no other formula. It is given R, not the guess, so that it may
ask more than once. What a step wants to know at the next one (a running average, say) it returns as its `memory`, which
only it understands; the reverse loop hands it back, and starts with None.

A sampler is one small frozen class. Most ask R once and have only to say how to move: an `Algorithm`. Registered under
a name (`samplers.register_sampler`), a sampler can be chosen on a command line and rebuilt from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from degrade import Degradation, Params
from degrade.frozen import frozen
from degrade.random import Generators
from degrade.serializable import Serializable

__all__ = ["Algorithm", "Restore", "Sampler", "StepInput", "StepOutput"]

Restore = Callable[[Tensor, Tensor], Tensor]  # R: (x_t (B, C, H, W), t (B,)) -> x0_hat (B, C, H, W)


class StepOutput(NamedTuple):
    """Where a step has led: the images at severity s, the guess it used, the z that goes with x_s, and its memory."""

    x_s: Tensor
    x0_hat: Tensor
    z: Params
    memory: Any = None


class StepInput(NamedTuple):
    """Where a step stands: images x_t (B, C, H, W) at severities t (B,), on the way to s (B,); see `Sampler`."""

    x_t: Tensor
    t: Tensor
    s: Tensor
    z: Params = None
    generator: Generators = None
    memory: Any = None


@frozen
class Sampler(Serializable):
    """A sampler step; its fields are its arguments, and a subclass says how to `walk`."""

    def __call__(
        self,
        D: Degradation,
        R: Restore,
        x_t: Tensor,
        t: Tensor,
        s: Tensor,
        z: Params = None,
        generator: Generators = None,
        memory: Any = None,
    ) -> StepOutput:
        """Walk from t to s.

        Args:
            D: the degradation being undone.
            R: guesses the clean image.
            x_t: (B, C, H, W) images at severity t.
            t: (B,) int64 severities in 1..T.
            s: (B,) int64 severities, s < t.
            z: what is random about D, as the trajectory knows it so far.
            generator: for steps that add noise; one for the batch, or one for each image.
            memory: what this step returned as such the last time; None at the first.

        Raises:
            ValueError: if the step does not apply to `D`.
        """
        self.check_compatible(D)
        return self.walk(D, R, StepInput(x_t, t, s, z, generator, memory))

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the step does not apply to `D`; by default every degradation is accepted."""

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk from `at.t` to `at.s`, under a degradation that was accepted."""
        raise NotImplementedError(f"{type(self).__name__} does not define walk(D, R, at)")


@frozen
class Algorithm(Sampler):
    """A step with one guess: estimate z or keep it, `resample_params` it if need be, and `move`.

    Args:
        estimate: whether z is estimated at every step, or kept as the trajectory started ("fixed").
    """

    estimate: bool = True

    def walk(self, D: Degradation, R: Restore, at: StepInput) -> StepOutput:
        """Walk with one guess of R."""
        x0_hat = R(at.x_t, at.t)
        z = self.infer_params(D, at.x_t, x0_hat, at.t, at.z)
        z = self.resample_params(D, z, at.t, at.s, at.generator)
        return StepOutput(self.move(D, at.x_t, at.t, at.s, x0_hat, z), x0_hat, z)

    def infer_params(self, D: Degradation, x_t: Tensor, x0_hat: Tensor, t: Tensor, z: Params) -> Params:
        """Return the z that explains x_t if x0_hat were the clean image, or the one given where it is kept."""
        return D.estimate(x_t, x0_hat, t, z) if self.estimate else z

    def resample_params(self, D: Degradation, z: Params, t: Tensor, s: Tensor, generator: Generators) -> Params:
        """Return the z of x_s; by default the one given."""
        return z

    def move(self, D: Degradation, x_t: Tensor, t: Tensor, s: Tensor, x0_hat: Tensor, z: Params) -> Tensor:
        """Return x_s."""
        raise NotImplementedError(f"{type(self).__name__} does not define move(D, x_t, t, s, x0_hat, z)")
