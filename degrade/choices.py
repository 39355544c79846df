"""Arguments that take one of a few names, for degradations and for options of programs, which import no torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Coupling"]

Coupling = Literal["independent", "optimal"]
