"""Arguments that take one of a few names, for restorers and for options of programs, which import no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Precision", "PrecisionChoice", "Predict"]

Predict = Literal["x0", "eps", "v"]
Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]
