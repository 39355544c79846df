"""Restoration of a picture that is already degraded, of any size and kind, by any restorer and sampler.

    severity    given, or estimated (`samplers.applications.severity`) from crops of the size that R was trained on
    direct      x0_hat = R(x, t), in tiles (`restore.tiling`)
    sampled     a trajectory from t to 0. Its state is the whole picture: D is applied to all of it and its noise is
                drawn once; R alone works in tiles. If no output pixel of R depends on a pixel further away than a
                quarter of the overlap of two tiles, the result does not depend on the tiles
    conditioned a restorer of Gaussian noise restores what any other known degradation has done, from noise
                (`samplers.applications.conditioning`); for it a mask is the z of `missing_pixels`, at any level
    mask        another restorer is given missing pixels as 0, as `inpaint` sets them. Its answer is taken there only

A network for gray images restores the channels of a color picture one by one; a network for color is given a gray
picture as three equal channels, and the mean of its answer is returned. `samplers.applications.pictures` lists the
kinds of pictures.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, MissingPixels, Params, expand_level
from degrade.constants import ROUNDING_NOISE
from degrade.functional.quantization import is_8bit
from degrade.random import Generators
from restore import RULES, BaseRestorer, Measurement, Rule
from samplers.applications.conditioning import describe_measurement, sample_conditioned
from samplers.applications.picture_sampling import crops, image_size, sample_picture
from samplers.applications.picture_tiles import OwnPrecision, in_tiles
from samplers.applications.pictures import read_pictures
from samplers.applications.severity import SeverityEstimate, estimate_severity
from samplers.base import Sampler
from samplers.loop import direct
from samplers.registry import parse_sampler
from samplers.timesteps import spaced_timesteps

__all__ = ["RestorationResult", "RestoreOptions", "restore_image"]


class RestorationResult(NamedTuple):
    """A restored picture, of the kind it came as, and the severity it was restored from."""

    image: Any
    severity: SeverityEstimate


@dataclass(frozen=True, eq=False)
class RestoreOptions:
    """How a picture is restored.

    Args:
        steps: the largest number of steps of a sampler, 1 or more; None for one step at each level, or for 20 with a
            `degradation`.
        mask: (H, W) bool, true where the picture is missing.
        tile_size: side in pixels of the tiles that the network is given; None for the default of `TiledRestorer`, or
            for the whole picture at once where what the degradation does grows with the picture, as a vignette.
        reference: (n, C, S, S) clean pictures of the size that the network was trained on, 32 or more, which the
            severity is estimated by, or larger ones with what lies around them; an estimate without them is seldom
            confident.
        progress: called with (tiles done, tiles in all) after every pass of tiles through the network; a sampler
            begins a new count at every step.
        degradation: what was done to the picture, if R was trained on something else; R restores Gaussian noise then.
        z: what is random about the picture, as `degradation.draw` returns it; None if nothing is.
        rule: how the answers of R and the picture are combined then, or its name, as in `restore.conditioned`.
        noise: standard deviation of the error of the picture, for pictures in [-1, 1]; by default that of rounding to
            8 bits.

    Raises:
        ValueError: if `steps` is not a whole number of 1 or more.

    >>> RestoreOptions(steps=0)
    Traceback (most recent call last):
    ValueError: steps is 0; it is a whole number, 1 or more, or None for one step at each level
    """

    steps: int | None = None
    mask: Any = None
    tile_size: int | None = None
    reference: Tensor | None = None
    progress: Callable[[int, int], None] | None = None
    degradation: Degradation | None = None
    z: Params = None
    rule: Rule | str = "proximal"
    noise: float = ROUNDING_NOISE

    def __post_init__(self) -> None:
        steps: Any = self.steps
        if steps is not None and (isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1):
            raise ValueError(f"steps is {steps!r}; it is a whole number, 1 or more, or None for one step at each level")


def restore_image(
    R: BaseRestorer,
    image: Any,
    severity: int | Literal["auto"] = "auto",
    sampler: Sampler | str | None = None,
    options: RestoreOptions = RestoreOptions(),
    generator: Generators = None,
) -> RestorationResult:
    """Restore a picture that is already degraded.

    Args:
        R: a trained restorer, such as `restore.load` returns.
        image: a path, a Pillow image, a tensor (H, W), (C, H, W) or (B, C, H, W), or a numpy array (H, W) or (H, W, C);
            uint8 in 0..255 or floating point in [-1, 1], or values in the range of a model that has one,
            `R.value_range`. C is 1 or 3, or the number of the network's channels. The pictures of a batch have one
            severity.
        severity: severity of the picture, in 1..T, or `auto` to estimate it.
        sampler: the sampler that goes from this severity to 0, or its name as in `parse_sampler`; None for R(x, t), or
            for `ancestral:variance=constant` where a noise model restores what it was not trained on.
        options: number of steps, mask, size of tiles, reference pictures, progress, what was done to the picture.
        generator: for all that is drawn: noise of a sampler and of simulated pictures.

    Returns:
        The restored picture, of the kind it came as (for a path, a Pillow image), and its severity; the input itself
        where the severity is estimated as 0.

    Raises:
        ValueError: for an image, severity, sampler or option that does not suit the model.

    >>> import degrade
    >>> from restore import FunctionRestorer
    >>> R = FunctionRestorer(lambda x, t: 0.5 * x, degrade.make("blur", T=10))
    >>> image, severity = restore_image(R, torch.ones(3, 45, 70), severity=4)
    >>> image.unique(), severity.t
    (tensor([0.5000]), 4)
    """
    D, device = R.degradation, R.device
    pictures = read_pictures(image, R.value_range)
    seen = pictures.x.to(device)
    x = _to_network(seen, R.image_channels)
    missing = None if options.mask is None else _read_mask(options.mask, x)
    measurement = _measurement(D, x, severity, missing, options)
    sampler = _read_sampler(sampler, None if measurement else options.steps)
    own = OwnPrecision(R.with_input_noise(ROUNDING_NOISE) if is_8bit(x) else R)
    tiled = in_tiles(own, x, options.tile_size, options.progress)
    if measurement is not None:
        found = _certain(int(measurement.t[0]))
        x0_hat = sample_conditioned(tiled, measurement, options.rule, sampler, options.steps, generator)
    else:
        given = x if missing is None else _hide(D, x, missing)
        found = _severity(own, given, severity, missing, options.reference, generator)
        if not found.t:
            return RestorationResult(pictures.given, found)
        if sampler is not None and missing is not None:
            raise ValueError(f"a mask and a sampler go together for 'gaussian_noise', not {D.name!r}: give no sampler")
        x0_hat = _restored(tiled, given, found.t, sampler, options.steps, generator)
    x0_hat = x0_hat if missing is None else torch.where(missing, x0_hat, x)
    return RestorationResult(pictures.to_given_type(_from_network(x0_hat.clamp(-1, 1), seen)), found)


def _restored(
    R: BaseRestorer, x: Tensor, t: int, sampler: Sampler | None, steps: int | None, generator: Generators
) -> Tensor:
    """Return R(x, t), or the end of a trajectory from t."""
    if sampler is None:
        return direct(R, x, t)
    timesteps = spaced_timesteps(t, t if steps is None else min(operator.index(steps), t))
    return sample_picture(R, sampler, x, timesteps, generator)


def _measurement(
    D: Degradation, x: Tensor, severity: Any, missing: Tensor | None, options: RestoreOptions
) -> Measurement | None:
    """Return what was done to the picture, if that is not what R undoes."""
    done, z = options.degradation, options.z
    if done is None:
        RULES.from_dict(options.rule)  # refuses one that does not exist, though none is needed
        if missing is None or not (D.additive and D.gaussian):
            return None
        done = MissingPixels(T=1)
    if missing is not None:
        z = done.mask_params(missing[None, None])
        if z is None:
            raise ValueError(f"mask and degradation {done.name!r} are both given; give one of them")
        x, severity = torch.where(missing, 0, x), 1 if severity == "auto" else severity
    return describe_measurement(done, x, severity, z, options.noise)


def _read_sampler(sampler: Any, steps: Any) -> Sampler | None:
    """Return the sampler, if it goes together with the number of steps."""
    if steps is not None and sampler is None:
        raise ValueError(f"steps is {steps} and sampler is None, which takes no steps; give a sampler or no steps")
    return None if sampler is None else parse_sampler(sampler)


def _to_network(seen: Tensor, channels: int | None) -> Tensor:
    """Return pictures (B, C, H, W) as images that the network takes: one of each, or one of each of their channels."""
    found = seen.shape[1]
    if channels in (None, found):
        return seen
    if channels == 1:
        return seen.flatten(0, 1)[:, None]
    if found == 1:
        return seen.expand(-1, channels, -1, -1)
    raise ValueError(
        f"the network takes {channels} channels and the picture has {found}; give it 1 or {channels}, before the height"
        " and width in a tensor and after them in an array"
    )


def _from_network(x: Tensor, seen: Tensor) -> Tensor:
    """Return the pictures, shaped like `seen`, that were given to the network as `x`."""
    return x.mean(1, keepdim=True) if seen.shape[1] == 1 else x.reshape(seen.shape)


def _read_mask(mask: Any, x: Tensor) -> Tensor:
    missing: Tensor = torch.as_tensor(mask)
    if missing.dtype != torch.bool or missing.shape != x.shape[2:]:
        (H, W), found = x.shape[2:], f"{missing.dtype} {tuple(missing.shape)}"
        raise ValueError(f"mask is {found} for a picture of {W} x {H} pixels: give a bool of shape ({H}, {W})")
    return missing.to(x.device)


def _hide(D: Degradation, x: Tensor, missing: Tensor) -> Tensor:
    """Return x with 0 where it is missing, if that is what D does to missing pixels."""
    tiny = x[:1, :, :1, :1]
    z = D.draw(tiny, torch.Generator(x.device)) if D.random else None
    masked = D.missing(tiny, expand_level(D.T, tiny), z) is not None
    return torch.where(missing, 0, x) if masked else x


def _severity(
    R: BaseRestorer,
    x: Tensor,
    severity: Any,
    missing: Tensor | None,
    reference: Tensor | None,
    generator: Generators,
) -> SeverityEstimate:
    """Return the severity that is given, or an estimate of it."""
    D = R.degradation
    if not (isinstance(severity, str) and severity == "auto"):
        if isinstance(severity, bool) or not hasattr(severity, "__index__") or not 1 <= severity <= D.T:
            raise ValueError(f"severity is {severity}; the model knows severities 1..{D.T}, whole numbers, or 'auto'")
        return _certain(operator.index(severity))
    side = image_size(R, min(256, *x.shape[2:]))
    if missing is not None:
        # The severity at which as many pixels are missing, in an image of the network's size.
        like_x = x.new_ones(1, 1, side, side)
        z = D.draw(like_x, generator) if D.random else None
        at = [D.missing(like_x, expand_level(t, like_x), z) for t in range(1, D.T + 1)]
        counts = [mask.sum() for mask in at if mask is not None]
        if counts:
            return _certain(int((torch.stack(counts) - missing.sum()).abs().argmin()) + 1)
    return estimate_severity(R, crops(D, x, side), reference=reference, generator=generator)


def _certain(t: int) -> SeverityEstimate:
    return SeverityEstimate(t, t, t, True, "", (t,), (0.0,))
