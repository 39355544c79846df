"""How well a restorer restores whole pictures of different sizes from one severity.

    degraded         D(x0, t, z), rounded to 8 bits or not
    linear inverse   what the operator alone gives, if D is affine (`experiments.evaluation.linear`)
    baseline         another restorer of the same degradation, if one is given, on whole pictures
    noise model      a restorer of Gaussian noise under the rule `proximal`, if one is given (`restore.conditioned`)
    found severity   R(x_t, t') with the severity t' that is estimated from x_t alone, if asked for
    direct           R(x_t, t) as `samplers.restore_image` computes it for a user: in tiles, padded to what R divides by

`measure_pairs` does the same for pictures that were degraded by something else, with a severity that is given or found.
Every picture counts once, whatever its size. Metrics clip images to the range of the data; the images that R is given
are not clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Params, expand_level
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
from samplers import RestorationResult, RestoreOptions, restore_image

__all__ = ["PictureOptions", "measure_pairs", "measure_pictures"]

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
        reference: (n, C, S, S) clean pictures by which severities are found, as in `samplers.RestoreOptions`.
    """

    input_precision: InputPrecision = "float32"
    tile_size: int | None = None
    seed: int = 0
    baseline: BaseRestorer | None = None
    noise_model: BaseRestorer | None = None
    find_severity: bool = False
    reference: Tensor | None = None


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
    D, sums = R.degradation, _Sums(pictures, options)
    for i, picture in enumerate(tqdm(pictures, f"severity {severity}", disable=None, leave=False)):
        x0 = _divided(ValueRange().normalize(picture[None]).to(R.device), D.size_divisor)
        with torch.inference_mode():
            z = D.draw(x0, seeded_generator(x0.device, options.seed, "degraded", i))
            x_t = to_input_precision(D(x0, expand_level(severity, x0), z), options.input_precision)
        x_t = x_t.clone()  # the copy is a tensor that autograd knows
        sums.add({**_restored(R, x_t, z, severity, i, options), "direct": _direct(R, x_t, severity, options)}, x0)
    return sums.summarize()


def measure_pairs(
    R: BaseRestorer, pairs: PackedImages, severity: int | None = None, options: PictureOptions = PictureOptions()
) -> tuple[Evaluation, list[int]]:
    """Restore pictures that something else has degraded, and return what `measure_pictures` does and their severities.

    Args:
        R: the restorer; its degradation draws no z that would have to be known.
        pairs: clean and degraded pictures, uint8, as 2 C channels.
        severity: 1..T of all pictures; None to find that of each, where 0 counts as 1.
        options: size of tiles, seed, reference pictures.

    Raises:
        ValueError: for a severity that is not in 1..T, or pictures that do not suit R.
    """
    sums, severities = _Sums(pairs, options), list[int]()
    for i, pair in enumerate(tqdm(pairs, "restoring", disable=None, leave=False)):
        both = _divided(ValueRange().normalize(pair[None]).to(R.device), R.degradation.size_divisor)
        x0, x_t = both.chunk(2, 1)
        if severity is None:
            found = _found(R, x_t, i, options)
            t = max(1, found.severity.t)
            direct = found.image if found.severity.t else _direct(R, x_t, t, options)
        else:
            t, direct = severity, _direct(R, x_t, severity, options)
        severities.append(t)
        sums.add({**_restored(R, x_t, None, t, i, options), "direct": direct}, x0)
    return sums.summarize(), severities


class _Sums:
    """What the metrics observe of the pictures that each way to restore has made."""

    def __init__(self, pictures: PackedImages, options: PictureOptions) -> None:
        smallest = int(pictures.sizes.min())
        metrics = [name for name in METRICS if make_metric(name).minimum_size <= smallest]
        self.evaluator = Evaluator(metrics, batch_size=1, seed=options.seed)
        self.sums: dict[str, Accumulator] = {}

    def add(self, restored: dict[str, Tensor], x0: Tensor) -> None:
        for name, x in restored.items():
            self.sums.setdefault(name, self.evaluator.accumulator()).add(x, x0)

    def summarize(self) -> Evaluation:
        return self.evaluator.summarize({name: own.rows() for name, own in self.sums.items()}, baseline="direct")


def _restored(
    R: BaseRestorer, x_t: Tensor, z: Params, severity: int, number: int, options: PictureOptions
) -> dict[str, Tensor]:
    """Return a degraded picture (1, C, H, W), and what each way to restore but the direct one makes of it."""
    D, t, restored = R.degradation, expand_level(severity, x_t), {"degraded": x_t}
    known = z is not None or not D.random or D.identifiable
    with torch.inference_mode():
        if known and has_linear_inverse(D):
            restored["linear inverse"] = linear_inverse(D, x_t, t, z, options.input_precision)
        if options.baseline is not None:
            restored["baseline"] = options.baseline(x_t, t)
    if options.noise_model is not None:
        noise = INPUT_NOISE[options.input_precision]
        measured = RestoreOptions(tile_size=options.tile_size, degradation=D, z=z, noise=noise)
        generator = seeded_generator(x_t.device, options.seed, "sampled", number)
        found = restore_image(options.noise_model, x_t, severity, options=measured, generator=generator)
        restored["noise model"] = found.image
    if options.find_severity:
        restored["found severity"] = _found(R, x_t, number, options).image
    return restored


def _direct(R: BaseRestorer, x_t: Tensor, severity: int, options: PictureOptions) -> Tensor:
    image: Tensor = restore_image(R, x_t, severity, options=RestoreOptions(tile_size=options.tile_size)).image
    return image


def _found(R: BaseRestorer, x_t: Tensor, number: int, options: PictureOptions) -> RestorationResult:
    """Return a picture restored from the severity that is found from it alone."""
    own = RestoreOptions(tile_size=options.tile_size, reference=options.reference)
    generator = seeded_generator(x_t.device, options.seed, "severity", number)
    return restore_image(R, x_t, options=own, generator=generator)


def _divided(x: Tensor, divisor: int) -> Tensor:
    height, width = (side // divisor * divisor for side in x.shape[2:])
    return x[..., :height, :width]
