"""The reverse loop: one loop for every sampler, degradation and restorer.

It is a generator that yields every step it takes; progress bars, pictures and early stopping belong to whoever runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade import Degradation, Params, expand_level
from degrade.random import Generators
from samplers.steps.diffusion import Restore, Sampler
from samplers.timesteps import Times, validate_timesteps

__all__ = ["Transition", "direct", "sample", "trajectory"]


class Transition(NamedTuple):
    """One step of a walk: from x_t at severity t, by way of the guess x0_hat, to x_s at severity s."""

    t: int
    s: int
    x_t: Tensor
    x0_hat: Tensor
    x_s: Tensor
    z: Params


def trajectory(
    D: Degradation,
    R: Restore,
    step: Sampler,
    x_T: Tensor,
    z: Params = None,
    times: Times = None,
    generator: Generators = None,
) -> Iterator[Transition]:
    """Walk from the first of `times` to the last, yielding every step.

    Args:
        D: the degradation being undone.
        R: guesses the clean image: (x_t, t) -> x0_hat.
        step: how to walk from one severity to the next.
        x_T: (B, C, H, W) images at severity `times[0]`.
        z: what is random about D in `x_T`; may be None for a step that estimates it from x_t and x0_hat alone.
        times: falling severities within 0..T, such as `spaced_timesteps` returns; every level of D by default.
        generator: for steps that add noise; one for the batch, or one for each image.

    Raises:
        ValueError: at once if `times` does not fall within 0..T or the step does not apply to D.
    """
    visited = validate_timesteps(D.T, times)
    step.check_compatible(D)

    def walk(x: Tensor, z: Params) -> Iterator[Transition]:
        memory = None
        for t, s in pairwise(visited):
            x_s, x0_hat, z, memory = step(D, R, x, expand_level(t, x), expand_level(s, x), z, generator, memory)
            yield Transition(t, s, x, x0_hat, x_s, z)
            x = x_s

    # Only the walk is a generator, so that the arguments are looked at when they are given.
    return walk(x_T, z)


def sample(
    D: Degradation,
    R: Restore,
    step: Sampler,
    x_T: Tensor,
    z: Params = None,
    times: Times = None,
    generator: Generators = None,
) -> Tensor:
    """Return the images (B, C, H, W) at the end of `trajectory`, run in inference mode and with R in evaluation mode.

    The images themselves are ordinary tensors, which may be trained on. A step that needs gradients cannot be taken in
    inference mode: walk with `trajectory`.

    >>> import degrade
    >>> D = degrade.make("gaussian_noise", T=10)
    >>> x0 = torch.full((1, 1, 2, 2), 0.5)
    >>> z = torch.ones_like(x0)
    >>> from samplers.steps.diffusion import Algorithm2
    >>> x_0 = sample(D, lambda x_t, t: x0, Algorithm2(), D(x0, torch.tensor([10]), z), z)
    >>> torch.allclose(x_0, x0)
    True
    """
    walk = trajectory(D, R, step, x_T, z, times, generator)
    with inference_mode(R):
        for visit in walk:
            x_T = visit.x_s
    return x_T.clone()


def direct(R: Restore, x_t: Tensor, t: int) -> Tensor:
    """Return the one-shot restoration R(x_t, t), run in inference mode and with R in evaluation mode."""
    with inference_mode(R):
        x0_hat = R(x_t, expand_level(t, x_t))
    return x0_hat.clone()


@contextmanager
def inference_mode(R: Restore) -> Iterator[None]:
    """Work in inference mode, with a network in evaluation mode (no dropout) and back as it was afterwards.

    What is made here cannot be trained on; a copy made afterwards can.
    """
    modules = [m for m in R.modules() if m.training] if isinstance(R, nn.Module) else []
    for module in modules:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in modules:
            module.training = True
