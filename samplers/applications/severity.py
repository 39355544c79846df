"""The severity of a picture that was degraded elsewhere, with an interval that says how certain the estimate is.

A restoration that is consistent, D(R(x, t), t) = x, does not determine t: at a small t, a blurred picture is a
consistent restoration of another blurred picture. So the picture is compared with pictures whose severity t is known,
by a few features phi:

    log p(x | t) = log N(phi(x); mu_t, C_t)        t ~ U{0..T}        p(t | x) = p(x | t) / sum_s p(x | s)

mu_t and C_t are mean and covariance of phi over simulated x_t = D(x0, t, z): a synthetic likelihood (Wood, "Statistical
inference for noisy nonlinear ecological dynamic systems", Nature 466, 2010). The estimate is the median of p(t | x),
the interval is the shortest that holds 90 % of it. There are two sources of x0:

* `reference`: clean pictures of the kind that R restores. R predicts x_t at a few severities c. The likelihood is
  calibrated on them (`samplers.applications.severity_model`), so the interval holds the true severity nine times in ten
  for single pictures like them, on average over severities 0..T; more often where the levels are so few that one is
  enough.
* None: the restorations of the picture itself, x0 = R(x, t), with c = t only, and a fixed tolerance in place of C_t.
  This needs an R whose restoration hardly depends on the severity it is given, as networks for noise nearly are. An R
  that undoes exactly the severity it is given, as for blur, is consistent at every smaller severity. Therefore R is
  evaluated around the estimate, and where its restorations differ much the estimate is not confident.

phi are logarithms of energies, of bands an octave wide and of the differences of channels, in x and in a residual: in z
where x and R(x, c) determine it (noise), together with the correlation of z and R(x, c); in x - D(R(x, c), c, z) where
z is None or known; in R(x, c) - x otherwise. One more is the flat share of x. An energy counts above that of rounding
to 8 bits; a picture of 8 bits, as files are, is compared with pictures that were rounded and clipped.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from degrade import Degradation, Params, expand_level, map_params, quantize_8bit
from degrade.frozen import frozen
from degrade.precision import to_float64
from degrade.random import Generators
from restore import BaseRestorer
from samplers.applications.severity_model import (
    TOLERANCE,
    Likelihood,
    Simulated,
    band_energies,
    calibrated,
    features,
    held_out_levels,
    knot_levels,
    shortest,
)
from samplers.loop import inference_mode

__all__ = ["SeverityEstimate", "SeverityOptions", "estimate_severity"]

NUM_HELD_OUT = 4  # severities of each reference picture that the interval is calibrated on
NUM_DRAWS = 8  # of z at each severity
MAX_SENSITIVITY = 0.15  # largest change of a restoration with the given severity, as a share of R(x, t) - x
MAX_MISFIT = 6.0  # largest mean squared deviation of features, in units of their variance
PROBE_FRACTIONS = (0.15, 0.4, 0.65, 0.9)  # severities that R is given, as fractions of T
UNKNOWN_PARAMS = "z cannot be computed from a picture: give z, or reference pictures"


class SeverityEstimate(NamedTuple):
    """An estimated severity.

    Args:
        t: the estimate, in 0..T.
        low: with `high`, the shortest interval that holds 90 % of the probability.
        high: see `low`.
        confident: whether the interval is narrower than T / 4 and the picture is like others at that severity.
        reason: in a few words, why the estimate is not confident; empty if it is.
        levels: the severities considered.
        scores: their log likelihoods, up to a constant.
    """

    t: int
    low: int
    high: int
    confident: bool
    reason: str
    levels: tuple[int, ...]
    scores: tuple[float, ...]


@frozen
class SeverityOptions:
    """How a severity is estimated.

    Args:
        num_knots: number of severities at which reference pictures are degraded, 2 or more; between them, mean and
            covariance of the features are interpolated.
        batch_size: number of pictures in one call of R, 1 or more.
    """

    num_knots: Annotated[int, Field(ge=2)] = 16
    batch_size: Annotated[int, Field(ge=1)] = 64


def estimate_severity(
    R: BaseRestorer,
    x: Tensor,
    z: Params = None,
    reference: Tensor | None = None,
    options: SeverityOptions = SeverityOptions(),
    generator: Generators = None,
) -> SeverityEstimate:
    """Estimate the severity of a degraded picture.

    Args:
        R: a restorer; its degradation is the one whose severity is estimated.
        x: (n, C, H, W) the picture, or crops of it that are all at the one severity sought; floating point.
        z: the parameters of the degradation in x, if they are known; batch first.
        reference: (m, C, H, W) clean pictures like those that R was trained on, of the size of x; 32 or more.
        options: at how many severities reference pictures are simulated, and in batches of what size.
        generator: for the z of simulated pictures.

    Raises:
        ValueError: if x, the reference or what R returns is not finite; if x is no batch of pictures of a float type;
            if the reference pictures are not of the size and the device of x, fewer than two, or all the same.

    >>> import degrade
    >>> from restore import FunctionRestorer
    >>> D = degrade.make("blur", T=20, sigmas="constant:sigma=1")
    >>> x0 = torch.rand(1, 3, 32, 32)
    >>> found = estimate_severity(FunctionRestorer(lambda x_t, t: x0.expand_as(x_t), D), D(x0, torch.tensor([7])))
    >>> found.t, found.confident
    (7, True)
    """
    D = R.degradation
    _check_pictures("x", x)
    if reference is not None:
        _check_reference(reference, x)
    params_known = z is not None or not D.random or D.identifiable
    in_8_bits = bool((x - quantize_8bit(x)).abs().max() < 1e-4)
    view = _View(D, R, params_known, in_8_bits, options.batch_size, generator)
    with inference_mode(R):
        if reference is not None:
            return _conclude(*_by_reference(view, x, z, _likelihood(view, z, reference, options.num_knots)), D.T)
        if not params_known:
            return SeverityEstimate(D.T, 0, D.T, False, f"{D.name}: {UNKNOWN_PARAMS}", (), ())
        found = _conclude(*_by_itself(view, x, z), D.T)
        if found.confident and _sensitivity(R, x, found.t, D.T) > MAX_SENSITIVITY:
            return found._replace(
                confident=False, reason="without reference pictures, much depends on what severity R is given"
            )
        return found


def _check_pictures(name: str, x: Tensor) -> None:
    if x.ndim != 4 or not x.numel() or not x.is_floating_point():
        raise ValueError(f"{name} is {x.dtype} {tuple(x.shape)}: give float pictures (n, C, H, W) in [-1, 1], n >= 1")
    bad = int(x.numel() - x.isfinite().sum())
    if bad:
        raise ValueError(f"{name} has {bad} values of {x.numel()} that are nan or infinite: give finite pictures")


def _check_reference(reference: Tensor, x: Tensor) -> None:
    if len(reference) < 2 or reference.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"reference is {tuple(reference.shape)} for pictures {tuple(x.shape)}: give two or more of the same size"
        )
    _check_pictures("reference", reference)
    if reference.device != x.device:
        raise ValueError(f"reference is on {reference.device} and x on {x.device}: move one to the other")
    if torch.equal(reference, reference[:1].expand_as(reference)):
        raise ValueError(f"the {len(reference)} pictures of reference are all the same: give different ones")


class _View(NamedTuple):
    """How the features of pictures are computed."""

    D: Degradation
    R: BaseRestorer
    params_known: bool  # whether z is None, given, or computed by `estimate`
    in_8_bits: bool
    batch_size: int
    generator: Generators

    def degraded(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return D(x0, t, z), rounded to 8 bits if the picture is."""
        x_t = self.D(x0, t, z)
        return quantize_8bit(x_t) if self.in_8_bits else x_t

    def residual_features(self, x: Tensor, c: Tensor, z: Params) -> Tensor:
        """Return features (n, features) of what R at severities c (n,) does not explain of x."""
        parts = []
        for first in range(0, len(x), self.batch_size):
            at = slice(first, first + self.batch_size)
            part, level, z_part = x[at], c[at], map_params(lambda v, at=at: v[at], z)  # type: ignore[misc]
            x0_hat = self.R(part, level)
            if not x0_hat.isfinite().all():
                raise ValueError(f"R returns nan or infinite values at severities {_range(level)}: check its weights")
            if not self.params_known:
                parts.append(band_energies(x0_hat - part))
            elif _images(found := self.D.estimate(part, x0_hat, level, z_part), part):
                noise = _last(found)
                # True noise is independent of the image; z that was computed with a wrong severity is not.
                along = (noise * x0_hat).sum((1, 2, 3)) / x0_hat.square().sum((1, 2, 3)).sqrt().clamp(min=1e-6)
                parts.append(torch.cat([band_energies(noise), to_float64(along[:, None])], 1))
            else:
                parts.append(band_energies(part - self.D(x0_hat, level, found)))
        return torch.cat(parts)

    def placeholder(self, x: Tensor, z: Params) -> Params:
        """Return z, or one that is drawn where it is not known."""
        return self.D.draw(x, self.generator) if z is None else z


