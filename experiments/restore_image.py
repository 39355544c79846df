"""Restore a picture of yours that is already degraded.

    python experiments/restore_image.py --model runs/train-001 --image photo.jpg
    python experiments/restore_image.py --model runs/train-001 --image photo.jpg --severity 37 --sampler algorithm2
    python experiments/restore_image.py --model runs/train-002 --image photo.png --mask mask.png

It does what `python -m samplers image` does, except that the severity is estimated by comparison with the images that
the model was trained on, or those named with --data, which is as in train.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from degrade.command_line import UsageError, explicit_values, run_main, validated
from samplers.commands.image import ImageOptions
from samplers.commands.restoration import NUM_REFERENCE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from restore import BaseRestorer

__all__ = ["Config", "main"]


class Config(ImageOptions):
    """Input."""

    image: str | None = Field(None, description="file of the degraded picture")

    def load_reference(self, device: torch.device) -> tuple[BaseRestorer, Tensor | None]:
        """Return the model, and images it was trained on where a severity is to be estimated."""
        if self.severity != "auto" or self.mask is not None:
            return self.load_model(device), None
        from degrade.random import seeded_generator
        from experiments.run.model import ModelSource, load_model

        model = load_model(ModelSource(self.model, self.data, seed=self.seed), device)
        source = model.data.training if model.data else None
        return model.R, source(NUM_REFERENCE, seeded_generator(device, self.seed, "reference")) if source else None

    def run(self) -> None:
        """Restore the picture.

        Raises:
            UsageError: for anything that the user can correct.
        """
        if self.image is None:
            raise UsageError("--image is missing; name a picture")
        self.restore_file(self.image, "--image ")


def main(argv: Sequence[str]) -> None:
    """Restore one picture and print the severity and where the results are."""
    validated(Config, explicit_values(Config, argv, "restore_image.py", __doc__ or "")).run()


if __name__ == "__main__":
    sys.exit(run_main(main, "restore_image"))
