"""The contract of a sampler step: from severity t to severity s < t, with a restorer R.

    step(D, R, x_t, t, s, z, generator, memory) -> x_s, x0_hat, z, memory

A step is a pure function: state in, state out, randomness from the generator. It is called with one t and one s per
image and works for any t > s, so few-step sampling needs no other formula. It is given R, not the guess, so that it may
ask more than once. What a step wants to know at the next one (a running average, say) it returns as its `memory`, which
only it understands; the reverse loop hands it back, and starts with None.

A sampler is one small frozen class. Most ask R once and have only to say how to move: an `Algorithm`. Registered under
a name (`samplers.register_step`), a sampler can be chosen on a command line and rebuilt from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from degrade import Degradation, Latent
from degrade.frozen import frozen
from degrade.random import Chance
from degrade.serializable import Named

__all__ = ["Algorithm", "Restore", "Stage", "Step", "Walked"]

Restore = Callable[[Tensor, Tensor], Tensor]  # R: (x_t (B, C, H, W), t (B,)) -> x0_hat (B, C, H, W)


class Walked(NamedTuple):
    """Where a step has led: the images at severity s, the guess it used, the z that goes with x_s, and its memory."""

    x_s: Tensor
    x0_hat: Tensor
    z: Latent
    memory: Any = None


class Stage(NamedTuple):
    """Where a step stands: images x_t (B, C, H, W) at severities t (B,), on the way to s (B,); see `Step`."""

    x_t: Tensor
    t: Tensor
    s: Tensor
    z: Latent = None
    generator: Chance = None
    memory: Any = None


@frozen
class Step(Named):
    """A sampler step; its fields are its arguments, and a subclass says how to `walk`."""

    def __call__(
        self,
        D: Degradation,
        R: Restore,
        x_t: Tensor,
        t: Tensor,
        s: Tensor,
        z: Latent = None,
        generator: Chance = None,
        memory: Any = None,
    ) -> Walked:
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
        self.accept(D)
        return self.walk(D, R, Stage(x_t, t, s, z, generator, memory))

    def accept(self, D: Degradation) -> None:
        """Raise ValueError if the step does not apply to `D`; by default every degradation is accepted."""

    def walk(self, D: Degradation, R: Restore, at: Stage) -> Walked:
        """Walk from `at.t` to `at.s`, under a degradation that was accepted."""
        raise NotImplementedError(f"{type(self).__name__} does not define walk(D, R, at)")


@frozen
class Algorithm(Step):
    """A step with one guess: estimate z or keep it, `renew` it if need be, and `move`.

    Args:
        estimate: whether z is estimated at every step, or kept as the trajectory started ("fixed").
    """

    estimate: bool = True

    def walk(self, D: Degradation, R: Restore, at: Stage) -> Walked:
        """Walk with one guess of R."""
        x0_hat = R(at.x_t, at.t)
        z = self.explain(D, at.x_t, x0_hat, at.t, at.z)
        z = self.renew(D, z, at.t, at.s, at.generator)
        return Walked(self.move(D, at.x_t, at.t, at.s, x0_hat, z), x0_hat, z)

    def explain(self, D: Degradation, x_t: Tensor, x0_hat: Tensor, t: Tensor, z: Latent) -> Latent:
        """Return the z that explains x_t if x0_hat were the clean image, or the one given where it is kept."""
        return D.estimate(x_t, x0_hat, t, z) if self.estimate else z

    def renew(self, D: Degradation, z: Latent, t: Tensor, s: Tensor, generator: Chance) -> Latent:
        """Return the z of x_s; by default the one given."""
        return z

    def move(self, D: Degradation, x_t: Tensor, t: Tensor, s: Tensor, x0_hat: Tensor, z: Latent) -> Tensor:
        """Return x_s."""
        raise NotImplementedError(f"{type(self).__name__} does not define move(D, x_t, t, s, x0_hat, z)")
