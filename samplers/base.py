"""The contract of a sampler: one step from severity t to severity s < t, with a restorer R.

    sampler.step(R, StepInput(x_t, t, s, z, generator, state)) -> StepOutput(x_s, x0_hat, z, state)

R is a `restore.BaseRestorer`: R(x_t, t) = x0_hat, and D = R.degradation is what it undoes. A step is a pure function of
its arguments; its randomness comes from the generator. It takes one t and one s for each image and works for every
t > s, so sampling with few steps needs no other formula. It is given R and not x0_hat, so that it may ask R more than
once. What a step needs to know at the next one (a running average, say) it returns as `state`, whose content only that
sampler understands; the loop passes it on, and starts with None.

A sampler is one small frozen class. Most need one prediction and derive from `SinglePrediction`, which leaves them one
formula to write. Registered under a name (`samplers.register_sampler`), a sampler can be chosen on a command line and
rebuilt from a checkpoint.

**Identities**, which the tests cite by number (float64, to 1e-11 or better):

1. `Algorithm2` with estimated z on Gaussian noise is `DDIM(eta=0)`, for evenly spaced timesteps and any others.
2. On an additive degradation, x_t = a_t x0 + b_t z, `Algorithm1` equals `Algorithm2` where z is estimated.
3. With an R that returns the true x0, both algorithms visit exactly D(x0, s, z), for every registered degradation.
4. `Ancestral(eta=1)` is the posterior q(x_s | x_t, x0) of Ho et al. (arXiv 2006.11239, eq. 7), in mean and variance.
5. If D(x, t) = x + t e, `Algorithm2` returns x0 whatever R says (Bansal et al., arXiv 2208.09392, section 3.2).
6. For an affine D the error of `Algorithm2` obeys e_s = e_t + (A_s - A_t)(x0_hat - x0), A_t the linear part of D.
7. Where R is the exact posterior mean (Gaussian data, a finite set), samples have the mean and covariance of the data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from degrade import Degradation, Params
from degrade.frozen import frozen
from degrade.random import Generators
from degrade.serializable import Serializable
from restore import BaseRestorer

__all__ = ["Sampler", "SinglePrediction", "StepInput", "StepOutput"]


class StepInput(NamedTuple):
    """What a step starts from.

    Args:
        x_t: (B, C, H, W) images at severities t.
        t: (B,) int64 severities in 1..T.
        s: (B,) int64 severities to go to, 0 <= s < t.
        z: parameters of the degradation in x_t, as far as the trajectory knows them.
        generator: for samplers that add noise; one for the batch, or a sequence with one for each image.
        state: the state that the same sampler returned at the previous step; None at the first.
    """

    x_t: Tensor
    t: Tensor
    s: Tensor
    z: Params = None
    generator: Generators = None
    state: Any = None


class StepOutput(NamedTuple):
    """What a step returns.

    Args:
        x_s: (B, C, H, W) images at severities s.
        x0_hat: (B, C, H, W) the prediction that was used.
        z: parameters of the degradation in x_s.
        state: state of the sampler, which the next step receives.
    """

    x_s: Tensor
    x0_hat: Tensor
    z: Params
    state: Any = None


@frozen
class Sampler(Serializable):
    """A sampler: its fields are its arguments, and a subclass implements `step`."""

    def check_compatible(self, D: Degradation) -> None:
        """Raise ValueError if the sampler cannot undo `D`; by default every degradation is accepted.

        It is called once where a sampler and a restorer are brought together (`trajectory`, `generate`, a program),
        and not at every step.
        """

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the images at severities `at.s`, for a degradation that `check_compatible` accepts."""
        raise NotImplementedError(f"{type(self).__name__} does not define step(R, at)")


@frozen
class SinglePrediction(Sampler):
    """A sampler that asks R once in a step; a subclass implements `update`, and overrides the other two if need be.

    >>> import torch, degrade, restore, samplers
    >>> @samplers.register_sampler("halfway_example")
    ... class Halfway(samplers.SinglePrediction):
    ...     '''The mean of Algorithm 1 and Algorithm 2.'''
    ...
    ...     def update(self, D, at, x0_hat, z):
    ...         return (D(x0_hat, at.s, z) + at.x_t + D.delta(x0_hat, at.t, at.s, z)) / 2
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.5 * x_t, degrade.make("decolor", T=4))
    >>> samplers.sample(R, "halfway_example", torch.ones(1, 3, 8, 8), steps=2).shape
    torch.Size([1, 3, 8, 8])
    """

    def step(self, R: BaseRestorer, at: StepInput) -> StepOutput:
        """Return the images at severities `at.s`, from one prediction of R."""
        D, x0_hat = R.degradation, R(at.x_t, at.t)
        z = self.resample_params(D, at, self.infer_params(D, at, x0_hat))
        return StepOutput(self.update(D, at, x0_hat, z), x0_hat, z)

    def infer_params(self, D: Degradation, at: StepInput, x0_hat: Tensor) -> Params:
        """Return the z of x_t: by default the one that explains x_t if x0_hat were the clean image."""
        return D.estimate(at.x_t, x0_hat, at.t, at.z)

    def resample_params(self, D: Degradation, at: StepInput, z: Params) -> Params:
        """Return the z of x_s, given that of x_t; by default the same."""
        return z

    def update(self, D: Degradation, at: StepInput, x0_hat: Tensor, z: Params) -> Tensor:
        """Return x_s (B, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(D, at, x0_hat, z)")
