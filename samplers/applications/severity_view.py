"""What the severity of a picture is estimated by: its features, and those of what its restoration does not explain.

`View` holds the degradation and the restorer with which the features are computed, in batches. See
`samplers.applications.severity` for what they are, and `samplers.applications.severity_model` for the features of one
image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, Params, expand_level, quantize_8bit
from degrade.precision import to_float64
from degrade.random import Generators
from restore import BaseRestorer
from samplers.applications.severity_model import band_energies, band_products, features, split_bands

__all__ = ["View", "probed_features"]

PROBE_FRACTIONS = (0.15, 0.4, 0.65, 0.9)  # severities that R is given, as fractions of T
PROBE_STEP = 0.1  # by which x moves to see how R follows, in units of the noise
NOISE_TOLERANCE = 0.06  # of the logarithm of an energy, beyond what chance explains
LEAST_NOISE = 0.002  # a smaller share of the noise in a band says nothing


class View(NamedTuple):
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

    def restored(self, x: Tensor, c: Tensor) -> Tensor:
        """Return R(x, c) for severities c (n,), batch by batch."""
        parts = []
        for part, level in zip(torch.split(x, self.batch_size), torch.split(c, self.batch_size)):
            parts.append(self.R(part, level))
            if not parts[-1].isfinite().all():
                raise ValueError(f"R returns nan or infinite values at severities {_range(level)}: check its weights")
        return torch.cat(parts)

    def residual_features(self, x: Tensor, x0_hat: Tensor, c: Tensor, z: Params) -> Tensor:
        """Return features (n, features) of what x0_hat, restored at severities c (n,), does not explain of x."""
        if not self.params_known:
            return band_energies(x0_hat - x)
        if _images(found := self.D.estimate(x, x0_hat, c, z), x):
            noise = _last(found)
            # True noise is independent of the image; z that was computed with a wrong severity is not.
            along = (noise * x0_hat).sum((1, 2, 3)) / x0_hat.square().sum((1, 2, 3)).sqrt().clamp(min=1e-6)
            return torch.cat([band_energies(noise), to_float64(along[:, None])], 1)
        return band_energies(x - self.D(x0_hat, c, found))

    def all_features(self, x: Tensor, x0_hat: Tensor, c: Tensor, z: Params) -> Tensor:
        """Return features (n, features) of x itself and of what x0_hat, restored at severities c, does not explain."""
        return torch.cat([features(x), self.residual_features(x, x0_hat, c, z)], 1)

    def noise_excess(self, x: Tensor, level: int) -> Tensor:
        """Return mean and variance (2, features) of log(noise found in x / noise that R expects to find), by bands.

        For x_t = a_t x0 + b_t z with normal z and R(x_t) = E[x0 given x_t], the noise found, z_hat, obeys

            E[z_hat z_hat^T] = I - a_t dR/dx_t

        (the second-order formula of Tweedie; Robbins 1956, Efron 2011). The right side is evaluated along random
        directions. What rounding and clipping to 8 bits change of noise is measured on noise.
        """
        D, t = self.D, expand_level(level, x)
        a_t, b_t = D.coefficients(t, x)
        x0_hat, z = self.restored(x, t), D.draw(x, self.generator)
        found, step = D.estimate(x, x0_hat, t, z), PROBE_STEP * b_t
        expected = z - a_t * (self.restored(x + step * z, t) - x0_hat) / step
        clean = x0_hat.clamp(-1, 1)
        in_file = D.estimate(self.degraded(clean, t, z), clean, t, z)
        whole = band_products(z, z)
        observed = band_products(found, found) / whole
        left = band_products(z, expected).clamp(min=0) * band_products(in_file, in_file) / whole**2
        mean = ((observed + LEAST_NOISE) / (left + LEAST_NOISE)).log()
        counts = torch.tensor([band.numel() for band in split_bands(x)], device=mean.device)
        # The bands of one picture are off together: n of them count as sqrt(n).
        return torch.stack([mean, (4 / counts + NOISE_TOLERANCE**2) * len(mean) ** 0.5]).cpu()

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


def probed_features(view: View, x: Tensor, z: Params) -> Tensor:
    """Return all features (n, features) of pictures, with R evaluated at a few severities."""
    T, found = view.D.T, [features(x)]
    for probe in sorted({max(1, round(T * share)) for share in PROBE_FRACTIONS}):
        c = expand_level(probe, x)
        found.append(view.residual_features(x, view.restored(x, c), c, z))
    return torch.cat(found, 1).cpu()
