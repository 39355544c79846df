"""Equal-error respacing: the severities of a walk with few steps, where R's guess changes, not where t does.

From t to s a step stands on one guess, x0_hat = R(x_t, t), while the guess of a finer walk would have changed on the
way; the error of the step grows with that change. So the walk is cut where the changes, summed from 0 up,

    C(t) = sum over u = 1..t of |R(x_u, u) - R(x_{u-1}, u-1)|,    x_u: the walk through all levels

reach equal shares of C(T). C is measured once, as a mean over images and their pixels, on a walk of degraded images
whose truth is at hand, and serves every number of steps. The walk's own images tell more than D(x0, u, z): where R is
imperfect it leaves them, and changes its mind about what it left. R knows no severity 0, so the first term is taken to
be as large as the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from degrade import Degradation, expand_level
from degrade.precision import to_float64
from degrade.random import Generators
from samplers.base import Restore, Sampler
from samplers.loop import inference_mode, trajectory
from samplers.steps.diffusion import Algorithm2
from samplers.timesteps import spaced_timesteps

__all__ = ["cumulative_change", "equal_change_timesteps", "equal_error_timesteps"]


def cumulative_change(
    D: Degradation,
    R: Restore,
    x0: Tensor,
    generator: Generators = None,
    start: int | None = None,
    levels: int | None = None,
    step: Sampler = Algorithm2(),
) -> list[float]:
    """Return C(0), ..., C(start): how much the guess of R changes on a walk from severity 0 up to each severity.

    Args:
        D: the degradation.
        R: guesses the clean image.
        x0: (B, C, H, W) clean images; some dozens do.
        generator: of the z they are degraded with, and of the step's noise.
        start: the severity that walks start from; T by default.
        levels: the steps of the measured walk, evenly spaced, C running straight between them; all levels by default.
        step: of the measured walk.

    >>> import degrade
    >>> D = degrade.make("decolor", T=4)
    >>> cumulative_change(D, lambda x_t, t: torch.ones_like(x_t), torch.zeros(2, 3, 4, 4))
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    start = D.T if start is None else start
    z = D.draw(x0, generator)
    times = spaced_timesteps(start, None if levels is None else min(levels, start))
    with inference_mode(R):
        walk = trajectory(D, R, step, D(x0, expand_level(start, x0), z), z, times, generator)
        # For each level between two that the walk visits.
        rates = [to_float64((b.x0_hat - a.x0_hat).abs()).mean() / (a.t - b.t) for a, b in pairwise(walk)]
    known = torch.stack(rates[::-1]).tolist() if rates else [0.0]
    change = [0.0]
    for low, high, rate in zip(times[:0:-1], times[-2::-1], [known[0], *known]):
        change += [change[-1] + rate * (t - low) for t in range(low + 1, high + 1)]
    return change


def equal_change_timesteps(change: Sequence[float], steps: int) -> list[int]:
    """Return `steps` + 1 severities from T to 0 between which C changes by as equal shares as whole numbers can have.

    Args:
        change: C(0), ..., C(T), never falling; where it does not rise at all, steps are evenly spaced.
        steps: how many, 1..T.

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
    D: Degradation, R: Restore, x0: Tensor, steps: int, generator: Generators = None, start: int | None = None
) -> list[int]:
    """Return `steps` + 1 severities from `start` to 0, each step with an equal share of the change of R's guess.

    Args:
        D: the degradation.
        R: guesses the clean image.
        x0: (B, C, H, W) clean images to measure on.
        steps: how many steps the walk takes, 1..start.
        generator: of the z they are degraded with.
        start: the severity it starts from; T by default.

    Raises:
        ValueError: if `steps` is not in 1..start.

    >>> import degrade
    >>> D = degrade.make("gaussian_noise", T=100)
    >>> x0 = torch.ones(1, 1, 1, 1)
    >>> early = lambda x_t, t: 1 - t.clamp(max=20).view(-1, 1, 1, 1) / 20  # all that R sees happens up to t = 20
    >>> equal_error_timesteps(D, early, x0, 4)
    [100, 15, 10, 5, 0]
    """
    spaced_timesteps(D.T if start is None else start, steps)  # refuse what cannot be before measuring
    return equal_change_timesteps(cumulative_change(D, R, x0, generator, start), steps)
