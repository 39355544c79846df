"""Feature networks by name: what maps images to the vectors on which sets of images are compared.

    inception            2048 features and 1008 class logits of the network behind FID, KID and IS (torch-fidelity's
                         conversion); only its numbers are called so. Weights from a path or torch's cache
    efficientnet_lite0   1280 features and 1000 ImageNet logits of EfficientNet-Lite0 (Tan and Le, 2019); its weights
                         come with the extra `features`, so it needs no download
    thumbnail            the pixels of 8 x 8 thumbnails: color and coarse shape only, no network
    mnist_classifier     128 features and 10 class logits of the included classifier of digits
    cifar10_classifier   the same of the included classifier of thumbnails
    classifier           one that experiments/classifier.py trained, `classifier:folder=runs/classifier`
    any network          `Classifier(net, name)`
    any function         `FunctionFeatures(function, name)`

A distance means nothing without the name of its features, so that name is part of every column and file. No class here
downloads anything.
"""

from __future__ import annotations

from experiments.evaluation.feature_networks.base import (
    FEATURE_NETWORKS,
    FeatureNetwork,
    FeatureRows,
    FunctionFeatures,
    make_feature_network,
    to_unit,
)
from experiments.evaluation.feature_networks.classifier import Classifier, StoredClassifier
from experiments.evaluation.feature_networks.pretrained import cached_weights, choose_features

__all__ = [
    "FEATURE_NETWORKS",
    "Classifier",
    "FeatureNetwork",
    "FeatureRows",
    "FunctionFeatures",
    "StoredClassifier",
    "cached_weights",
    "choose_features",
    "make_feature_network",
    "to_unit",
]
