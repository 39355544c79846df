"""JPEG compression: an image is coded with lower and lower quality, and decoded again.

    x_t = J(x0, q_t),    t = 1..T;    x_0 = x0

J codes an image with quality q and decodes it (`degrade.functional.jpeg_codec`): conversion to YCbCr, color at half
size, cosine transform of 8 x 8 blocks, division by a table of quantization steps, rounding, and the inverse of all of
these. Quality q multiplies the standard table by S(q) = 50 / q for q < 50 and 2 - q / 50 otherwise. Every level
multiplies the steps by the same factor:

    S(q_t) = S(start_quality)^(1 - u) S(end_quality)^u,    u = (t - 1) / (T - 1)

Equal differences of q would not be equal changes of the image: q = 10 and 20 differ much, q = 80 and 90 little. J is
not linear in x0, and has a derivative. The cost does not depend on t.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.jpeg_codec import Coefficients, cosine_matrix, decode, encode, quantization_steps
from degrade.functional.levels import LevelTables, compute_dtype
from degrade.registry import register

__all__ = ["Jpeg"]

Quality = Annotated[float, Field(ge=1, le=99)]


def _stretch(quality: float) -> float:
    """Return S(q), how much quality q stretches the standard table; 1 at q = 50."""
    return 50 / quality if quality < 50 else 2 - quality / 50


@register("jpeg")
class Jpeg(Degradation):
    """JPEG compression with quality `start_quality` at t = 1 down to `end_quality` at t = T.

    Images have 1 or 3 channels. z is None.

    Args:
        T: number of levels, at least 1.
        start_quality: JPEG quality at t = 1, in [1, 99].
        end_quality: JPEG quality at t = T, in [1, 99].

    >>> D = Jpeg(T=3, start_quality=50, end_quality=2)
    >>> x0 = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> [round((D(x0, torch.tensor([t])) - x0).abs().mean().item(), 2) for t in (0, 1, 3)]
    [0.0, 0.01, 0.11]
    """

    T: NumLevels = 50
    start_quality: Quality = 75.0
    end_quality: Quality = 2.0

    def precompute(self) -> LevelTables:
        """Return the table of quantization steps (T + 1, 2, 8, 8), where level 0 is not used, and the DCT."""
        u = torch.linspace(1, 0, self.T, dtype=torch.float64).flip(0)  # with T = 1 it is the last quality that counts
        stretch = _stretch(self.start_quality) ** (1 - u) * _stretch(self.end_quality) ** u
        return LevelTables(quantization_steps(torch.cat([stretch[:1], stretch])), constants=(cosine_matrix(),))

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return the image coded and decoded with quality q_t, and x0 itself at t = 0.

        Raises:
            ValueError: if x0 has neither 1 nor 3 channels.
        """
        return self._decoded(self._encoded(x0), x0, t)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return D(x0, s) - D(x0, t), of coefficients that no level changes."""
        coefficients = self._encoded(x0)
        return self._decoded(coefficients, x0, s) - self._decoded(coefficients, x0, t)

    def _encoded(self, x0: Tensor) -> Coefficients:
        if x0.shape[1] not in (1, 3):
            raise ValueError(f"{self.name}: x0 has {x0.shape[1]} channels; JPEG codes 1 or 3")
        return encode(x0, self._cosines(x0))

    def _decoded(self, coefficients: Coefficients, x0: Tensor, t: Tensor) -> Tensor:
        (steps,) = self.tables.gather(t, x0)
        coded = decode(coefficients, steps, self._cosines(x0))
        return torch.where(t.view(-1, 1, 1, 1) > 0, coded[:, :, : x0.shape[2], : x0.shape[3]], x0)

    def _cosines(self, x0: Tensor) -> Tensor:
        assert isinstance(self.tables, LevelTables)
        _, constants = self.tables.convert(x0.device, compute_dtype(x0.dtype))
        return constants[0]
