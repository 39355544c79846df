"""Arguments that take one of a few names, for measurements and for options of programs, which import no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["InputPrecision"]

InputPrecision = Literal["8bit", "float32"]
