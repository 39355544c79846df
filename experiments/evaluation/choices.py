"""Arguments that take one of a few names, for measurements and for options of programs, which import no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["TRANSLATION_SAMPLERS", "InputPrecision"]

InputPrecision = Literal["8bit", "float32"]

# The samplers of the table and of the picture of a translation, as `parse_sampler` reads them, and their captions.
TRANSLATION_SAMPLERS = {
    "algorithm1": ("Algorithm 1", "z estimated"),
    "algorithm1-fixed": ("Algorithm 1", "z fixed"),
    "algorithm2": ("Algorithm 2", "z estimated"),
    "algorithm2-fixed": ("Algorithm 2", "z fixed"),
}
