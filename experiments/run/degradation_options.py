"""The options that say which degradation is undone, by what, and how that is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from degrade.constants import ROUNDING_NOISE
from degrade.options import KeyValues, Options
from samplers.choices import PriorKind
from samplers.commands.options import Count

if TYPE_CHECKING:
    from restore import InverseInput

__all__ = ["DegradationOptions"]


class DegradationOptions(Options):
    """Degradation and sampling."""

    degradation: str = Field("blur", description="name of the degradation; `python -m degrade list` prints all names")
    degradation_args: KeyValues = Field(
        {}, description="arguments of the degradation; they add to those of a preset with the same degradation"
    )
    prior: PriorKind | None = Field(
        None, description="prior over x_T, fitted and saved for generation: auto, or a kind of prior"
    )
    jitter: float = Field(0.0, ge=0, description="standard deviation of the noise that the prior adds to x_T")
    inverse_input: bool = Field(
        False, description="give the network the linear inverse of its input, too; it predicts what is missing in that"
    )
    inverse_noise: float = Field(
        ROUNDING_NOISE,
        gt=0,
        description="standard deviation of the error of its input that the linear inverse assumes; for images of 8 bits"
        " at least that of their rounding",
    )
    sample_steps: Count | None = Field(None, description="number of sampling steps (default: T)")
    eval_images: Count = Field(64, description="number of images in the evaluation")

    def seen_inverse(self) -> InverseInput | None:
        """Return the linear inverse that the network sees besides x_t, or None."""
        from restore import InverseInput

        return InverseInput(self.inverse_noise) if self.inverse_input else None
