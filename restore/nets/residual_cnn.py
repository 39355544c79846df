"""A residual network without levels, in the manner of DnCNN (Zhang et al., arXiv 1608.03981, 2017): x + CNN(x, t).

The severity enters as one more input plane, t / max_timestep, as in FFDNet (Zhang et al., arXiv 1710.04026, 2018).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from degrade.frozen import frozen
from restore.nets.registry import register_network

__all__ = ["ResidualCNN", "ResidualCNNConfig"]

Count = Annotated[int, Field(ge=1)]


@frozen
class ResidualCNNConfig:
    """The configuration of a `ResidualCNN`.

    Args:
        in_channels: channels of the images.
        channels: channels of the hidden layers.
        num_layers: convolutions with activation between the first and the last.
        max_timestep: the severity that the network sees as 1, usually T of the degradation.
        image_size: side in pixels of the images it is trained on; images of any size may be passed.
        out_channels: channels of the output, to which x is not added then; None for `in_channels`.
    """

    in_channels: Count = 3
    channels: Count = 64
    num_layers: Count = 15
    max_timestep: Count = 1000
    image_size: Count = 64
    out_channels: Count | None = None


@register_network("residual_cnn")
class ResidualCNN(nn.Module):
    """The network described by a `ResidualCNNConfig`; a new one returns its input.

    >>> net = ResidualCNN(ResidualCNNConfig(in_channels=1, channels=4, num_layers=1))
    >>> x = torch.rand(2, 1, 5, 7)
    >>> torch.equal(net(x, torch.tensor([1, 2])), x)
    True
    """

    def __init__(self, config: ResidualCNNConfig) -> None:
        super().__init__()
        self.config, c = config, config.channels
        hidden = [layer for _ in range(config.num_layers) for layer in (nn.Conv2d(c, c, 3, padding=1), nn.ReLU())]
        first, last = (
            nn.Conv2d(*pair, 3, padding=1)
            for pair in ((config.in_channels + 1, c), (c, config.out_channels or config.in_channels))
        )
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(first, nn.ReLU(), *hidden, last)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map images x (B, C, H, W) at severities t (B,) to (B, C, H, W)."""
        plane = (t.to(x.dtype) / self.config.max_timestep).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        residual: Tensor = self.layers(torch.cat([x, plane], dim=1))
        return residual.to(x.dtype) + (x if self.config.out_channels is None else 0)
