"""Classifiers as feature networks: those of this project, by name or folder, and any other module."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn

from experiments.evaluation.classifiers.storage import TrainedClassifier, load_classifier
from experiments.evaluation.feature_networks.base import FEATURE_NETWORKS, FeatureNetwork, FeatureRows

__all__ = ["CIFAR10Classifier", "Classifier", "MNISTClassifier", "OwnClassifier", "StoredClassifier"]


class Classifier(FeatureNetwork):
    """Any classifier: its logits, and its features where it returns them.

    Args:
        net: (B, C, H, W) in [-1, 1] -> logits (B, classes), or a pair (features (B, D), logits).
        name: name of the features in tables.
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


class StoredClassifier(FeatureNetwork):
    """The base of classifiers of this project; a subclass says in `source` where its folder is, by path or name."""

    has_logits = True

    @property
    def source(self) -> str:
        """Where it is; see `load_classifier`."""
        raise NotImplementedError(f"{type(self).__name__} does not define source")

    def trained(self) -> TrainedClassifier:
        """Return the classifier with the names of its classes."""
        return _load(self.source)

    def forward(self, images: Tensor) -> FeatureRows:
        """Return the features and the logits of the classifier."""
        return FeatureRows(*self.trained().net.to(images.device)(images))

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.trained().net.state_dict())


_load = functools.cache(load_classifier)


@FEATURE_NETWORKS.register("mnist_classifier")
class MNISTClassifier(StoredClassifier):
    """The included classifier of digits of 32 pixels."""

    @property
    def source(self) -> str:
        """The name of the included one."""
        return "mnist"


@FEATURE_NETWORKS.register("cifar10_classifier")
class CIFAR10Classifier(StoredClassifier):
    """The included classifier of thumbnails of 32 pixels."""

    @property
    def source(self) -> str:
        """The name of the included one."""
        return "cifar10"


@FEATURE_NETWORKS.register("classifier")
class OwnClassifier(StoredClassifier):
    """A classifier that experiments/classifier.py trained.

    Args:
        folder: folder that experiments/classifier.py wrote.
    """

    folder: str

    @property
    def source(self) -> str:
        """The folder."""
        return self.folder
