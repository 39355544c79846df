"""The likelihood of a severity: features of pictures, and a normal distribution of them that is calibrated.

The features phi of a picture follow how far it is degraded more than what it shows: log(mean square + rounding) of each
octave wide band, of what is left below, and of what differs between channels; and the log share of neighbors that are
equal, as in a hole or a large pixel.

Reference pictures are degraded to a few severities, the knots. With mu_t and C_t the mean and the covariance of their
features, interpolated linearly between the knots,

    log p(x | t) = power * log N(phi(x); mu_t, C_t)

A normal distribution fitted to some dozens of pictures at a few severities gives intervals that are too short: the
tails of phi are heavier, C_t is itself an estimate, and mu_t is not linear between knots. The power corrects this. It
is measured on the reference pictures at severities spread evenly over 0..T: each picture is scored by mu_t and C_t of
the others (cross validation), and the power is the largest at which the 90 % interval holds the true severity for 90 %
of them. This is conformal prediction with the nested sets of one parameter (Vovk et al., "Algorithmic learning in a
random world", 2005; Gupta et al., "Nested conformal prediction and quantile out-of-bag ensemble methods", Pattern
Recognition 127, 2022), so it holds on average over severities and pictures, also where phi is not normal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from degrade.precision import to_float64

__all__ = [
    "TOLERANCE",
    "Likelihood",
    "SeverityModel",
    "Simulated",
    "band_energies",
    "band_products",
    "calibrated",
    "features",
    "held_out_levels",
    "interpolated",
    "knot_levels",
    "shortest",
    "split_bands",
]

HELD = 0.9  # probability that the interval holds
TOLERANCE = 0.1  # of the logarithm of an energy, beyond how it varies between restorations of a picture
CORRELATED = (
    0.997  # how much of a covariance is believed; what pictures show moves all energies, but hardly their ratios
)
NOISE = 0.03  # standard deviation of the logarithm of an energy that every picture is granted
FOLDS = 8  # of the cross validation
POWERS = 2 ** torch.linspace(-6, 2, 65, dtype=torch.float64)
ROUNDING = (1 / 255) ** 2 / 3  # variance of rounding to 8 bits, in [-1, 1]
BANDS = 4
GOLDEN = (5**0.5 - 1) / 2


class Simulated(NamedTuple):
    """Features of m reference pictures at known severities.

    Args:
        knots: (k,) int64 severities, rising from 0 to T.
        at_knots: (k, m, features) float64 features of every picture at every knot.
        levels: (j, m) int64 severities of `held_out`.
        held_out: (j, m, features) float64 features of every picture at j severities of its own.
    """

    knots: Tensor
    at_knots: Tensor
    levels: Tensor
    held_out: Tensor


class Likelihood(NamedTuple):
    """log p(x | t) for t = 0..T.

    Args:
        mu: (T + 1, features) float64 mean features.
        root: (T + 1, features, features) float64 Cholesky factor of their covariance C.
        power: power of the normal likelihood.
    """

    mu: Tensor
    root: Tensor
    power: float = 1.0

    def scores(self, observed: Tensor) -> Tensor:
        """Return log p (n, T + 1), up to a constant, of each of the features `observed` (n, features)."""
        white = torch.linalg.solve_triangular(self.root, (observed - self.mu[:, None]).mT, upper=False)
        volume = self.root.diagonal(dim1=1, dim2=2).log().sum(1)
        scores: Tensor = -self.power * (white.square().sum(1) / 2 + volume[:, None])
        return scores.T

    def deviations(self, observed: Tensor) -> Tensor:
        """Return the mean squared deviation (T + 1,), over features, of features (features,) from mu, over diag C."""
        return ((observed - self.mu).square() / self.root.square().sum(2)).mean(1)


class SeverityModel(NamedTuple):
    """Mean and covariance of features at a few severities: what a likelihood is made of, and what is kept of it.

    Args:
        knots: (k,) int64 severities, rising from 0 to T.
        means: (k, features) mean features.
        covariances: (k, features, features) their covariances over pictures.
        power: () power of the normal likelihood.
    """

    knots: Tensor
    means: Tensor
    covariances: Tensor
    power: Tensor = torch.ones(())

    def likelihood(self) -> Likelihood:
        """Return log p(x | t) for t = 0..T, with features interpolated linearly between the knots."""
        levels, (means, covariances) = torch.arange(int(self.knots[-1]) + 1), map(to_float64, self[1:3])
        mu, C = interpolated(self.knots, means, levels), interpolated(self.knots, covariances, levels)
        diagonal = C.diagonal(dim1=1, dim2=2)
        C = CORRELATED * C + torch.diag_embed((1 - CORRELATED) * diagonal + NOISE**2)
        return Likelihood(mu, torch.linalg.cholesky(C), float(self.power))


def knot_levels(T: int, knots: int) -> Tensor:
    """Return the severities (k,) int64 of the knots, from 0 to T; closer at 0, where features change fastest.

    >>> knot_levels(100, 5).tolist(), knot_levels(3, 16).tolist()
    ([0, 12, 35, 65, 100], [0, 1, 2, 3])
    """
    k = torch.arange(min(knots, T + 1), dtype=torch.float64)
    return torch.maximum((T * (k / k[-1]) ** 1.5).round(), k).long()


def held_out_levels(T: int, pictures: int, count: int) -> Tensor:
    """Return `count` severities for each of some pictures, (count, pictures) int64, spread evenly over 0..T.

    >>> held_out_levels(9, 3, 2).tolist()
    [[3, 1, 4], [8, 6, 9]]
    """
    offset = torch.arange(1, pictures + 1, dtype=torch.float64) * GOLDEN % 1
    return ((torch.arange(count)[:, None] + offset) / count * (T + 1)).long()


def calibrated(simulated: Simulated) -> SeverityModel:
    """Return mean and covariance of features at the knots, and the power of their likelihood by cross validation."""
    knots, at_knots, levels, held_out = simulated
    fold = torch.arange(at_knots.shape[1]) % FOLDS
    scores, truth = [], []
    for k in range(min(FOLDS, len(fold))):
        own = fold == k
        scores.append(_moments(knots, at_knots[:, ~own]).likelihood().scores(held_out[:, own].flatten(0, 1)))
        truth.append(levels[:, own].flatten())
    power = _calibrated_power(torch.cat(scores), torch.cat(truth), len(fold))
    return _moments(knots, at_knots)._replace(power=torch.tensor(power))


def interpolated(knots: Tensor, values: Tensor, levels: Tensor) -> Tensor:
    """Return values (j, ...) at severities `levels` (j,), linear between those (k, ...) at rising `knots` (k,).

    >>> interpolated(torch.tensor([0, 4]), torch.tensor([1.0, 9.0]), torch.tensor([0, 1, 4])).tolist()
    [1.0, 3.0, 9.0]
    """
    if len(knots) == 1:
        return values.expand(len(levels), *values.shape[1:])
    right = torch.searchsorted(knots, levels).clamp(1, len(knots) - 1)
    w = ((levels - knots[right - 1]) / (knots[right] - knots[right - 1])).to(values.dtype)
    return torch.lerp(values[right - 1], values[right], w.view(-1, *[1] * (values.ndim - 1)))


def _moments(knots: Tensor, found: Tensor) -> SeverityModel:
    """Return mean and covariance of features found (k, m, features) at the knots."""
    means = found.mean(1)
    off = found - means[:, None]
    return SeverityModel(knots, means, off.mT @ off / max(1, found.shape[1] - 1))


def _calibrated_power(scores: Tensor, truth: Tensor, pictures: int) -> float:
    """Return the largest power at which intervals hold `truth` (n,) for 90 % of the pictures with `scores` (n, T + 1).

    Where no power does, as where most of the pictures are alike at all severities, it is the one that holds most.
    """
    powers: list[float] = POWERS.tolist()
    hits = []
    for power in powers:
        low, high = shortest((power * scores).softmax(1))
        hits.append(int(((low <= truth) & (truth <= high)).sum()))
    # The pictures are independent, not their severities: 0.9 (m + 1) of m pictures, as conformal prediction asks.
    enough = min(HELD * (1 + 1 / pictures) * len(truth), max(hits))
    return max(power for power, held in zip(powers, hits) if held >= enough)


def shortest(share: Tensor) -> tuple[Tensor, Tensor]:
    """Return first and last index (n,) of the shortest interval that holds 90 % of each distribution (n, levels).

    >>> share = torch.tensor([[0.0, 0.5, 0.45, 0.05], [0.92, 0.04, 0.02, 0.02]])
    >>> [end.tolist() for end in shortest(share)]
    [[1, 0], [2, 0]]
    """
    below = torch.nn.functional.pad(share.double().cumsum(1), (1, 0))
    last = torch.searchsorted(below, below[:, :-1] + (HELD - 1e-9)).clamp(max=share.shape[1])
    mass = below.gather(1, last) - below[:, :-1]
    length = last - torch.arange(share.shape[1])
    # Of two that are as short, the one that holds more.
    cost = torch.where(mass >= HELD - 1e-6, length - mass.clamp(max=0.999), torch.inf)
    first = cost.argmin(1)
    return first, last.gather(1, first[:, None])[:, 0] - 1


def split_bands(u: Tensor) -> list[Tensor]:
    """Return what differs between the channels of images u (n, C, H, W), their octaves, and what is left below."""
    found = [u - u.mean(1, keepdim=True)] if u.shape[1] > 1 else []
    for _ in range(BANDS):
        if min(u.shape[2:]) < 2:
            break
        low = avg_pool2d(u, 2, ceil_mode=True)
        up = interpolate(low, scale_factor=2.0, mode="nearest")[..., : u.shape[2], : u.shape[3]]
        found.append(u - up)
        u = low
    return [*found, u]


def band_energies(u: Tensor) -> Tensor:
    """Return log energies (n, features) of images u (n, C, H, W): of octaves, and of what differs between channels."""
    energies = [band.square().mean((1, 2, 3)) for band in split_bands(u)]
    return (to_float64(torch.stack(energies, 1)) + ROUNDING).log()


def band_products(u: Tensor, v: Tensor) -> Tensor:
    """Return the mean products (features,) float64 of two batches of images in each band."""
    return to_float64(torch.stack([(p * q).mean() for p, q in zip(split_bands(u), split_bands(v))]))


def features(x: Tensor) -> Tensor:
    """Return features (n, features) of pictures x (n, C, H, W) themselves: log energies, and the log share of flat.

    A picture that is one pixel wide has no neighbors, and no share of flat.
    """
    if x.shape[-1] < 2:
        return band_energies(x)
    still = (x[..., 1:] - x[..., :-1]).abs() < 1 / 255
    return torch.cat([band_energies(x), (to_float64(still).mean((1, 2, 3))[:, None] + 0.01).log()], 1)
