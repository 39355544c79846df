"""Numbers that defaults are made of."""

from __future__ import annotations

__all__ = ["ROUNDING_NOISE"]

# Standard deviation of the error of rounding [-1, 1] to 8 bits: uniform within half a step of 2 / 255.
ROUNDING_NOISE = 2 / 255 / 12**0.5
