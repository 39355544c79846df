"""How well a restorer restores whole pictures of different sizes from one severity.

    degraded         D(x0, t, z), rounded to 8 bits or not
    linear inverse   what the operator alone gives, if D is affine (`experiments.evaluation.linear`)
    baseline         another restorer of the same degradation, if one is given, on whole pictures
    noise model      a restorer of Gaussian noise under the rule `proximal`, if one is given (`restore.conditioned`)
    found severity   R(x_t, t') with the severity t' that is estimated from x_t alone, if asked for
    direct           R(x_t, t) as `samplers.restore_image` computes it for a user: in tiles, padded to what R divides by

Every picture counts once, whatever its size. Metrics clip images to the range of the data; the images that R is given
are not clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import expand_level
from degrade.random import seeded_generator
from experiments.data.packed import PackedImages
from experiments.evaluation.accumulate import Accumulator
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.linear import (
    INPUT_NOISE,
    has_linear_inverse,
    linear_inverse,
    to_input_precision,
)
from experiments.evaluation.metrics.base import make_metric
from restore import BaseRestorer
from restore.value_range import ValueRange
from samplers import RestoreOptions, restore_image

__all__ = ["PictureOptions", "measure_pictures"]

METRICS = ("psnr", "ssim")


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are degraded and restored.

    Args:
        input_precision: `8bit` rounds degraded pictures to 256 levels, as a file does; `float32` does not.
        tile_size: side in pixels of the tiles of R; None for the default of `restore_image`, and a side that no picture
            exceeds for whole pictures.
        seed: seed of what is random about the degradation, of samplers, and of the intervals.
        baseline: another restorer of the same degradation, which restores the pictures too, without tiles.
        noise_model: a restorer of Gaussian noise that restores the pictures, too, with the degradation known.
        find_severity: whether R also restores them from a severity that it finds by itself.
    """

    input_precision: InputPrecision = "float32"
    tile_size: int | None = None
    seed: int = 0
    baseline: BaseRestorer | None = None
    noise_model: BaseRestorer | None = None
    find_severity: bool = False


def measure_pictures(
    R: BaseRestorer, pictures: PackedImages, severity: int, options: PictureOptions = PictureOptions()
) -> Evaluation:
    """Degrade pictures, restore them, and return PSNR and SSIM with 95 % intervals and differences to `direct`.

    Args:
        R: the restorer.
        pictures: clean pictures, uint8. Of each the largest upper left part is taken whose sides D divides.
        severity: 1..T.
        options: precision of the degraded pictures, size of tiles, seed.

    Raises:
        ValueError: for a severity that is not in 1..T, or pictures that do not suit R.

    >>> import degrade, restore
    >>> R = restore.FunctionRestorer(lambda x, t: x + 0.1, degrade.make("blur", T=2))
    >>> gray = PackedImages.pack([torch.full((3, 16, 20), 51, dtype=torch.uint8)])
    >>> round(measure_pictures(R, gray, 2).value("direct", "psnr"), 2)  # -20 log10(0.1 / 2)
    26.02
    """
    smallest = int(pictures.sizes.min())
    evaluator = Evaluator(
        [name for name in METRICS if make_metric(name).minimum_size <= smallest], batch_size=1, seed=options.seed
    )
    sums: dict[str, Accumulator] = {}
    for i, picture in enumerate(tqdm(pictures, f"severity {severity}", disable=None, leave=False)):
        x0 = _divided(ValueRange().normalize(picture[None]).to(R.device), R.degradation.size_divisor)
        for name, x in _restored(R, x0, severity, i, options).items():
            sums.setdefault(name, evaluator.accumulator()).add(x, x0)
    return evaluator.summarize({name: own.rows() for name, own in sums.items()}, baseline="direct")


def _restored(R: BaseRestorer, x0: Tensor, severity: int, number: int, options: PictureOptions) -> dict[str, Tensor]:
    """Return a picture (1, C, H, W) as degraded, and as restored in each way."""
    D, t = R.degradation, expand_level(severity, x0)
    with torch.inference_mode():
        z = D.draw(x0, seeded_generator(x0.device, options.seed, "degraded", number))
        x_t = to_input_precision(D(x0, t, z), options.input_precision)
        restored = {"degraded": x_t}
        if has_linear_inverse(D):
            restored["linear inverse"] = linear_inverse(D, x_t, t, z, options.input_precision)
        if options.baseline is not None:
            restored["baseline"] = options.baseline(x_t, t)
    x_t, own = x_t.clone(), RestoreOptions(tile_size=options.tile_size)  # a tensor that autograd knows
    if options.noise_model is not None:
        noise = INPUT_NOISE[options.input_precision]
        known = RestoreOptions(tile_size=options.tile_size, degradation=D, z=z, noise=noise)
        generator = seeded_generator(x0.device, options.seed, "sampled", number)
        found = restore_image(options.noise_model, x_t, severity, options=known, generator=generator)
        restored["noise model"] = found.image
    if options.find_severity:
        generator = seeded_generator(x0.device, options.seed, "severity", number)
        restored["found severity"] = restore_image(R, x_t, options=own, generator=generator).image
    return {**restored, "direct": restore_image(R, x_t, severity, options=own).image}


def _divided(x: Tensor, divisor: int) -> Tensor:
    height, width = (side // divisor * divisor for side in x.shape[2:])
    return x[..., :height, :width]
