"""A picture that is already degraded, restored: of any size and kind, by any restorer and sampler.

    severity    given, or estimated (`samplers.applications.severity`) from cuts of the size that the network was
    trained on direct      R(x, t), in tiles (`restore.tiling`) walked      from t to 0 by a sampler step. The walk has
    the whole picture for its state: D is applied to all of it,
                its noise is drawn once, and R alone works in tiles. So with an R that looks no further than a quarter
                of a tile's overlap the result does not depend on the tiles, its noise included
    mask        what is missing is put to 0, which is what `inpaint` makes of it, and only there R's answer is taken;
                a noise model and a step fill it in as RePaint does (`samplers.steps.known`), starting from noise

A walk needs the tables of D for the whole picture: two matrices for each side of a blur or of pixels (4000 x 3000
pixels: some 1 GB), a quadrant for each level of a mask. Where they would take many times that, the walk is refused.

A picture in color goes through a network for gray images channel by channel; a gray one through a network for color as
three equal channels, whose mean is taken. What kinds of pictures there are is said in `samplers.applications.pictures`.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from degrade import Blur, Degradation, GaussianNoise, expand_level
from degrade.operators.mask import Mask, center_index
from degrade.operators.pixelate import Pixelate
from degrade.random import Generators
from restore import Restorer
from restore.tiling import TiledRestorer, reflect_pad
from samplers.applications.pictures import read_pictures
from samplers.applications.severity import Severity, estimate_severity
from samplers.base import Sampler
from samplers.latent import determined, drawn, is_random
from samplers.loop import direct, inference_mode, sample
from samplers.registry import read_sampler
from samplers.steps.known import MaskReplacement
from samplers.steps.resample import RePaint
from samplers.timesteps import spaced_timesteps

__all__ = ["RestorationResult", "restore_image"]

CUTS = 9  # a severity is estimated from
MOST = 4e9  # bytes of a degradation's tables for a walk, with what it takes to build them


class RestorationResult(NamedTuple):
    """A restored picture, of the kind it came as, and the severity it was taken for."""

    image: Any
    severity: Severity


def restore_image(
    R: Restorer,
    image: Any,
    severity: int | Literal["auto"] = "auto",
    step: Sampler | str | None = None,
    steps: int | None = None,
    mask: Any = None,
    tile: int | None = None,
    reference: Tensor | None = None,
    generator: Generators = None,
) -> RestorationResult:
    """Restore a picture that is already degraded.

    Args:
        R: a trained restorer, such as `restore.load` returns.
        image: a path, a Pillow image, a tensor (H, W), (C, H, W) or (B, C, H, W), or a numpy array (H, W) or (H, W, C);
            uint8 in 0..255 or floating point in [-1, 1]. C is 1 or 3, or the number of the network's channels. The
            pictures of a batch have one severity.
        severity: of the picture, in 1..T, or `auto`: estimated.
        step: how to walk to severity 0, or its name as in `parse_sampler`; at one go if None.
        steps: how many steps a walk takes at most, 1 or more; one for each level by default.
        mask: (H, W) bool, true where the picture is missing.
        tile: side of the tiles that the network sees; see `TiledRestorer`.
        reference: (n, C, S, S) clean pictures of the network's size, for `auto`: without them it is seldom sure.
        generator: of what is drawn.

    Returns:
        The picture, of the kind it came as (for a path, a Pillow image); the input itself where its severity is
        estimated as 0.

    Raises:
        ValueError: for an image, severity, step, mask, tile or number of steps that does not suit the model.

    >>> import degrade
    >>> R = Restorer(torch.nn.Identity(), degrade.make("blur", T=10))
    >>> R.net.forward = lambda x, t: 0.5 * x
    >>> restore_image(R, torch.ones(3, 45, 70), severity=4).image.unique()
    tensor([0.5000])
    """
    D, device = R.degradation, next((p.device for p in R.parameters()), torch.device("cpu"))
    walk, most = _read_walk(step, steps)
    pictures = read_pictures(image)
    seen = pictures.x.to(device)
    x = _fed(seen, getattr(getattr(R.net, "config", None), "channels", None))
    hole = None if mask is None else _checked(mask, x)
    given = x if hole is None or not isinstance(D, Mask) else torch.where(hole, 0, x)
    own = _OwnPrecision(R)
    found = _severity(D, own, given, severity, hole, reference, generator, filling=walk is not None)
    if not found.t:
        return RestorationResult(pictures.given, found)
    tiled, times = TiledRestorer(own, tile), spaced_timesteps(found.t, min(most or found.t, found.t))
    if walk is None:
        x0_hat = direct(tiled, given, found.t)
    elif hole is not None:
        x0_hat = _filled(D, tiled, walk, x, hole, times, generator)
    else:
        x0_hat = _walked(D, tiled, walk, given, times, generator)
    out = _taken((x0_hat if hole is None else torch.where(hole, x0_hat, x)).clamp(-1, 1), seen)
    return RestorationResult(pictures.back(out), found)


class _OwnPrecision(nn.Module):
    """R in the precision of its own parameters, on images in theirs."""

    def __init__(self, R: Restorer) -> None:
        super().__init__()
        self.net = R.net
        self.R = R
        self.dtype = next((p.dtype for p in R.parameters() if p.is_floating_point()), None)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Guess the clean images."""
        x0_hat: Tensor = self.R(x_t if self.dtype is None else x_t.to(self.dtype), t)
        return x0_hat.to(x_t)


