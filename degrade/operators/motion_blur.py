"""Motion blur: the camera, or the object, moves along a straight line while the shutter is open.

    x_t = k_t(angle) * x0,    k_t(angle) a line of length l_t = 1 + (kernel_size - 1) t / T pixels

The kernel is the line of `kernel_size` taps of kornia, rotated by the angle with bilinear weights, multiplied by a disc
of diameter l_t with a soft edge one pixel wide, and scaled to sum 1. Only the disc depends on t: the cost does not, and
l_t need not be an integer. Each image has its own angle z, in degrees, counter-clockwise. `direction` is the slope of
the weights along the line: 0 for a uniform exposure, 1 and -1 for an exposure that increases or decreases. Borders are
reflected. The module is an example of how to wrap an operator of a library: its per-sample parameters become z, and one
of its numbers becomes the severity.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params, check_params
from degrade.functional.levels import LevelTables
from degrade.optional import require
from degrade.random import Generators, rand
from degrade.registry import register

__all__ = ["MotionBlur"]


@register("motion_blur")
class MotionBlur(Degradation):
    """Blur along a line at a random angle; needs kornia.

    z is the angle of each image, (B,) in degrees, uniform in [0, 360).

    Args:
        T: number of levels, at least 1.
        kernel_size: length of the line at T in pixels, odd and at least 3.
        direction: slope of the weights along the line, in [-1, 1]; 0 for equal weights.

    >>> D = MotionBlur(T=4, kernel_size=5)
    >>> x0 = torch.eye(9).view(1, 1, 9, 9)
    >>> D(x0, torch.tensor([4]), torch.tensor([0.0]))[0, 0, 4, 1:8].mul(5).round().tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """

    affine: ClassVar[bool] = True

    T: NumLevels = 50
    kernel_size: Annotated[int, Field(ge=3)] = 15
    direction: Annotated[float, Field(ge=-1, le=1)] = 0.0

    def precompute(self) -> LevelTables:
        """Return the soft discs, (T + 1, kernel_size, kernel_size)."""
        require("kornia.filters", self.name)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size = {self.kernel_size} is even; a line has a middle pixel, so take an odd one")
        offset = torch.arange(self.kernel_size, dtype=torch.float64) - self.kernel_size // 2
        radius = torch.hypot(offset[:, None], offset[None, :])
        reach = torch.linspace(1, self.kernel_size, self.T + 1, dtype=torch.float64) / 2
        return LevelTables((reach.view(-1, 1, 1) + 0.5 - radius).clamp(0, 1))

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return angles (B,) in degrees, uniform in [0, 360)."""
        return 360 * rand((len(x0),), x0, generator)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return x0 blurred along the angles z.

        Raises:
            ValueError: if a side of x0 is not larger than half the line, or z is not one angle per image.
        """
        # A GPU may round even x * 1, in TF32, where there is one image of one channel.
        return torch.where(t.view(-1, 1, 1, 1) > 0, self._filter(x0, self._kernels(x0, t, z)), x0)

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return x0 filtered with the difference of the two kernels."""
        return self._filter(x0, self._kernels(x0, s, z) - self._kernels(x0, t, z))

    def _kernels(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return k_t for every image, (B, kernel_size, kernel_size)."""
        from kornia.filters import get_motion_kernel2d

        angle = check_params(self.name, z, (len(x0),)).to(x0)
        (disc,) = self.tables.gather(t, x0)
        line = get_motion_kernel2d(self.kernel_size, angle, torch.full_like(angle, self.direction), "bilinear")
        kernels: Tensor = disc * line
        return kernels / kernels.sum((1, 2), keepdim=True)

    def _filter(self, x0: Tensor, kernels: Tensor) -> Tensor:
        from kornia.filters import filter2d

        if min(x0.shape[2:]) <= self.kernel_size // 2:
            raise ValueError(
                f"{self.name}: x0 is {tuple(x0.shape)}; a line of {self.kernel_size} pixels with reflected borders "
                f"needs sides of more than {self.kernel_size // 2}: take a smaller kernel_size"
            )
        filtered: Tensor = filter2d(x0, kernels, "reflect")
        return filtered
