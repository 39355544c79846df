"""The sampling loop: one loop for every sampler and restorer.

`trajectory` is a generator that yields every transition from t to s; progress bars, pictures and early stopping belong
to its caller. `sample` returns where it ends, `direct` the restoration with one prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade import Params, expand_level
from degrade.random import Generators
from restore import BaseRestorer
from samplers.base import Sampler, StepInput
from samplers.registry import parse_sampler
from samplers.timesteps import Steps, validate_timesteps

__all__ = ["Transition", "direct", "inference_mode", "sample", "trajectory", "validate_trajectory"]


class Transition(NamedTuple):
    """One step of a trajectory: from x_t at severity t, with the prediction x0_hat, to x_s at severity s.

    The images x_t, x0_hat and x_s are (B, C, H, W); z are the parameters of the degradation in x_s.
    """

    t: int
    s: int
    x_t: Tensor
    x0_hat: Tensor
    x_s: Tensor
    z: Params


def trajectory(
    R: BaseRestorer,
    sampler: Sampler | str,
    x_T: Tensor,
    z: Params = None,
    steps: Steps = None,
    generator: Generators = None,
) -> Iterator[Transition]:
    """Sample from the first severity of `steps` to the last, yielding every transition.

    Args:
        R: the restorer, which carries the degradation it undoes.
        sampler: a sampler, or its name as in `parse_sampler`: "algorithm2", "ddim:eta=0.5".
        x_T: (B, C, H, W) images at the first severity.
        z: parameters of the degradation in `x_T`; None for a sampler that estimates them from x_t and x0_hat alone.
        steps: a number of evenly spaced steps from T to 0; or falling severities within 0..T, which need not start at
            T nor end at 0; or None for one step per level.
        generator: for samplers that add noise; one for the batch, or a sequence with one for each image.

    Raises:
        ValueError: at the call if `steps` does not fit T, or the sampler cannot undo the degradation of R.

    >>> import degrade, restore
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.9 * x_t, degrade.make("decolor", T=10))
    >>> [(at.t, at.s) for at in trajectory(R, "algorithm2", torch.ones(1, 3, 4, 4), steps=[8, 3, 0])]
    [(8, 3), (3, 0)]
    """
    sampler, severities = validate_trajectory(R, sampler, steps)

    def transitions(x: Tensor, z: Params) -> Iterator[Transition]:
        state = None
        for t, s in pairwise(severities):
            out = sampler.step(R, StepInput(x, expand_level(t, x), expand_level(s, x), z, generator, state))
            yield Transition(t, s, x, out.x0_hat, out.x_s, out.z)
            x, _, z, state = out

    # Only the inner function is a generator, so that the arguments are validated at the call.
    return transitions(x_T, z)


def sample(
    R: BaseRestorer,
    sampler: Sampler | str,
    x_T: Tensor,
    z: Params = None,
    steps: Steps = None,
    generator: Generators = None,
) -> Tensor:
    """Return the images (B, C, H, W) at the end of a `trajectory`, which has the same arguments and errors.

    It runs in inference mode and with R in evaluation mode; the returned images are ordinary tensors, which may be
    trained on. A sampler that needs gradients cannot run in inference mode: use `trajectory`.

    >>> import degrade, restore
    >>> D = degrade.make("gaussian_noise", T=10)
    >>> x0 = torch.full((1, 1, 2, 2), 0.5)
    >>> R = restore.FunctionRestorer(lambda x_t, t: x0, D)
    >>> x_T = D(x0, torch.tensor([10]), torch.ones_like(x0))
    >>> torch.allclose(sample(R, "algorithm2", x_T, steps=5), x0)
    True
    """
    transitions = trajectory(R, sampler, x_T, z, steps, generator)
    with inference_mode(R):
        for transition in transitions:
            x_T = transition.x_s
    return x_T.clone()


def direct(R: BaseRestorer, x_t: Tensor, t: int) -> Tensor:
    """Return the restoration with one prediction, R(x_t, t) (B, C, H, W); R in evaluation mode, without gradients.

    >>> import degrade, restore
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.5 * x_t, degrade.make("decolor", T=10))
    >>> direct(R, torch.ones(1, 3, 1, 1), 4).flatten().tolist()
    [0.5, 0.5, 0.5]
    """
    _validate_restorer(R)
    with inference_mode(R):
        x0_hat: Tensor = R(x_t, expand_level(t, x_t))
    return x0_hat.clone()


def validate_trajectory(R: BaseRestorer, sampler: Sampler | str, steps: Steps) -> tuple[Sampler, list[int]]:
    """Return the sampler, and the severities that it visits.

    Raises:
        ValueError: if R is no restorer, `steps` does not fit T, or the sampler cannot undo the degradation of R.
    """
    _validate_restorer(R)
    sampler, severities = parse_sampler(sampler), validate_timesteps(R.degradation.T, steps)
    sampler.check_compatible(R.degradation)
    return sampler, severities


def _validate_restorer(R: object) -> None:
    if not isinstance(R, BaseRestorer):
        raise ValueError(f"R is {R!r}, not a restorer; pass restore.FunctionRestorer(function, D) for a function")


@contextmanager
def inference_mode(R: nn.Module) -> Iterator[None]:
    """Run in inference mode, with R in evaluation mode (no dropout), and set R back as it was afterwards.

    Tensors made here cannot be trained on; copies of them made afterwards can.
    """
    modules = [module for module in R.modules() if module.training]
    for module in modules:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in modules:
            module.training = True