def _read_walk(step: Any, steps: Any) -> tuple[Sampler | None, int | None]:
    """Return the step and the number of steps, if they go together."""
    step = read_sampler(step)
    if step is not None and not isinstance(step, Sampler):
        raise ValueError(f"step is {step!r}; give a step such as Algorithm2(), its name, or None to go direct")
    if steps is not None and (isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1):
        raise ValueError(f"steps is {steps!r}; it is a whole number, 1 or more, or None for one step at each level")
    if steps is not None and step is None:
        raise ValueError(f"steps is {steps} and step is None, which goes direct; give a step, or leave steps out")
    return step, None if steps is None else operator.index(steps)


def _fed(seen: Tensor, channels: int | None) -> Tensor:
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


def _taken(x: Tensor, seen: Tensor) -> Tensor:
    """Return the pictures, shaped like `seen`, that were fed as `x`."""
    return x.mean(1, keepdim=True) if seen.shape[1] == 1 else x.reshape(seen.shape)


def _checked(mask: Any, x: Tensor) -> Tensor:
    missing: Tensor = torch.as_tensor(mask)
    if missing.dtype != torch.bool or missing.shape != x.shape[2:]:
        (H, W), found = x.shape[2:], f"{missing.dtype} {tuple(missing.shape)}"
        raise ValueError(f"mask is {found} for a picture of {W} x {H} pixels: give a bool of shape ({H}, {W})")
    return missing.to(x.device)


def _severity(
    D: Degradation,
    R: _OwnPrecision,
    x: Tensor,
    severity: Any,
    hole: Tensor | None,
    reference: Tensor | None,
    generator: Generators,
    filling: bool,
) -> Severity:
    """Return what is said, or found, about the severity."""
    T = D.T
    if not (isinstance(severity, str) and severity == "auto"):
        if isinstance(severity, bool) or not hasattr(severity, "__index__") or not 1 <= severity <= T:
            raise ValueError(f"severity is {severity}; the model knows severities 1..{T}, whole numbers, or 'auto'")
        return _certain(operator.index(severity))
    if hole is not None and filling:
        return _certain(T)
    side = _trained(R, min(256, *x.shape[2:]))
    if hole is not None and isinstance(D, Mask):
        # Which severity has a hole as large, in an image as the network knows them.
        like_x = x.new_ones(1, 1, side, side)
        # In the middle, wherever D may put it otherwise: its size is the same.
        holes = [(D.alpha_map(expand_level(t, like_x), like_x) < 0.5).sum() for t in range(1, T + 1)]
        return _certain(int((torch.stack(holes) - hole.sum()).abs().argmin()) + 1)
    return estimate_severity(D, R, cuts(D, x, side), None, reference, generator=generator)


def _trained(R: Any, otherwise: int) -> int:
    """Return the side of the images that the network of R was trained on, if it says so."""
    side: int = getattr(getattr(R.net, "config", None), "size", otherwise)
    return side


