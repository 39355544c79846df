"""What every feature network is: a named map from images to rows of features; and those without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from degrade.registry import Registry
from degrade.serializable import Serializable
from restore.checkpoint.integrity import hash_tensors

__all__ = ["FEATURE_NETWORKS", "FeatureNetwork", "FeatureRows", "FunctionFeatures", "make_feature_network", "to_unit"]


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
        return hash_tensors(f"{self.name}{self.arguments}", self._weights())

    def _weights(self) -> dict[str, Tensor]:
        """Return the weights that take part in the fingerprint."""
        return {}


FEATURE_NETWORKS = Registry(FeatureNetwork, "feature network", "evaluation.feature_networks")


def make_feature_network(text: str, **arguments: Any) -> FeatureNetwork:
    """Build a feature network.

    Args:
        text: its name, also with arguments as on a command line, `classifier:folder=runs/classifier`.
        **arguments: further arguments.

    Raises:
        ValueError: for an unknown name or argument.
        ImportError: if its package is not installed.
        FileNotFoundError: if its weights are not at hand.

    >>> make_feature_network("thumbnail")(torch.zeros(2, 3, 32, 32)).features.shape
    torch.Size([2, 192])
    """
    network = FEATURE_NETWORKS.parse(text, **arguments)
    network._weights()  # complain about what is missing here, not after hours
    return network


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


class FunctionFeatures(FeatureNetwork):
    """Any function of images as features.

    Args:
        function: (B, C, H, W) in [-1, 1] -> (B, D).
        name: name of the features in tables.

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
