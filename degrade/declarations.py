"""Tests of what a degradation declares about itself: `affine`, `identifiable`, `size_divisor`, `missing` and others.

Each test yields how far a declaration is from the truth, and where. A declaration that claims less than is true, such
as `affine = False` of a linear D, passes: it costs time, not correctness. Where a test needs larger or shifted images,
z goes with them: a part of z with one number for each pixel, (B, ..., H, W), is enlarged and shifted as the image is,
and any other part, such as an angle for each image, stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from degrade.base import Degradation, Params, expand_level, map_params
from degrade.precision import to_float64

__all__ = ["Deviation", "largest_difference", "measure_declarations"]

Deviation = tuple[float, str]  # by how much, and where
FREE = 1e-12  # a smaller influence of the borders is none
BLOCK = 16  # pixels; codecs work on blocks up to this size, so a shift by it moves block onto block


def largest_difference(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference, infinite where shapes differ, nan where a value is not a number."""
    if a.shape != b.shape:
        return math.inf
    return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0


class _Trial(NamedTuple):
    D: Degradation
    x0: Tensor
    z: Params
    other_z: Params  # another draw for the same images
    levels: list[int]  # at least 1


def measure_declarations(
    D: Degradation, x0: Tensor, z: Params, other_z: Params, levels: list[int]
) -> Iterator[Deviation]:
    """Yield by how much, and where, each declaration of `D` is wrong.

    Args:
        D: the degradation.
        x0: (B, C, H, W) clean images, two at least.
        z: what `draw` returned for a batch like x0.
        other_z: another draw for the same images, from another seed.
        levels: the severities to test, each at least 1.
    """
    trial = _Trial(D, x0, z, other_z, levels)
    if bool(_parts(z)) != D.random:
        yield math.inf, f"random = {D.random}, but draw returned {z!r:.40}"
        return  # the other tests rely on it
    yield 0.0, f"random = {D.random}"
    for test in (_affine, _additive, _gaussian, _identifiable, _missing, _size_divisor, _position_dependent):
        yield from test(trial)


def _parts(z: Params) -> list[Tensor]:
    """Return the tensors in z."""
    found: list[Tensor] = []
    map_params(lambda part: found.append(part) or part, z)  # type: ignore[func-returns-value]
    return found


def _per_pixel(function: Callable[[Tensor], Tensor], z: Params, x0: Tensor) -> Params:
    """Apply `function` to the parts of z with one number for each pixel of x0."""
    return map_params(lambda part: function(part) if part.ndim > 2 and part.shape[-2:] == x0.shape[-2:] else part, z)


