"""Equal-error timesteps: few steps, spaced by how much the prediction of R changes, not by t.

A step from t to s uses one prediction, x0_hat = R(x_t, t), while the prediction of a finer trajectory would have
changed on the way; the error of the step grows with that change. So the trajectory is cut where the changes, summed
from 0 up,

    C(t) = sum over u = 1..t of |R(x_u, u) - R(x_{u-1}, u-1)|,    x_u: the trajectory through all levels

reach equal shares of C(T). C is measured once, as a mean over images and their pixels, on trajectories from degraded
images, and serves every number of steps. It is measured on the states of the trajectory and not on D(x0, u, z): where R
is imperfect the two differ, and so do the predictions. R is not defined at severity 0, so the first term is taken to be
as large as the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from degrade import expand_level
from degrade.precision import to_float64
from degrade.random import Generators
from restore import BaseRestorer
from samplers.base import Sampler
from samplers.loop import inference_mode, trajectory
from samplers.timesteps import Steps, spaced_timesteps, validate_timesteps

__all__ = ["cumulative_change", "equal_change_timesteps", "equal_error_timesteps"]


def cumulative_change(
    R: BaseRestorer,
    x0: Tensor,
    generator: Generators = None,
    steps: Steps = None,
    sampler: Sampler | str = "algorithm2",
) -> list[float]:
    """Return C(0), ..., C(t_0): the change of R's prediction on trajectories from severity 0 up to each severity.

    Args:
        R: the restorer.
        x0: (B, C, H, W) clean images; some dozens suffice.
        generator: for the z they are degraded with, and for the noise of the sampler.
        steps: steps of the measured trajectory: a number of evenly spaced steps from T to 0, or falling severities from
            any
            t_0 to 0. C is linear between them. Every level by default.
        sampler: sampler of the measured trajectory, or its name.

    Raises:
        ValueError: if `steps` does not fit T or does not end at 0.

    >>> import degrade, restore
    >>> R = restore.FunctionRestorer(lambda x_t, t: torch.ones_like(x_t), degrade.make("decolor", T=4))
    >>> cumulative_change(R, torch.zeros(2, 3, 4, 4))
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    D = R.degradation
    severities = validate_timesteps(D.T, steps)
    if severities[-1]:
        raise ValueError(f"steps end at {severities[-1]}; the change is measured from severity 0 up: end them at 0")
    z = D.draw(x0, generator)
    with inference_mode(R):
        transitions = trajectory(R, sampler, D(x0, expand_level(severities[0], x0), z), z, severities, generator)
        # For each level between two that the trajectory visits.
        rates = [to_float64((b.x0_hat - a.x0_hat).abs()).mean() / (a.t - b.t) for a, b in pairwise(transitions)]
    known = torch.stack(rates[::-1]).tolist() if rates else [0.0]
    change = [0.0]
    for low, high, rate in zip(severities[:0:-1], severities[-2::-1], [known[0], *known]):
        change += [change[-1] + rate * (t - low) for t in range(low + 1, high + 1)]
    return change


def equal_change_timesteps(change: Sequence[float], steps: int) -> list[int]:
    """Return `steps` + 1 severities from T to 0 between which C changes by as equal shares as whole numbers can have.

    Args:
        change: C(0), ..., C(T), never falling; where it does not rise at all, steps are evenly spaced.
        steps: number of steps, in 1..T.

    Raises:
        ValueError: if `steps` is not in 1..T.

    >>> equal_change_timesteps([0, 1, 2, 3, 4], 2), equal_change_timesteps([0, 0, 0, 1, 4], 2)
    ([4, 2, 0], [4, 3, 0])
    """
    T = len(change) - 1
    even = spaced_timesteps(T, steps)
    total = change[-1] - change[0]
    if not total > 0:
        return even
    times, t = [0], 0
    for k in range(1, steps):
        target = change[0] + total * k / steps
        while t + 1 < T and change[t + 1] < target:
            t += 1
        rise = change[t + 1] - change[t]  # 0 where the shares are too small for floating point
        exact = t + (target - change[t]) / rise if rise else t
        # Half down, as `spaced_timesteps` rounds; a level for each of the steps before and one for each to come.
        rounded = int(-(-(exact - 0.5 - 1e-9 * T) // 1))
        times.append(min(max(rounded, times[-1] + 1), T - (steps - k)))
    return [T, *times[:0:-1], 0]


def equal_error_timesteps(
    R: BaseRestorer, x0: Tensor, steps: int, generator: Generators = None, start: int | None = None
) -> list[int]:
    """Return `steps` + 1 severities from `start` to 0, each step with an equal share of the change of R's prediction.

    Args:
        R: the restorer.
        x0: (B, C, H, W) clean images to measure on.
        steps: number of steps, 1..start.
        generator: for the z they are degraded with.
        start: the first severity; T by default.

    Raises:
        ValueError: if `steps` is not in 1..start.

    >>> import degrade, restore
    >>> early = lambda x_t, t: 1 - t.clamp(max=20).view(-1, 1, 1, 1) / 20  # R changes up to t = 20 only
    >>> R = restore.FunctionRestorer(early, degrade.make("gaussian_noise", T=100))
    >>> equal_error_timesteps(R, torch.ones(1, 1, 1, 1), 4)
    [100, 15, 10, 5, 0]
    """
    start = R.degradation.T if start is None else start
    spaced_timesteps(start, steps)  # refuse what cannot be before measuring
    return equal_change_timesteps(cumulative_change(R, x0, generator, spaced_timesteps(start)), steps)
