"""The command that generates images from a model and its prior over x_T, and what programs share with it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field, model_validator

from degrade.command_line import UsageError
from degrade.files import replace_file
from degrade.optional import require
from samplers.choices import PriorKind
from samplers.commands.options import Count, ModelOptions
from samplers.commands.restoration import encode

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from degrade import Degradation, Source
    from restore import BaseRestorer
    from samplers import Prior, Sampler

__all__ = ["Generate", "GenerationOptions"]

JITTER = 0.002  # of a prior that is fitted here
KINDS: tuple[str, ...] = get_args(PriorKind)


class GenerationOptions(ModelOptions):
    """Generation."""

    out: str | None = Field("generated", description="folder for the images")
    images: Count = Field(16, description="number of images")
    batch_size: Count = Field(16, description="images in one forward pass")
    sampler: str = Field("algorithm2", description="sampler, such as algorithm1, algorithm2-fixed, ddim:eta=0.5")
    sample_steps: Count | None = Field(None, description="steps of the sampler (default: one for each level)")
    prior: str = Field(
        "auto", description=f"prior over x_T: auto (the saved one, or the one that fits), or {', '.join(KINDS[1:])}"
    )
    k: Count | None = Field(
        None, description="side in pixels of the pictures of the prior low_resolution (default: the smallest that fits)"
    )
    components: Count = Field(1, description="number of Gaussians in the mixture of the prior low_resolution")
    fit_images: Count = Field(2000, description="largest number of images that a prior is fitted to")
    jitter: float | None = Field(
        None,
        ge=0,
        description=f"standard deviation of noise added to x_T (default: that of the prior, or {JITTER})",
    )

    label: str | None = Field(None, description="name of the class of the images, for a model trained with classes")
    guidance_scale: float = Field(
        1.0, description="guidance towards --label: 1 for none, above 1 for more typical and less varied images"
    )

    @model_validator(mode="after")
    def _check_guidance(self) -> GenerationOptions:
        if self.guidance_scale != 1 and self.label is None:
            raise ValueError(f"--guidance-scale {self.guidance_scale:g} guides towards a class; name it with --label")
        return self

    def guide(self, R: BaseRestorer) -> BaseRestorer:
        """Return the restorer of images of the class --label, guided; the model itself without a label.

        Args:
            R: the model.

        Raises:
            UsageError: if the model does not know the class, or was not trained for guidance and is asked for it.
        """
        if self.label is None:
            return R
        import torch

        from restore import Guided, latest, read_checkpoint_config

        known = read_checkpoint_config(latest(self.model or ""))
        classes = known.data.classes if known.data else ()
        if self.label not in classes:
            fix = f"choose from {', '.join(classes)}" if classes else "the model knows no classes; leave it out"
            raise UsageError(f"--label {self.label}: {fix}")
        if self.guidance_scale != 1 and not known.training.cond_dropout:
            raise UsageError(
                f"--guidance-scale {self.guidance_scale:g}: the model was trained without --cond-dropout; leave it out"
            )
        return Guided(R, self.guidance_scale, label=torch.tensor([classes.index(self.label)], device=R.device))

    def read_sampler(self, D: Degradation) -> Sampler:
        """Return the sampler.

        Raises:
            UsageError: if it cannot undo D, or in so many steps.
        """
        from samplers.registry import parse_sampler

        if self.sample_steps is not None and self.sample_steps > D.T:
            raise UsageError(f"--sample-steps {self.sample_steps} is more than T = {D.T}; choose {D.T} or fewer")
        try:
            sampler = parse_sampler(self.sampler)
            sampler.check_compatible(D)
        except ValueError as error:
            raise UsageError(f"--sampler {self.sampler}: {error}") from None
        return sampler

    def find_prior(self, R: BaseRestorer, images: Source | Tensor | None, partners: Source | None = None) -> Prior:
        """Return the prior saved with the model, or one that is fitted if another is asked for or none is saved.

        Args:
            R: the model.
            images: clean images to fit the prior to; None for a degradation that leaves nothing of an image at T.
            partners: the other set of images of an interpolation.

        Raises:
            UsageError: if neither can be had.
        """
        import torch

        from restore import latest, read_checkpoint_config
        from samplers.priors.fit import FitOptions, fit_prior, tensor_source
        from samplers.priors.io import load_prior

        D, device = R.degradation, R.device
        # k is only of use to one kind.
        kind: Any = "low_resolution" if self.prior == "auto" and self.k else self.prior
        try:
            saved = read_checkpoint_config(latest(self.model or "")).prior
            if kind == "auto" and saved is not None:
                source = partners if saved.name == "dataset" else images
                source = tensor_source(source) if isinstance(source, torch.Tensor) else source
                runtime = {} if source is None else {"source": source}
                prior = load_prior(self.model or "", D=D, device=device, **runtime)
            else:
                jitter = JITTER if self.jitter is None else self.jitter
                options = FitOptions(
                    n=self.fit_images, k=self.k, components=self.components, jitter=jitter, seed=self.seed
                )
                prior = fit_prior(D, _probes(R, kind, device) if images is None else images, kind, options)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(f"--prior {self.prior}: {error}") from None
        return prior if self.jitter is None else dataclasses.replace(prior, jitter=self.jitter)


class Generate(GenerationOptions):
    """Generate images from a model and its prior over x_T.

    The prior is the one saved with the model. Where there is none, or another is asked for with --prior, it is fitted
    to the clean pictures in --data, which a degradation that leaves nothing of an image does not need. The images are
    written to the folder --out in place of earlier ones: each as a PNG file, or as a .npy file of float32 values for a
    model that was trained on values in a range or on another number of channels than 1 or 3; and all in grid.png.
    Image i depends on the seed and on i alone.
    """

    def run(self) -> None:
        """Generate and write them; print the path of the grid."""
        import torch

        from samplers.applications.pictures import ARRAY_SUFFIX, new_picture
        from samplers.commands.clean_pictures import clean_pictures
        from samplers.generation import GenerateOptions, generate

        R = self.load_model(self.torch_device())
        sampler = self.read_sampler(R.degradation)
        prior = self.find_prior(R, clean_pictures(R, self.data, self.fit_images))
        folder, digits, images = Path(self.out or "generated"), len(str(self.images - 1)), []
        options = GenerateOptions(self.seed, self.batch_size, self.sample_steps)
        with require("tqdm", "a progress bar").tqdm(total=self.images, unit="image", disable=None) as bar:
            for numbers, x_0 in generate(self.guide(R), sampler, prior, self.images, options):
                images.append(x_0.cpu())
                for i, x in zip(numbers, images[-1]):
                    picture = new_picture(x, R.value_range)
                    suffix = ".png" if hasattr(picture, "getbands") else ARRAY_SUFFIX
                    replace_file(folder / f"{i:0{digits}}{suffix}", encode(picture, suffix))
                bar.update(len(x_0))
        replace_file(folder / "grid.png", encode(grid(torch.cat(images))))
        print(folder / "grid.png")


def _probes(R: BaseRestorer, kind: str, device: torch.device) -> Tensor:
    """Return black and white images, plain and speckled: a degradation that leaves nothing of these leaves nothing.

    Raises:
        ValueError: if the degradation leaves something of them, and the prior needs to know what.
    """
    import torch

    from samplers.commands.clean_pictures import image_shape
    from samplers.priors.fit import measure_remaining_detail

    D, shape = R.degradation, image_shape(R)
    if shape is not None:
        signs = torch.rand(32, *shape, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
        x0 = torch.cat([signs, signs[:, :, :1, :1].expand_as(signs)]).to(device)
        if kind in ("degraded_zero", "standard_normal") or (
            kind == "auto" and measure_remaining_detail(D, x0, sizes=[0])
        ):
            return x0
    raise ValueError(f"{D.name} leaves something of an image at T = {D.T}; name images to fit the prior to with --data")


def grid(images: torch.Tensor) -> Any:
    """Return images (n, C, H, W) side by side in rows, as a Pillow image."""
    from degrade.image_io import to_pil_image

    columns = math.ceil(len(images) ** 0.5)
    H, W = images.shape[2:]
    page = images.new_ones(images.shape[1], (len(images) + columns - 1) // columns * H, columns * W)
    for i, x in enumerate(images):
        row, column = divmod(i, columns)
        page[:, row * H : (row + 1) * H, column * W : (column + 1) * W] = x
    return to_pil_image(page)