def _range(t: Tensor) -> str:
    return f"{int(t.min())}..{int(t.max())}"


def _last(z: Params) -> Params:
    """Return the part of z that is estimated; of a composition it is the last."""
    return _last(z[-1]) if isinstance(z, tuple) else z


def _images(z: Params, x: Tensor) -> bool:
    return isinstance(_last(z), Tensor) and _last(z).shape == x.shape


def _probed(view: _View, x: Tensor, z: Params) -> Tensor:
    """Return all features (n, features) of pictures, with R evaluated at a few severities."""
    T = view.D.T
    probes = sorted({max(1, round(T * share)) for share in PROBE_FRACTIONS})
    return torch.cat([features(x), *(view.residual_features(x, expand_level(c, x), z) for c in probes)], 1).cpu()


def _likelihood(view: _View, z: Params, reference: Tensor, knots: int) -> Likelihood:
    """Return the likelihood of features at each severity, from reference pictures degraded to known severities."""
    T = view.D.T
    # The picture may be given as several crops, which have one z.
    z = map_params(lambda v: v[:1].expand(len(reference), *v.shape[1:]), z)

    def simulated(t: Tensor) -> Tensor:
        held = view.placeholder(reference, z)
        return _probed(view, view.degraded(reference, t.to(reference.device), held), held)

    at = knot_levels(T, knots)
    levels = held_out_levels(T, len(reference), NUM_HELD_OUT)
    at_knots = torch.stack([simulated(t.expand(len(reference))) for t in at])
    return calibrated(Simulated(at, at_knots, levels, torch.stack([simulated(t) for t in levels])))


