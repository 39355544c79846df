"""A small convolutional classifier: three halvings of the sides, and the mean over the last map as features."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from degrade.frozen import frozen

__all__ = ["ClassifierConfig", "ClassifierNet", "ClassifierOutput"]

Count = Annotated[int, Field(ge=1)]


@frozen
class ClassifierConfig:
    """The configuration of a `ClassifierNet`.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes, at least 2.
        channels: channels of the first layer; each halving of the sides doubles them.
        image_size: side in pixels of the images it is trained on, at least 8.
    """

    in_channels: Count = 1
    num_classes: Annotated[int, Field(ge=2)] = 10
    channels: Count = 16
    image_size: Annotated[int, Field(ge=8)] = 32


class ClassifierOutput(NamedTuple):
    """Features (B, 8 `channels`) and class logits (B, `num_classes`)."""

    features: Tensor
    logits: Tensor


class ClassifierNet(nn.Module):
    """Convolutions, batch norms and ReLUs; the features are the mean of the last map, the logits linear in them.

    Args:
        config: its configuration.

    >>> import torch
    >>> net = ClassifierNet(ClassifierConfig(channels=2)).eval()
    >>> features, logits = net(torch.zeros(3, 1, 32, 32))
    >>> features.shape, logits.shape
    (torch.Size([3, 16]), torch.Size([3, 10]))
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config, c = config, config.channels
        layers = [_layer(config.in_channels, c, 1)]
        for width in (c, 2 * c, 4 * c):
            layers += [_layer(width, 2 * width, 2), _layer(2 * width, 2 * width, 1)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(8 * c, config.num_classes)

    def forward(self, x: Tensor) -> ClassifierOutput:
        """Classify images.

        Args:
            x: (B, C, H, W) in [-1, 1].

        Raises:
            ValueError: for images with another number of channels than the network's.
        """
        if x.shape[1] != self.config.in_channels:
            raise ValueError(f"images have {x.shape[1]} channels; the classifier takes {self.config.in_channels}")
        features = self.layers(x).mean((2, 3))
        return ClassifierOutput(features, self.head(features))


def _layer(channels: int, put_out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, put_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(put_out), nn.ReLU())
