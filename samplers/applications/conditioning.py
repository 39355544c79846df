"""Restoration of a picture by a restorer that was trained on another degradation: `restore.conditioned` on a picture.

    y = D_y(x0, t_y, z_y) + noise      the picture, D_y being any registered degradation
    x_T = D(v, T, z)                   the start, with D what R undoes, z as D draws it, v = D_y.invert(y) or y

and any sampler goes from there to 0 around `Conditioned(R, measurement, rule)`. R may work in tiles: D_y is applied to
the whole picture. If R undoes D_y itself, the start is y at t_y, and the rule `projection` holds every prediction to
what y tells.

The default sampler draws all noise again in every step. What is kept of it carries the pattern of earlier estimates on
into the picture, and a noise model without a condition then takes that for a part of the image. The blurred landscape
of `python experiments/restorations.py`, 28.8 dB, comes to 35.7 dB with it, to 34.1 with `--sampler ddpm` and to 32.7
with `--sampler ddim`, by 20 steps of `photo-noise` and the rule `proximal`.
"""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor

from degrade import Degradation, Params, expand_level, map_params
from degrade.random import Generators
from restore import BaseRestorer, Conditioned, Measurement, Rule
from restore.tiling import reflect_pad
from samplers.applications.picture_sampling import check_table_size
from samplers.base import Sampler
from samplers.loop import sample
from samplers.steps.cold import Algorithm2
from samplers.steps.diffusion import Ancestral
from samplers.timesteps import spaced_timesteps

__all__ = ["describe_measurement", "sample_conditioned"]

SAMPLER = Ancestral(variance="constant")
STEPS = 20


def describe_measurement(D: Degradation, y: Tensor, severity: Any, z: Params, noise: float) -> Measurement:
    """Return what is known of a picture.

    Args:
        D: the degradation that was applied to it.
        y: (B, C, H, W) the picture.
        severity: severity, an integer in 1..T of D.
        z: what was drawn, for one picture or for B; None if D draws nothing.
        noise: standard deviation of the error of y.

    Raises:
        ValueError: for a severity that is no such number.
    """
    if isinstance(severity, str) and severity == "auto":
        raise ValueError(f"severity is auto; a severity of {D.name} is not estimated here: give it, in 1..{D.T}")
    if isinstance(severity, bool) or not hasattr(severity, "__index__") or not 1 <= severity <= D.T:
        raise ValueError(f"severity is {severity}; {D.name} has severities 1..{D.T}, whole numbers")
    z = map_params(lambda part: part.to(y.device).expand(len(y), *part.shape[1:]), z)
    return Measurement(D, y, expand_level(operator.index(severity), y), z, noise)


def sample_conditioned(
    R: BaseRestorer,
    measurement: Measurement,
    rule: Rule | str = "proximal",
    sampler: Sampler | None = None,
    steps: int | None = None,
    generator: Generators = None,
) -> Tensor:
    """Return restored pictures (B, C, H, W) in [-1, 1].

    Args:
        R: the restorer, of Gaussian noise for all rules but `projection`, of images as large as y.
        measurement: the pictures and what was done to them.
        rule: how prediction and measurement are combined, or its name.
        sampler: None for `SAMPLER`, or Algorithm 2 if R restores no Gaussian noise.
        steps: the largest number of steps; None for `STEPS`.
        generator: for the noise in x_T and that of the sampler.

    Raises:
        ValueError: where R, rule, sampler and measurement do not suit each other.
    """
    D, m, (H, W) = R.degradation, measurement, measurement.y.shape[2:]
    check_table_size(m.degradation, H, W)
    stride = 1 if m.degradation.position_dependent else m.degradation.size_divisor
    m = m._replace(y=reflect_pad(m.y, *(-side % stride for side in (H, W))))
    conditioned = Conditioned(R, m, rule)
    # Outside inference mode, so that tables which autograd will need are made as ordinary tensors.
    inverse = m.degradation.invert(m.y, m.t, m.z, m.noise) if m.degradation.affine else m.y
    m.degradation(inverse, m.t, m.z)
    if m.degradation == D:
        start, x_T, z = int(m.t[0]), m.y, m.z
    else:
        z = D.draw(m.y, generator)
        start, x_T = D.T, D(inverse.clamp(-1, 1), expand_level(D.T, m.y), z)
    if sampler is None:
        sampler = SAMPLER if D.gaussian else Algorithm2()
    timesteps = spaced_timesteps(start, min(STEPS if steps is None else operator.index(steps), start))
    return sample(conditioned, sampler, x_T, z, timesteps, generator)[:, :, :H, :W]