def _by_reference(view: _View, x: Tensor, z: Params, likelihood: Likelihood) -> tuple[Tensor, Tensor, Tensor]:
    """Return levels, log likelihoods, and mean squared deviations from the reference at each level."""
    observed = _probed(view, x, view.placeholder(x, z))
    # Crops of one picture are correlated: n of them count as sqrt(n).
    scores = likelihood.scores(observed).sum(0) / len(x) ** 0.5
    return torch.arange(len(scores)), scores, likelihood.deviations(observed.mean(0))


def _by_itself(view: _View, x: Tensor, z: Params) -> tuple[Tensor, Tensor, Tensor]:
    """Return levels, log likelihoods, and mean squared deviations of x from its own restorations, degraded again."""
    D = view.D
    levels = torch.linspace(1, D.T, min(64, D.T)).round().long()
    # Where z is drawn, several draws give the variance of each feature.
    draws = NUM_DRAWS if z is None and D.random else 1
    means, variances = [], []
    for level in levels.tolist():
        t = expand_level(level, x)
        held = view.placeholder(x, z)
        observed = torch.cat([features(x), view.residual_features(x, t, held)], 1).mean(0)
        x0_hat, every = view.R(x, t).repeat(draws, 1, 1, 1), t.repeat(draws)
        held = view.placeholder(x0_hat, z)
        again = view.degraded(x0_hat, every, held)
        simulated = (
            torch.cat([features(again), view.residual_features(again, every, held)], 1).view(draws, len(x), -1).mean(1)
        )
        means.append(observed - simulated.mean(0))
        variances.append(simulated.var(0, correction=0) * (1 + 1 / draws) + TOLERANCE**2)
    variance = torch.stack(variances).cpu()
    deviation = torch.stack(means).cpu().square() / variance
    return levels, -(deviation + variance.log()).sum(1) / 2, deviation.mean(1)


def _sensitivity(R: BaseRestorer, x: Tensor, t: int, T: int) -> float:
    """Return the rms of R(x, t + T / 10) - R(x, t - T / 10), divided by that of R(x, t) - x."""
    near = [min(max(1, t + more), T) for more in (-max(1, T // 10), 0, max(1, T // 10))]
    low, middle, high = (R(x, expand_level(level, x)) for level in near)
    spread, change = ((a - b).square().mean().sqrt() for a, b in ((high, low), (x, middle)))
    return float(spread / change.clamp(min=1e-6))


def _conclude(levels: Tensor, scores: Tensor, misfit: Tensor, T: int) -> SeverityEstimate:
    """Return the estimate, given log likelihoods and mean squared deviations at each level."""
    posterior = scores.softmax(0)
    low, high = map(int, shortest(posterior[None]))
    middle = min(int((posterior.cumsum(0) < 0.5).sum()), len(levels) - 1)
    t, ends = int(levels[middle]), (int(levels[low]), int(levels[high]))
    reason = ""
    if ends[1] - ends[0] >= T / 4:
        reason = "pictures like it occur at many severities"
    elif misfit[middle] > MAX_MISFIT:
        reason = "no severity gives pictures like it"
    return SeverityEstimate(t, *ends, not reason, reason, tuple(levels.tolist()), tuple(scores.tolist()))
