"""CBM3D, the classical baseline of color denoising, as a restorer without training.

K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Color image denoising via sparse 3D collaborative filtering with
grouping constraint in luminance-chrominance space", ICIP 2007. It is computed by its authors' package `bm3d`, whose
license allows non-commercial use only: no extra of this project installs it.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from degrade import Degradation
from restore import FunctionRestorer

__all__ = ["CBM3D"]

PACKAGE = "bm3d"


class CBM3D(FunctionRestorer):
    """R(x_t, t) by CBM3D, which is told the true standard deviation b_t / a_t of the noise in x_t / a_t.

    Args:
        degradation: Gaussian noise, x_t = a_t x0 + b_t z.

    Raises:
        ValueError: for another degradation, or if the package is not installed.
    """

    def __init__(self, degradation: Degradation) -> None:
        if not (degradation.additive and degradation.gaussian):
            raise ValueError(f"CBM3D removes Gaussian noise, and the degradation is {degradation.name}; leave it out")
        if importlib.util.find_spec(PACKAGE) is None:
            raise ValueError("CBM3D needs the package bm3d (for non-commercial use): pip install bm3d")
        super().__init__(self._denoised, degradation)

    def _denoised(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return x0_hat (B, C, H, W), image by image on the CPU, with three channels or one."""
        import bm3d  # slow to import

        a_t, b_t = self.degradation.coefficients(t, x_t)
        images = []
        for image, sigma in zip(x_t / a_t, (b_t / a_t).flatten().tolist(), strict=True):
            unit = (image.double().cpu() + 1) / 2  # it expects [0, 1], with the channels last
            denoise = bm3d.bm3d_rgb if len(unit) == 3 else bm3d.bm3d
            found = torch.as_tensor(denoise(unit.permute(1, 2, 0).numpy(), sigma / 2))
            images.append(found.view(*image.shape[1:], -1).permute(2, 0, 1) * 2 - 1)
        return torch.stack(images).to(x_t)
