"""The command that lets a model find severities by itself."""

from __future__ import annotations

from pydantic import Field

from degrade.command_line import UsageError
from samplers.commands.options import Count, ModelOptions

__all__ = ["Calibrate"]


class Calibrate(ModelOptions):
    """Let a model find the severity of pictures by itself, without clean pictures beside them.

    What restored pictures look like at each severity is measured once, on the clean pictures in --data, and kept beside
    the weights of the model. A model of Gaussian noise does not need it.
    """

    images: Count = Field(200, ge=2, description="number of clean pictures, or windows of them, at most")

    def run(self) -> None:
        """Measure, write the file, print its path."""
        from degrade.random import seeded_generator
        from restore import keep_severity_model
        from samplers.applications.severity_calibration import calibrate_severity
        from samplers.commands.clean_pictures import clean_pictures

        R = self.load_model(self.torch_device())
        reference = clean_pictures(R, self.data, self.images, surrounded=True)
        if reference is None:
            raise UsageError("--data is missing; name a folder of clean pictures")
        generator = seeded_generator(R.device, self.seed, "calibration")
        try:
            found = calibrate_severity(R, reference, generator=generator)
            print(keep_severity_model(str(self.model), found))
        except (ValueError, OSError) as error:
            raise UsageError(f"--model {self.model}: {error}") from None
