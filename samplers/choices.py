"""Arguments that take one of a few names, for priors and for options of programs, which import no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["PriorKind"]

PriorKind = Literal["auto", "standard_normal", "degraded_zero", "uniform_color", "low_resolution", "degraded_data"]
