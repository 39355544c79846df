"""The command that generates images from a model and its prior over x_T."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from degrade.command_line import UsageError
from degrade.image_io import to_pil_image
from degrade.optional import require
from restore import BaseRestorer
from samplers.commands.options import Count, ModelOptions
from samplers.commands.restoration import encode, replace_file
from samplers.generate import GenerateOptions, generate
from samplers.priors.base import Prior
from samplers.priors.fit import FitOptions, fit_prior
from samplers.priors.io import load_prior
from samplers.registry import parse_sampler

__all__ = ["Generate"]

NUM_FIT_IMAGES = 2000  # clean pictures that a prior is fitted to, at most
JITTER = 0.002  # of a prior that is fitted here


class Generate(ModelOptions):
    """Generate images from a model and its prior over x_T.

    The prior is the one saved with the model. Where there is none, one is fitted to the clean pictures in --data. The
    images are written to the folder --out, each as a PNG file and all of them in grid.png, in place of earlier ones.
    Image i depends on the seed and on i alone.
    """

    out: str = Field("generated", description="folder for the images")
    images: Count = Field(16, description="number of images")
    batch_size: Count = Field(16, description="images in one forward pass")
    sampler: str = Field("algorithm2", description="sampler, such as algorithm1, algorithm2-fixed, ddim:eta=0.5")
    sample_steps: Count | None = Field(None, description="steps of the sampler (default: one for each level)")

    def run(self) -> None:
        """Generate and write them; print the path of the grid."""
        device = self.torch_device()
        R = self.load_model(device)
        D = R.degradation
        try:
            sampler = parse_sampler(self.sampler)
            sampler.check_compatible(D)
        except ValueError as error:
            raise UsageError(f"--sampler {self.sampler}: {error}") from None
        if self.sample_steps is not None and self.sample_steps > D.T:
            raise UsageError(f"--sample-steps {self.sample_steps} is more than T = {D.T}; choose {D.T} or fewer")
        prior = self.read_prior(R, device)
        folder, digits, images = Path(self.out), len(str(self.images - 1)), []
        options = GenerateOptions(self.seed, self.batch_size, self.sample_steps)
        made = generate(R, sampler, prior, self.images, options)
        with require("tqdm", "a progress bar").tqdm(total=self.images, unit="image", disable=None) as bar:
            for numbers, x_0 in made:
                images.append(x_0.cpu())
                for i, x in zip(numbers, images[-1]):
                    replace_file(folder / f"{i:0{digits}}.png", encode(to_pil_image(x)))
                bar.update(len(x_0))
        replace_file(folder / "grid.png", encode(grid(torch.cat(images))))
        print(folder / "grid.png")

    def read_prior(self, R: BaseRestorer, device: torch.device) -> Prior:
        """Return the prior saved with the model, or one fitted to --data.

        Raises:
            UsageError: if neither can be had.
        """
        try:
            clean = self.clean_pictures(R, NUM_FIT_IMAGES)
            if clean is not None:
                return fit_prior(R.degradation, clean, options=FitOptions(n=len(clean), jitter=JITTER, seed=self.seed))
            return load_prior(self.model or "", D=R.degradation, device=device)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(f"no prior: {error}; or name clean pictures with --data") from None


def grid(images: torch.Tensor) -> Any:
    """Return images (n, C, H, W) side by side in rows, as a Pillow image."""
    columns = math.ceil(len(images) ** 0.5)
    H, W = images.shape[2:]
    page = images.new_ones(images.shape[1], (len(images) + columns - 1) // columns * H, columns * W)
    for i, x in enumerate(images):
        row, column = divmod(i, columns)
        page[:, row * H : (row + 1) * H, column * W : (column + 1) * W] = x
    return to_pil_image(page)
