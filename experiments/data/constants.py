"""Names and numbers of data sets that options show, and that import no torch."""

from __future__ import annotations

from typing import Any

__all__ = ["OVERSIZE", "TORCHVISION"]

OVERSIZE = 1.12  # ratio of the side of the square that is kept to the side of the windows that are used

# Name on the command line -> class in torchvision.datasets, and how that class is asked for its two parts.
TRAIN_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
SPLIT_NAME: tuple[dict[str, Any], dict[str, Any]] = ({"split": "train"}, {"split": "test"})
TORCHVISION = {
    "mnist": ("MNIST", TRAIN_FLAG),
    "fashion_mnist": ("FashionMNIST", TRAIN_FLAG),
    "kmnist": ("KMNIST", TRAIN_FLAG),
    "cifar10": ("CIFAR10", TRAIN_FLAG),
    "cifar100": ("CIFAR100", TRAIN_FLAG),
    "celeba": ("CelebA", SPLIT_NAME),
    "svhn": ("SVHN", SPLIT_NAME),
    "stl10": ("STL10", SPLIT_NAME),
    "flowers102": ("Flowers102", SPLIT_NAME),
}
