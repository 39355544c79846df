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
  enough. What a likelihood needs of them, mean and covariance, may be kept with the model (`calibrate_severity`); then
  pictures of 8 bits need no reference.
* None: the restorations of the picture itself, x0 = R(x, t), with c = t only, and in place of C_t the variance of the
  difference of features over the crops and draws, and a tolerance. The difference is evaluated at some severities,
  then at more around the best ones, and is interpolated in between. For Gaussian noise (`additive` and `gaussian`) it
  is that between the noise found and the noise that R itself expects to find (`severity_view`), which tells noise that
  R was told too little of from what belongs to the image. For other degradations R needs to be one whose restoration
  hardly depends on the severity it is given: one that undoes exactly that, as for blur, is consistent at every smaller
  severity. R is evaluated around the estimate, and where its restorations differ much the estimate is not confident.

phi are logarithms of energies, of bands an octave wide and of the differences of channels, in x and in a residual: in z
where x and R(x, c) determine it (noise), together with the correlation of z and R(x, c); in x - D(R(x, c), c, z) where
z is None or known; in R(x, c) - x otherwise. One more is the flat share of x. An energy counts above that of rounding
to 8 bits; a picture of 8 bits, as files are, is compared with pictures that were rounded and clipped.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, Params, expand_level
from degrade.constants import ROUNDING_NOISE
from degrade.functional.quantization import is_8bit
from degrade.random import Generators
from restore import BaseRestorer
from samplers.applications.severity_calibration import SeverityOptions, check_pictures, check_reference, measured
from samplers.applications.severity_model import (
    TOLERANCE,
    Likelihood,
    SeverityModel,
    interpolated,
    knot_levels,
    shortest,
)
from samplers.applications.severity_view import View, probed_features
from samplers.loop import inference_mode

__all__ = ["SeverityEstimate", "SeverityOptions", "estimate_severity"]

NUM_DRAWS = 8  # of z at each severity
MAX_SENSITIVITY = 0.15  # largest change of a restoration with the given severity, as a share of R(x, t) - x
MAX_MISFIT = 6.0  # largest mean squared deviation of features, in units of their variance
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
        R: a restorer; its degradation is the one whose severity is estimated. If it has a `severity_model`, pictures of
            8 bits are compared with that where no reference is given.
        x: (n, C, H, W) the picture, or crops of it that are all at the one severity sought; floating point.
        z: the parameters of the degradation in x, if they are known; batch first.
        reference: (m, C, H, W) clean pictures like those that R was trained on, 32 or more, of the size of x; if x are
            crops of a larger picture, twice as large: what lies around a crop takes part in what is done to it.
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
    check_pictures("x", x)
    if reference is not None:
        check_reference(reference, x)
    params_known = z is not None or not D.random or D.identifiable
    in_8_bits = is_8bit(x)
    R = R.with_input_noise(ROUNDING_NOISE) if in_8_bits else R
    view = View(D, R, params_known, in_8_bits, options.batch_size, generator)
    with inference_mode(R):
        kept = None
        if reference is not None:
            kept = measured(view, z, reference, x.shape[2:], options.num_knots)
        elif R.severity_model and in_8_bits and z is None:
            kept = SeverityModel(**R.severity_model)
        if kept is not None:
            return _conclude(*_by_reference(view, x, z, kept.likelihood()), D.T)
        if not params_known:
            return SeverityEstimate(D.T, 0, D.T, False, f"{D.name}: {UNKNOWN_PARAMS}", (), ())
        found = _conclude(*_by_itself(view, x, z, options.num_knots), D.T)
        trusted = _is_noise(D, z)  # since R is not compared with itself
        if found.confident and not trusted and _sensitivity(R, x, found.t, D.T) > MAX_SENSITIVITY:
            return found._replace(
                confident=False, reason="without reference pictures, much depends on what severity R is given"
            )
        return found


def _by_reference(view: View, x: Tensor, z: Params, likelihood: Likelihood) -> tuple[Tensor, Tensor, Tensor]:
    """Return levels, log likelihoods, and mean squared deviations from the reference at each level."""
    observed = probed_features(view, x, view.placeholder(x, z))
    # Crops of one picture are correlated: n of them count as sqrt(n).
    scores = likelihood.scores(observed).sum(0) / len(x) ** 0.5
    return torch.arange(len(scores)), scores, likelihood.deviations(observed.mean(0))


def _by_itself(view: View, x: Tensor, z: Params, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return levels, log likelihoods, and mean squared deviations of x from what its own restorations let expect."""
    D, T = view.D, view.D.T
    levels, found, is_noise = torch.arange(1, T + 1), dict[int, Tensor](), _is_noise(D, z)
    # Noise takes two calls of R at a severity, and the difference changes evenly: half as many are enough.
    knots = max(2, knots // 2) if is_noise else knots
    wanted = knot_levels(T, knots + 1)[1:]
    for _ in range(2):
        for level in {*wanted.tolist()} - found.keys():
            found[level] = view.noise_excess(x, level) if is_noise else _discrepancy(view, x, z, level)
        known = torch.tensor(sorted(found))
        mean, variance = interpolated(known, torch.stack([found[int(level)] for level in known]), levels).unbind(1)
        deviation = mean.square() / variance
        scores = -(deviation + variance.log()).sum(1) / 2
        low, high = (int(end) + 1 for end in shortest(scores.softmax(0)[None]))
        below, above = known[known < low].tolist(), known[known > high].tolist()
        ends = below[-1] if below else 1, above[0] if above else T
        wanted = torch.linspace(*ends, max(2, knots // 2)).round().long()
    return levels, scores, deviation.mean(1)


def _is_noise(D: Degradation, z: Params) -> bool:
    return z is None and D.additive and D.gaussian


def _discrepancy(view: View, x: Tensor, z: Params, level: int) -> Tensor:
    """Return mean and variance (2, features) of the features of x minus those of its restoration, degraded again."""
    D, n = view.D, len(x)
    # Where z is drawn, a single picture is simulated several times for the variance; several crops tell it themselves.
    draws = max(1, NUM_DRAWS // n) if z is None and D.random else 1
    t = expand_level(level, x)
    held, x0_hat = view.placeholder(x, z), view.restored(x, t)
    observed = view.all_features(x, x0_hat, t, held)
    clean, every = x0_hat.repeat(draws, 1, 1, 1), t.repeat(draws)
    held = view.placeholder(clean, z)
    again = view.degraded(clean, every, held)
    simulated = view.all_features(again, view.restored(again, every), every, held)
    difference = observed - simulated.view(draws, n, -1)
    variance = difference.mean(0).var(0) / n if n > 1 else difference[:, 0].var(0, correction=0) * (1 + 1 / draws)
    return torch.stack([difference.mean((0, 1)), variance + TOLERANCE**2]).cpu()


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
