"""What a degradation declares about itself, so that no sampler asks for its class.

A subclass declares a property in one line, as a class attribute (`affine = True`) or as a property where it depends on
the arguments. `degrade.laws` tests every declaration; the defaults claim the least, except that the effect of a
degradation does not depend on the position of a pixel and that its results are pictures.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

__all__ = ["Declarations"]


class Declarations:
    """The declared properties of a degradation D and their defaults.

    Attributes:
        affine: for fixed t and z, D(x0, t, z) is a linear map of x0 plus a constant.
        additive: x_t = a_t x0 + b_t z, where `coefficients(t, like)` returns (a_t, b_t).
        gaussian: z ~ N(0, I), shaped like x0.
        identifiable: `estimate` finds a z that explains x_t, whatever z is passed to it.
        position_dependent: what happens to a pixel depends on its place in the image, as under a mask.
        bounded: D(x0, t, z) of x0 in [-1, 1] is in [-1, 1] again, but for what a filter overshoots.
        without_z: what a user can do where the z of a picture is needed and not known, for messages.

    >>> import degrade
    >>> D = degrade.make("pixelate", T=3)
    >>> D.affine, D.random, D.size_divisor, degrade.make("inpaint").position_dependent
    (True, False, 8, True)
    """

    affine: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    gaussian: ClassVar[bool] = False
    identifiable: ClassVar[bool] = False
    position_dependent: ClassVar[bool] = False
    bounded: ClassVar[bool] = True
    without_z: ClassVar[str] = "give z, or arguments that draw none"

    @property
    def size_divisor(self) -> int:
        """What the height and the width of an image must be multiples of."""
        return 1

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (a_t, b_t), each (B, 1, 1, 1), of an additive degradation x_t = a_t x0 + b_t z.

        Args:
            t: (B,) int64 severities in 0..T.
            like: images (B, C, H, W), for their device and compute precision.

        Raises:
            ValueError: if the degradation is not additive.
        """
        raise ValueError(f"{getattr(self, 'name', '')!r} is not of the form a_t x0 + b_t z and has no coefficients")

    def missing(self, x: Tensor, t: Tensor, z: Any = None) -> Tensor | None:
        """Return where the image is missing at level t, true there, (B, 1, H, W) bool; None if it never is.

        Args:
            x: (B, C, H, W) images, for their size and device.
            t: (B,) int64 severities.
            z: what `draw` returned for a batch like x.
        """
        return None

    def mask_params(self, missing: Tensor) -> Any:
        """Return the z with which exactly the pixels of a mask are missing from level 1 on; None if there is no such z.

        Args:
            missing: (B, 1, H, W) bool, true where the image is missing.
        """
        return None
