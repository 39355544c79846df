"""The values of a data set and the numbers in [-1, 1] that stand for them.

    x = 2 (v - low) / (high - low) - 1,    v = low + (x + 1) (high - low) / 2

For 8-bit pictures low = 0 and high = 255, hence x = v / 127.5 - 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from degrade.frozen import frozen

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ValueRange"]


@frozen
class ValueRange:
    """The least and the greatest value of a data set, the same for all channels, in the units of its files.

    Args:
        low: the value that becomes -1.
        high: the value that becomes 1, above `low`.

    Raises:
        ValueError: if high is not above low, or one of them is not finite.

    >>> import torch
    >>> kelvin = ValueRange(200.0, 300.0)
    >>> kelvin.normalize(torch.tensor([200.0, 250.0, 300.0])), kelvin.denormalize(torch.tensor([0.0, 1.5]))
    (tensor([-1.,  0.,  1.]), tensor([250., 300.]))
    """

    low: float = 0.0
    high: float = 255.0

    def __post_init__(self) -> None:
        if not -float("inf") < self.low < self.high < float("inf"):
            raise ValueError(f"the value range is {self.low:g}..{self.high:g}; give a low and a higher, finite value")

    def normalize(self, values: Tensor) -> Tensor:
        """Return values as numbers in [-1, 1], float32 or wider."""
        wide = values if values.is_floating_point() and values.element_size() >= 4 else values.float()
        return (wide - self.low) / ((self.high - self.low) / 2) - 1

    def denormalize(self, x: Tensor) -> Tensor:
        """Return numbers in [-1, 1] as values; those outside are clamped first."""
        return (x.clamp(-1, 1) + 1) * ((self.high - self.low) / 2) + self.low