def _certain(t: int) -> Severity:
    return Severity(t, t, t, True, "", (t,), (0.0,))


def cuts(D: Degradation, x: Tensor, side: int) -> Tensor:
    """Return cuts (n, C, side, side) of x (B, C, H, W) that show the severity of D: a mask's middle, or a grid."""
    x = reflect_pad(x, *(max(0, side - length) for length in x.shape[2:]))
    H, W = x.shape[2:]
    if placed(D):
        corners = [(center_index(H) - center_index(side), center_index(W) - center_index(side))]
    else:
        # At multiples of the side, so that the large pixels of pixelated pictures stay whole.
        corners = [(side * i, side * j) for i in range(H // side) for j in range(W // side)]
        corners = [corners[len(corners) * k // min(CUTS, len(corners))] for k in range(min(CUTS, len(corners)))]
    return torch.cat([x[..., top : top + side, left : left + side] for top, left in corners])


def placed(D: Degradation) -> bool:
    """Return whether D knows where in the picture a pixel is, as masks do, so that no piece can stand for the whole."""
    return isinstance(D, Mask) or any(placed(part.degradation) for part in getattr(D, "parts", ()))


def _walked(
    D: Degradation, R: TiledRestorer, step: Sampler, x: Tensor, times: list[int], generator: Generators
) -> Tensor:
    """Return where a walk from x leads."""
    step.check_compatible(D)
    H, W = x.shape[2:]
    if _bytes(D, H, W) > MOST:
        raise ValueError(f"the tables of {D.name} for a walk over {W} x {H} are too large: go direct")
    if not placed(D):
        # To what D divides by, and to what the network and with it D was trained on.
        least, stride = _trained(R.R, 1), _divisor(D)
        x = reflect_pad(x, *(max(math.ceil(least / stride) * stride - N, -N % stride) for N in (H, W)))
    told, z = determined(D, x, generator), drawn(D, x, generator)
    if is_random(z) and not told:
        raise ValueError(f"no walk back from this picture: what {D.name} drew in it (its z) is not known; go direct")
    if told:
        t = expand_level(times[0], x)
        with inference_mode(R):
            z = D.estimate(x, R(x, t), t, z)
    return sample(D, R, step, x, z, times, generator)[:, :, :H, :W]


def _divisor(D: Degradation) -> int:
    """Return what the sides of an image must divide by."""
    halves = isinstance(D, Pixelate) and D.sizes == "halve" and not D.allow_uneven
    return math.lcm(2**D.T if halves else 1, *(_divisor(part.degradation) for part in getattr(D, "parts", ())))


def _bytes(D: Degradation, H: int, W: int) -> float:
    """Return about how much memory it takes to build the tables of D for images of H x W pixels."""
    own = 0.0
    if isinstance(D, Mask):
        own = 32 * (D.T + 1) * D.max_distance(H) * D.max_distance(W)
    elif isinstance(D, Pixelate):
        own = 14 * (D.T + 1) * (H**2 + W**2)
    elif isinstance(D, Blur):
        own = 32 * (H**2 + W**2)
    return own + sum(_bytes(part.degradation, H, W) for part in getattr(D, "parts", ()))


def _filled(
    D: Degradation, R: TiledRestorer, step: Sampler, x: Tensor, hole: Tensor, times: list[int], generator: Generators
) -> Tensor:
    """Return the image with its hole filled by a walk from noise that is held to what is known."""
    if not isinstance(D, GaussianNoise):
        raise ValueError(
            f"a mask of your own and a sampler go together for 'gaussian_noise', not {D.name!r}: go direct"
        )
    live: dict[str, Any] = {"image": torch.where(hole, 0, x), "mask": (~hole).to(x)[None, None]}
    if isinstance(step, MaskReplacement):
        step = dataclasses.replace(step, **live)
    elif isinstance(step, RePaint):
        step = dataclasses.replace(step, step=MaskReplacement(step=step.step, **live))
    else:
        step = MaskReplacement(step=step, **live)
    z = D.draw(x, generator)
    return sample(D, R, step, D(live["image"], expand_level(times[0], x), z), z, times, generator)