def _enlarged(part: Tensor, height: int, width: int) -> Tensor:
    """Return images or planes (B, ..., height, width) of rows and columns of `part` in random order, not periodic."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randint(N, (n,), generator=generator) for N, n in zip(part.shape[-2:], (height, width)))
    return part[..., rows.to(part.device), :][..., columns.to(part.device)]


def _precise(part: Tensor) -> Tensor:
    """Return a tensor in float64, and integers as they are, on a device with float64."""
    double = to_float64(part)
    return double if part.is_floating_point() else part.to(double.device)


def _affine(trial: _Trial) -> Iterator[Deviation]:
    D, x, y = trial.D, trial.x0, -trial.x0.flip(0, -1)
    for t in trial.levels if D.affine else []:
        level = expand_level(t, x)
        mean = D(0.25 * x + 0.75 * y, level, trial.z)
        parts = 0.25 * D(x, level, trial.z) + 0.75 * D(y, level, trial.z)
        yield largest_difference(mean, parts), f"affine = True, t = {t}"


def _additive(trial: _Trial) -> Iterator[Deviation]:
    D, x0, z = trial.D, trial.x0, trial.z
    for t in trial.levels if D.additive else []:
        a_t, b_t = D.coefficients(expand_level(t, x0), x0)
        yield largest_difference(D(x0, expand_level(t, x0), z), a_t * x0 + b_t * z), f"additive = True, t = {t}"


def _gaussian(trial: _Trial) -> Iterator[Deviation]:
    if not trial.D.gaussian:
        return
    many = trial.x0.repeat(1, 1, 8, 8)
    z = trial.D.draw(many, torch.Generator(many.device).manual_seed(0))
    if not isinstance(z, Tensor) or z.shape != many.shape:
        yield math.inf, "gaussian = True, but z is not shaped like x0"
        return
    # Moments 1, 2 and 4 of N(0, 1) are 0, 1 and 3, with variances 1, 2 and 96 of one number.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        error = abs(float(z.double().pow(power).mean()) - moment)
        yield (0.0 if error < 6 * math.sqrt(variance / z.numel()) else error), f"gaussian = True, moment {power} of z"


def _identifiable(trial: _Trial) -> Iterator[Deviation]:
    D, x0 = trial.D, trial.x0
    for t in trial.levels if D.identifiable else []:
        level = expand_level(t, x0)
        x_t = D(x0, level, trial.z)
        found = D.estimate(x_t, x0, level, trial.other_z)
        yield largest_difference(D(x0, level, found), x_t), f"identifiable = True, t = {t}, with another z passed in"


def _missing(trial: _Trial) -> Iterator[Deviation]:
    """Where the image is missing, half of a change of x0 arrives at most."""
    D, x0, z, step = trial.D, trial.x0, trial.z, 0.25
    for t in trial.levels:
        mask = D.missing(x0, expand_level(t, x0), z)
        if mask is None:
            return
        if mask.dtype != torch.bool or mask.shape != (len(x0), 1, *x0.shape[2:]):
            yield math.inf, f"missing returned {mask.dtype} {tuple(mask.shape)}; it needs bool (B, 1, H, W)"
            return
        change = (D(x0 + step, expand_level(t, x0), z) - D(x0, expand_level(t, x0), z)).abs() * mask
        yield max(0.0, float(change.max()) - step / 2), f"missing, where the image still shows at t = {t}"
        own_z = D.mask_params(mask)
        if own_z is not None:
            again = D.missing(x0, expand_level(1, x0), own_z)
            same = again is not None and torch.equal(again, mask)
            yield (0.0 if same else math.inf), f"mask_params of what is missing at t = {t}"


def _size_divisor(trial: _Trial) -> Iterator[Deviation]:
    D, (H, W), step = trial.D, trial.x0.shape[2:], trial.D.size_divisor
    larger = _enlarged(trial.x0, H + step, W + step)
    z = _per_pixel(lambda part: _enlarged(part, H + step, W + step), trial.z, trial.x0)
    try:
        D(larger, expand_level(D.T, larger), z)
    except ValueError as error:
        yield math.inf, f"size_divisor = {step}, but {H + step} x {W + step} is refused: {error}"


def _position_dependent(trial: _Trial) -> Iterator[Deviation]:
    """D of a shifted image is the shifted D of it, wherever the borders have no influence."""
    D, x0 = trial.D, trial.x0
    if D.position_dependent:
        return
    H, W = (N * (1 + -(-48 // N)) for N in x0.shape[2:])
    # In float64, where what is left of a border's influence is told from rounding.
    x = to_float64(_enlarged(x0, H, W))
    z = map_params(_precise, _per_pixel(lambda part: _enlarged(part, H, W), trial.z, x0))
    shift = math.lcm(D.size_divisor, BLOCK)
    if shift >= min(x.shape[2:]):
        return

    def shifted(part: Tensor) -> Tensor:
        return part.roll((shift, shift), (-2, -1))

    inside = torch.zeros_like(x[0, 0], dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    for t in {trial.levels[0], trial.levels[-1]}:

        def at_level(x: Tensor, z: Params, level: Tensor = expand_level(t, x)) -> tuple[Tensor, Tensor]:
            """Return D of x, and by how much it changes where the outermost pixels of x and of z do."""
            x_t = D(x, level, z)
            other_z = _per_pixel(lambda part: torch.where(inside, part, 2 * part.abs().max() + 1), z, x)
            return x_t, (D(torch.where(inside, x, -x), level, other_z) - x_t).abs().amax(1, keepdim=True)

        (here, reach_here), (there, reach_there) = at_level(x, z), at_level(shifted(x), _per_pixel(shifted, z, x))
        free = (shifted(reach_here) + reach_there < FREE).expand_as(there)
        gap = largest_difference(shifted(here)[free], there[free])
        yield gap, f"position_dependent = False, t = {t}, shifted by {shift}"
