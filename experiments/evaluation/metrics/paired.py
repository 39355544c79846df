"""Metrics of an image against its truth, in [0, 1] after clipping: rmse, psnr, ssim, lpips."""

from __future__ import annotations

import functools
import re
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.evaluation.feature_networks import cached_weights
from experiments.evaluation.metrics.base import METRICS, PairedMetric

__all__ = ["LPIPS", "PSNR", "RMSE", "SSIM"]


def squared_error(x: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error (B,) of each image, in float64 on the CPU."""
    return (x.cpu().double() - truth.cpu().double()).pow(2).flatten(1).mean(1)


@METRICS.register("rmse")
class RMSE(PairedMetric):
    """Root of the mean squared error over all images and pixels, in [0, 1]."""

    higher_is_better, title = False, "RMSE"

    def per_image(self, x: Tensor, truth: Tensor) -> Tensor:
        """Return mean squared errors (B,)."""
        return squared_error(x, truth)

    def reduce(self, values: Tensor) -> Tensor:
        """Return the root of the mean."""
        return values.mean(-1).sqrt()


@METRICS.register("psnr")
class PSNR(PairedMetric):
    """Mean over images of the peak signal-to-noise ratio in dB, -10 log10 of the mean squared error."""

    higher_is_better, title = True, "PSNR (dB)"

    def per_image(self, x: Tensor, truth: Tensor) -> Tensor:
        """Return ratios (B,) in dB."""
        from torchmetrics.functional.image import peak_signal_noise_ratio  # slow to import

        ratios: Tensor = peak_signal_noise_ratio(
            x.cpu().double(), truth.cpu().double(), data_range=1.0, reduction="none", dim=(1, 2, 3)
        )
        return ratios


@METRICS.register("ssim")
class SSIM(PairedMetric):
    """Mean structural similarity (Wang et al., 2004), Gaussian window of 11 x 11 pixels and sigma 1.5."""

    higher_is_better, title, minimum_size = True, "SSIM", 11

    def per_image(self, x: Tensor, truth: Tensor) -> Tensor:
        """Return similarities (B,), at most 1."""
        from torchmetrics.functional.image import structural_similarity_index_measure  # slow to import

        if min(x.shape[-2:]) < self.minimum_size:
            found = f"images of {x.shape[-2]} x {x.shape[-1]} pixels"
            raise ValueError(f"{found}; the window of SSIM needs {self.minimum_size} x {self.minimum_size} or more")
        similarity = structural_similarity_index_measure(x, truth, data_range=1.0, reduction="none")
        assert isinstance(similarity, Tensor)
        return similarity


Backbone = Literal["alex", "vgg", "squeeze"]
LPIPS_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


@METRICS.register("lpips")
class LPIPS(PairedMetric):
    """Mean learned perceptual distance (Zhang et al., 2018) by torchmetrics, where the backbone's weights are at hand.

    Args:
        backbone: `alex`, `vgg` or `squeeze`.
        weights: path of torchvision's weights of the backbone; None looks into torch's cache. Never downloaded.
    """

    higher_is_better, title = False, "LPIPS"
    backbone: Backbone = "alex"
    weights: str | None = None

    def per_image(self, x: Tensor, truth: Tensor) -> Tensor:
        """Return distances (B,)."""
        path = str(cached_weights(LPIPS_FILES[self.backbone], self.weights, "lpips"))
        x, truth = (v.float().expand(-1, 3, -1, -1) for v in (x, truth))
        distance: Tensor = _lpips(self.backbone, path).to(x.device)(x, truth, normalize=True)
        return distance.flatten()


@functools.cache
def _lpips(backbone: Backbone, path: str) -> Any:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    # Random at first, so that nothing is downloaded; torchvision's layers keep their numbers inside the slices.
    net = _NoTrainLpips(net=backbone, pnet_rand=True)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    for key, weight in net.net.state_dict().items():
        weight.copy_(stored[re.sub(r"^slice(s\.)?\d+", "features", key)])
    return net
