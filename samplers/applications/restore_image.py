"""Restoration of a picture that is already degraded, of any size and kind, by any restorer and sampler.

    severity    given, or estimated (`samplers.applications.severity`) from crops of the size that R was trained on
    direct      x0_hat = R(x, t), in tiles (`restore.tiling`)
    sampled     a trajectory from t to 0. Its state is the whole picture: D is applied to all of it and its noise is
                drawn once; R alone works in tiles. If no output pixel of R depends on a pixel further away than a
                quarter of the overlap of two tiles, the result does not depend on the tiles
    mask        missing pixels are set to 0, as `inpaint` sets them, and the answer of R is taken there only; with a
                noise model and a sampler they are filled in as by RePaint (`MaskReplacement`), starting from noise

A network for gray images restores the channels of a color picture one by one; a network for color is given a gray
picture as three equal channels, and the mean of its answer is returned. `samplers.applications.pictures` lists the
kinds of pictures.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, expand_level
from degrade.random import Generators
from restore import BaseRestorer
from restore.tiling import TiledRestorer
from samplers.applications.picture_sampling import crops, fill_in, grows_with_picture, image_size, sample_picture
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
        steps: the largest number of steps of a sampler, 1 or more; None for one step at each level.
        mask: (H, W) bool, true where the picture is missing.
        tile_size: side in pixels of the tiles that the network is given; None for the default of `TiledRestorer`, or
            for the whole picture at once where what the degradation does grows with the picture, as a vignette.
        reference: (n, C, S, S) clean pictures of the size that the network was trained on, 32 or more, which the
            severity is estimated by; an estimate without them is seldom confident.
        progress: called with (tiles done, tiles in all) after every pass of tiles through the network; a sampler
            begins a new count at every step.

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
            uint8 in 0..255 or floating point in [-1, 1]. C is 1 or 3, or the number of the network's channels. The
            pictures of a batch have one severity.
        severity: severity of the picture, in 1..T, or `auto` to estimate it.
        sampler: the sampler that goes from this severity to 0, or its name as in `parse_sampler`; None for R(x, t).
        options: number of steps, mask, size of tiles, reference pictures, progress.
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
    D, device = R.degradation, next((p.device for p in R.parameters()), torch.device("cpu"))
    sampler = _read_sampler(sampler, options.steps)
    pictures = read_pictures(image)
    seen = pictures.x.to(device)
    x = _to_network(seen, R.image_channels)
    missing = None if options.mask is None else _read_mask(options.mask, x)
    given = x if missing is None else _hide(D, x, missing)
    own = _OwnPrecision(R)
    if missing is not None and sampler is not None and severity == "auto":
        found = _certain(D.T)  # filled in from noise
    else:
        found = _severity(own, given, severity, missing, options.reference, generator)
    if not found.t:
        return RestorationResult(pictures.given, found)
    tiled = _in_tiles(own, x, options)
    if sampler is None:
        x0_hat = direct(tiled, given, found.t)
    else:
        most = found.t if options.steps is None else min(operator.index(options.steps), found.t)
        steps = spaced_timesteps(found.t, most)
        if missing is None:
            x0_hat = sample_picture(tiled, sampler, given, steps, generator)
        else:
            x0_hat = fill_in(tiled, sampler, x, missing, steps, generator)
    x0_hat = x0_hat if missing is None else torch.where(missing, x0_hat, x)
    return RestorationResult(pictures.back(_from_network(x0_hat.clamp(-1, 1), seen)), found)


class _OwnPrecision(BaseRestorer):
    """R in the precision of its own parameters, on images in theirs."""

    def __init__(self, R: BaseRestorer) -> None:
        super().__init__(R.degradation)
        self.net = getattr(R, "net", R)
        self.R = R
        self.dtype = next((p.dtype for p in R.parameters() if p.is_floating_point()), None)

    @property
    def size_divisor(self) -> int:
        """The number by which height and width of x_t must be divisible."""
        return self.R.size_divisor

    @property
    def image_size(self) -> int | None:
        """The side in pixels of the images that R was trained on, if it is known."""
        return self.R.image_size

    @property
    def cond(self) -> dict[str, Tensor]:
        """The conditions that are bound to R, which tiles cut."""
        return self.R.cond

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean images."""
        return self.restore_prepared(self.prepare(x_t, t), t, **cond)

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return what R needs of whole images."""
        return self.R.prepare(self._cast(x_t), t).to(x_t)

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat from what `prepare` returned."""
        return self.R.restore_prepared(self._cast(prepared), t, **cond).to(prepared)

    def _cast(self, x: Tensor) -> Tensor:
        return x if self.dtype is None else x.to(self.dtype)


def _in_tiles(R: BaseRestorer, x: Tensor, options: RestoreOptions) -> TiledRestorer:
    """Return R in tiles of the size that is asked for, or that suits the picture."""
    tiled = TiledRestorer(R, _tile_size(R, x) if options.tile_size is None else options.tile_size)
    tiled.progress = options.progress
    return tiled


def _tile_size(R: BaseRestorer, x: Tensor) -> int | None:
    """Return a size that holds the whole picture where a piece of it cannot stand for it; else None."""
    D, (H, W) = R.degradation, x.shape[2:]
    if not (D.position_dependent and grows_with_picture(D, x, image_size(R, min(256, H, W)))):
        return None
    return math.ceil(max(H, W) / R.size_divisor) * R.size_divisor


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
