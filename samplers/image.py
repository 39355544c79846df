"""A picture that is already degraded, restored: of any size, in its own mode, by any restorer and sampler.

    severity    given, or estimated (`samplers.severity`) from cuts of the size that the network was trained on
    direct      R(x, t), in tiles (`restore.tiles`)
    walked      from t to 0 by a sampler step, with R in tiles, and in pieces of at most `PIECE` pixels a side where the
                picture is larger: the tables of a degradation grow with the side, some with its square. Masks are
                walked in one piece, or not at all
    mask        what is missing is put to 0, which is what `inpaint` makes of it, and only there R's answer is taken;
                a noise model and a step fill it in as RePaint does (`samplers.known`), starting from noise

A picture in color goes through a network for gray images channel by channel; a gray one through a network for color as
three equal channels, whose mean is taken.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, GaussianNoise, full
from degrade.draws import Chance
from degrade.mask import Mask, middle
from degrade.picture import like, pixels
from degrade.pixelate import Pixelate
from restore import Restorer
from restore.tiles import Tiled, mirrored
from samplers.known import Known
from samplers.latent import determined, drawn, hidden
from samplers.resample import Resample
from samplers.reverse import direct, sample
from samplers.severity import Severity, estimate_severity
from samplers.step import Restore, Step
from samplers.times import strided

__all__ = ["Restored", "restore_image"]

PIECE = 1024
CUTS = 9  # a severity is estimated from
ENTRIES = 6e7  # of a mask's tables, some 2 GB with what it takes to build them


class Restored(NamedTuple):
    """A restored picture, of the kind it came as, and the severity it was taken for."""

    image: Any
    severity: Severity


def restore_image(
    R: Restorer,
    image: Any,
    severity: int | Literal["auto"] = "auto",
    step: Step | None = None,
    steps: int | None = None,
    mask: Tensor | None = None,
    tile: int | None = None,
    reference: Tensor | None = None,
    generator: Chance = None,
) -> Restored:
    """Restore a picture that is already degraded.

    Args:
        R: a trained restorer, such as `restore.load` returns.
        image: a Pillow image, or a tensor (C, H, W) in [-1, 1]; C is 1 or 3, or the number of the network's channels.
        severity: of the picture, in 1..T, or `auto`: estimated.
        step: how to walk to severity 0; at one go if None.
        steps: how many steps a walk takes at most; one for each level by default.
        mask: (H, W) bool, true where the picture is missing.
        tile: side of the tiles that the network sees; see `Tiled`.
        reference: (n, C, S, S) clean pictures of the network's size, for `auto`: without them it is seldom sure.
        generator: of what is drawn.

    Returns:
        The picture, in its own mode or as a tensor; the input itself where its severity is estimated as 0.

    Raises:
        ValueError: for a severity, mask, tile or number of steps that does not suit the picture or the model.

    >>> import degrade
    >>> R = Restorer(torch.nn.Identity(), degrade.make("blur", T=10))
    >>> R.net.forward = lambda x, t: 0.5 * x
    >>> restore_image(R, torch.ones(3, 45, 70), severity=4).image.unique()
    tensor([0.5000])
    """
    D, device = R.degradation, next((p.device for p in R.parameters()), torch.device("cpu"))
    channels = getattr(getattr(R.net, "config", None), "channels", None)
    seen = image if isinstance(image, Tensor) else pixels(image)
    x = _fed(seen.to(device), channels)
    hole = None if mask is None else _checked(mask, x)
    given = x if hole is None or not isinstance(D, Mask) else torch.where(hole, 0, x)
    found = _severity(D, R, given, severity, hole, reference, generator, filling=step is not None)
    if not found.t:
        return Restored(image, found)
    tiled, times = Tiled(R, tile), strided(found.t, min(steps or found.t, found.t))
    if step is None:
        x0_hat = direct(tiled, given, found.t)
    elif hole is not None:
        x0_hat = _filled(D, tiled, step, x, hole, times, generator)
    else:
        x0_hat = _walked(D, tiled, step, given, times, generator)
    out = _taken((x0_hat if hole is None else torch.where(hole, x0_hat, x)).clamp(-1, 1), len(seen))
    return Restored(out.to(seen) if isinstance(image, Tensor) else like(image, out), found)


def _fed(seen: Tensor, channels: int | None) -> Tensor:
    """Return a picture (C, H, W) as images that the network takes: one, or one for each channel."""
    if channels in (None, len(seen)):
        return seen[None]
    if channels == 1:
        return seen[:, None]
    if len(seen) == 1:
        return seen.expand(channels, -1, -1)[None]
    raise ValueError(f"the network takes {channels} channels and the picture has {len(seen)}; give it 1 or {channels}")


def _taken(x: Tensor, channels: int) -> Tensor:
    """Return the picture (C, H, W) that was fed as `x`."""
    return x[0].mean(0, keepdim=True) if channels == 1 else x.flatten(0, 1)


def _checked(mask: Tensor, x: Tensor) -> Tensor:
    if mask.dtype != torch.bool or mask.shape != x.shape[2:]:
        (H, W), found = x.shape[2:], f"{mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"mask is {found} for a picture of {W} x {H} pixels: give a bool of shape ({H}, {W})")
    return mask.to(x.device)


def _severity(
    D: Degradation,
    R: Restorer,
    x: Tensor,
    severity: int | Literal["auto"],
    hole: Tensor | None,
    reference: Tensor | None,
    generator: Chance,
    filling: bool,
) -> Severity:
    """Return what is said, or found, about the severity."""
    T = D.T
    if severity != "auto":
        if not 1 <= severity <= T:
            raise ValueError(f"severity is {severity}; the model knows severities 1..{T}, or 'auto'")
        return _certain(severity)
    if hole is not None and filling:
        return _certain(T)
    side: int = getattr(getattr(R.net, "config", None), "size", min(256, *x.shape[2:]))
    if hole is not None and isinstance(D, Mask):
        # Which severity has a hole as large, in an image as the network knows them.
        like_x = x.new_ones(1, 1, side, side)
        # In the middle, wherever D may put it otherwise: its size is the same.
        holes = [(D.weights(full(t, like_x), like_x) < 0.5).sum() for t in range(1, T + 1)]
        return _certain(int((torch.stack(holes) - hole.sum()).abs().argmin()) + 1)
    return estimate_severity(D, R, cuts(D, x, side), None, reference, generator=generator)


def _certain(t: int) -> Severity:
    return Severity(t, t, t, True, "", (t,), (0.0,))


def cuts(D: Degradation, x: Tensor, side: int) -> Tensor:
    """Return cuts (n, C, side, side) of x (B, C, H, W) that show the severity of D: a mask's middle, or a grid."""
    x = mirrored(x, *(max(0, side - length) for length in x.shape[2:]))
    H, W = x.shape[2:]
    if placed(D):
        corners = [(middle(H) - middle(side), middle(W) - middle(side))]
    else:
        # At multiples of the side, so that the large pixels of pixelated pictures stay whole.
        corners = [(side * i, side * j) for i in range(H // side) for j in range(W // side)]
        corners = [corners[len(corners) * k // min(CUTS, len(corners))] for k in range(min(CUTS, len(corners)))]
    return torch.cat([x[..., top : top + side, left : left + side] for top, left in corners])


def placed(D: Degradation) -> bool:
    """Return whether D knows where in the picture a pixel is, as masks do, so that no piece can stand for the whole."""
    return isinstance(D, Mask) or any(placed(part.degradation) for part in getattr(D, "parts", ()))


def _walked(D: Degradation, R: Tiled, step: Step, x: Tensor, times: list[int], generator: Chance) -> Tensor:
    """Return where a walk from x leads."""
    step.accept(D)
    if hidden(D, x, generator):
        raise ValueError(f"no walk back from this picture: what {D.name} drew in it (its z) is not known; go direct")

    def walk(piece: Tensor, t: Tensor) -> Tensor:
        z = drawn(D, piece, generator)
        z = D.estimate(piece, R(piece, t), t, z) if determined(D, piece, generator) else z
        return sample(D, R, step, piece, z, times, generator)

    if placed(D):
        if isinstance(D, Mask) and (D.T + 1) * D.reach(x.shape[2]) * D.reach(x.shape[3]) > ENTRIES:
            raise ValueError(
                f"the tables of {D.name} for a walk over {x.shape[3]} x {x.shape[2]} are too large: go direct"
            )
        return walk(x, full(times[0], x))
    halves = 2**D.T if isinstance(D, Pixelate) and D.sizes == "halve" and not D.uneven else 1
    stride = math.lcm(R.stride, halves)
    size = stride * max(1, PIECE // stride)
    pieces = Tiled(walk, size, stride * (size // 4 // stride), stride, batch=1)
    return direct(pieces, x, times[0])


def _filled(
    D: Degradation, R: Restore, step: Step, x: Tensor, hole: Tensor, times: list[int], generator: Chance
) -> Tensor:
    """Return the image with its hole filled by a walk from noise that is held to what is known."""
    if not isinstance(D, GaussianNoise):
        raise ValueError(
            f"a mask of your own and a sampler go together for 'gaussian_noise', not {D.name!r}: go direct"
        )
    live: dict[str, Any] = {"image": torch.where(hole, 0, x), "mask": (~hole).to(x)}
    if isinstance(step, Resample):
        step = dataclasses.replace(step, step=Known(step=step.step, **live))
    else:
        step = Known(step=step, **live)
    z = D.draw(x, generator)
    return sample(D, R, step, D(live["image"], full(times[0], x), z), z, times, generator)
