"""A network that sees the linear inverse: what it is given besides x_t, and what it then has to predict.

    inverse = D.invert(x_t, t, noise=noise_t, spread=spread)            (see `restore.linear_inverse`)
    x0_hat  = inverse + net([x_t, inverse], t)

The images x_t and their inverse are concatenated as channels, so the network has `in_channels` of 2 C and
`out_channels` of C, and its target is what the inverse lacks, x0 - inverse. A network that returns 0 makes R the linear
inverse itself. FBPConvNet (Jin et al., arXiv 1611.03679, 2017) does the same for tomography.

`noise` states how far x_t may be from D(x0, t): the rounding to 8 bits, or next to nothing for images that were never
rounded. One network can be trained on both, with a small `noise` here that `R.with_input_noise` raises for rounded
images (`TrainConfig.quantize_probability`). In a sampler x_t is D of a prediction, with an error that the rounding of
T + 1 severities does not describe: a larger `noise` for some severities makes the inverse safer there.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from degrade import Degradation
from degrade.constants import ROUNDING_NOISE
from degrade.frozen import frozen
from restore.linear_inverse import LinearInverse

__all__ = ["InverseInput"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@frozen
class InverseInput:
    """The linear inverse as a second input of a restorer's network.

    Args:
        noise: standard deviation of the error of x_t, above 0, on the scale of [-1, 1]: one number for every severity,
            or T + 1 numbers, of which that of severity 0 is not used. By default that of rounding to 8 bits.
        spread: standard deviation of the pixels of clean images, above 0.

    >>> InverseInput(noise=1e-5).spread
    0.5
    """

    noise: Positive | tuple[Positive, ...] = ROUNDING_NOISE
    spread: Positive = 0.5

    def build(self, degradation: Degradation) -> LinearInverse:
        """Return the linear inverse of a degradation that the network sees.

        Raises:
            ValueError: if the degradation is not affine; if it draws a z, which R(x_t, t) does not know; or if there
                are not T + 1 values of noise.
        """
        if not degradation.affine:
            raise ValueError(
                f"inverse_input needs a linear inverse, and {degradation.name!r} is not affine; use inverse_input=None"
            )
        if degradation.random:
            raise ValueError(
                f"inverse_input needs all that {degradation.name!r} did, and R(x_t, t) does not know its z;"
                " use inverse_input=None, or arguments for which nothing is drawn"
            )
        noise = torch.tensor(self.noise) if isinstance(self.noise, tuple) else self.noise
        return LinearInverse(degradation, noise, self.spread)
