"""A batch of canvases and the soft shapes painted on them.

A shape is a signed distance, negative inside, measured in picture units: a picture spans [-1, 1] along
both axes, x to the right and y down. `Canvas.paint` turns a distance into an opacity that falls from one
to zero across one pixel, so edges are smooth at every size without rendering anything twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Quantity = Tensor | float
"""One number for all pictures, or a tensor that broadcasts against (n, height, width)."""


@dataclass(frozen=True)
class Canvas:
    """Pixels being painted, and where each pixel lies in the frame of the thing being painted.

    `pixels` is (n, 3, h, w) in [0, 1] and is painted in place; `x` and `y` are (n, h, w); `step` is the
    width of one pixel in units of x and y, shaped (n, 1, 1).
    """

    pixels: Tensor
    x: Tensor
    y: Tensor
    step: Tensor

    @classmethod
    def blank(cls, n: int, size: int, device: torch.device) -> Canvas:
        """Return n black square canvases whose frame is the picture itself."""
        middles = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2 / size) - 1
        return cls(
            pixels=torch.zeros((n, 3, size, size), device=device),
            x=middles.view(1, 1, size).expand(n, size, size),
            y=middles.view(1, size, 1).expand(n, size, size),
            step=torch.full((n, 1, 1), 2 / size, device=device),
        )

    def framed(self, x: Quantity, y: Quantity, scale: Quantity, tilt: Quantity | None = None) -> Canvas:
        """Return the same pixels in a frame that is moved to (x, y), enlarged, and tilted in radians."""
        across, down = (self.x - x) / scale, (self.y - y) / scale
        if tilt is not None:
            across, down = turned(across, down, tilt)
        return Canvas(self.pixels, across, down, self.step / scale)

    def part(self, left: float, top: float, right: float, bottom: float) -> Canvas:
        """Return the window between picture coordinates, of a whole canvas; it shares the canvas's pixels.

        Small shapes are painted in small windows, because the cost of a shape is its number of pixels.
        """
        size = self.pixels.shape[-1]
        first_row, last_row, first, last = (
            min(size, max(0, round((edge + 1) / 2 * size))) for edge in (top, bottom, left, right)
        )
        rows, columns = slice(first_row, last_row), slice(first, last)
        pixels, x, y = (plane[..., rows, columns] for plane in (self.pixels, self.x, self.y))
        return Canvas(pixels, x, y, self.step)

    def cover(self, distance: Tensor, blur: Quantity = 0.0) -> Tensor:
        """Return the opacity (n, h, w) of a shape: one inside, zero outside, soft across pixel and blur."""
        return torch.sub(0.5, distance / (self.step + blur)).clamp_(0, 1)

    def blend(self, color: Tensor, opacity: Tensor) -> None:
        """Lay a color, (n, 3, 1, 1) or (n, 3, h, w), over the pixels with an opacity (n, h, w)."""
        self.pixels.lerp_(color, opacity.unsqueeze(1))

    def paint(self, color: Tensor, distance: Tensor, opacity: Quantity = 1.0, blur: Quantity = 0.0) -> None:
        """Lay a shape in one color over the pixels."""
        self.blend(color, self.cover(distance, blur) * opacity)


def turned(x: Tensor, y: Tensor, angle: Quantity) -> tuple[Tensor, Tensor]:
    """Return the coordinates of the same points in axes turned clockwise by an angle in radians."""
    angle = _tensor(angle, x)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.addcmul(x * cosine, y, sine), torch.addcmul(y * cosine, x, -sine)


def ellipse(x: Tensor, y: Tensor, width: Quantity, height: Quantity, taper: Quantity = 0.0) -> Tensor:
    """Return the distance to an ellipse at the origin with the given half-axes.

    A taper above zero narrows it downwards into an egg. The distance is first order, F / |grad F|:
    exact at the edge, which is the only place where opacity changes.
    """
    across, down = x / width, y / height
    if isinstance(taper, Tensor) or taper:
        across = across * (1 + down * taper)
    across, down = across.square(), down.square()
    slope = across / _tensor(width, x).square() + down / _tensor(height, x).square()
    return (across + down - 1).mul_(0.5).mul_(slope.add_(1e-4).rsqrt_())


def horn(x: Tensor, y: Tensor, length: Quantity, root: Quantity, tip: Quantity) -> Tensor:
    """Return the distance to a rounded, tapering stroke from the origin up to (0, -length).

    `root` and `tip` are the radii of its two ends: a line when they are equal, an ear when they differ.
    """
    x, root, tip, length = x.abs(), _tensor(root, x), _tensor(tip, x), _tensor(length, x)
    gain = (root - tip) / length
    lean = gain / (1 - gain.square()).clamp(min=0.05).sqrt()
    along = ((-y - x * lean) / length).clamp_(0, 1)
    return torch.hypot(x, torch.addcmul(y, along, length)) - torch.lerp(root, tip, along)


def lens(x: Tensor, y: Tensor, width: Quantity, bend: Quantity, above: Quantity, below: Quantity) -> Tensor:
    """Return the distance to a smile: two parabolas that meet at (-width, 0) and (width, 0).

    Its middle line sinks by `bend` at x = 0, and it reaches `above` over and `below` under that line.
    """
    across = (x / width).square()
    arch = 1 - across
    middle = y - arch * bend
    steepness = across.clamp_(max=1.5) * (_tensor(bend, x) / width * 2).square() + 1
    return torch.maximum(-middle - arch * above, middle - arch * below) * steepness.rsqrt_()


def scallops(x: Tensor, y: Tensor, count: float) -> Tensor:
    """Return waves in [0, 1] around the origin: taken off a distance they make curls of a round outline."""
    return torch.sin(torch.atan2(y, x) * (count / 2)).abs_()


def union(first: Tensor, second: Tensor, soft: float) -> Tensor:
    """Return the distance to two shapes melted into one, with a fillet of the given width between them."""
    near = (soft - (first - second).abs()).clamp_(min=0)
    return torch.minimum(first, second) - near.square_() / (4 * soft)


def _tensor(quantity: Quantity, like: Tensor) -> Tensor:
    """Return a quantity as a tensor beside another, without waiting for the device."""
    return quantity if isinstance(quantity, Tensor) else like.new_full((), quantity)
