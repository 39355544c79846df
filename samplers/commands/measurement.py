"""Options that tell what was done to a picture, where the model was trained on something else or is no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import KeyValues, UsageError
from degrade.constants import ROUNDING_NOISE
from samplers.commands.options import ModelOptions

if TYPE_CHECKING:
    import torch

    from degrade import Degradation
    from restore import BaseRestorer, Rule

__all__ = ["LINEAR", "MeasurementOptions"]

LINEAR = "linear"  # --model linear: the linear inverse of --degradation, without a network


class MeasurementOptions(ModelOptions):
    """Known degradation, for models of Gaussian noise and for --model linear."""

    degradation: str | None = Field(
        None, description="name of the degradation that the pictures have (see `python -m degrade list`)"
    )
    degradation_args: KeyValues = Field({}, description="arguments of --degradation, such as T=50 kernel_size=11")
    rule: str = Field(
        "proximal", description="how model and picture are combined: projection, proximal, pseudo_inverse or gradient"
    )
    noise: float = Field(
        ROUNDING_NOISE,
        description="standard deviation of the error of the picture, in images in [-1, 1]; take"
        " more if the result shows ringing "
        "(default: that of rounding to 8 bits)",
    )

    def measured_degradation(self) -> Degradation | None:
        """Return the degradation that --degradation names; None without it.

        Raises:
            UsageError: for an unknown name or argument.
        """
        if self.degradation is None:
            if self.degradation_args:
                raise UsageError("--degradation-args is for --degradation, which is missing; name a degradation")
            return None
        from degrade import make

        try:
            return make(self.degradation, **self.degradation_args)
        except ValueError as error:
            raise UsageError(f"--degradation {self.degradation}: {error}") from None

    def chosen_rule(self) -> Rule:
        """Return the rule that --rule names.

        Raises:
            UsageError: for an unknown name or argument.
        """
        from restore.conditioned import RULES

        try:
            return RULES.from_dict(self.rule)
        except ValueError as error:
            raise UsageError(f"--rule {self.rule}: {error}") from None

    def load_model(self, device: torch.device, **runtime: Any) -> BaseRestorer:
        """Return the model, or the linear inverse of --degradation for --model linear.

        Raises:
            UsageError: if none is named, or it cannot be read or made.
        """
        if self.model != LINEAR:
            return super().load_model(device, **runtime)
        D = self.measured_degradation()
        if D is None:
            raise UsageError("--model linear needs --degradation; name the degradation that it inverts")
        from restore import LinearInverse

        try:
            return LinearInverse(D, self.noise, clip_sample=True)
        except ValueError as error:
            raise UsageError(f"--model linear: {error}") from None
