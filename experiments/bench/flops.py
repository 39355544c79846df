"""Floating-point operations of a network: a multiplication and the addition after it are two, the rest is left out.

Counted by PyTorch's counter on the meta device, for one image forward. A training step is counted as three forward
passes, since the backward pass computes two products for every one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["forward_flops", "matched"]


def forward_flops(net: nn.Module, channels: int, size: int) -> int:
    """Return the operations of one forward pass of the network for an image (channels, size, size)."""
    counter = FlopCounterMode(display=False)
    twin = copy.deepcopy(net).to("meta").eval()
    x, t = torch.empty(1, channels, size, size, device="meta"), torch.empty(1, dtype=torch.int64, device="meta")
    # Attention in its plain products, which the counter knows on every device.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        twin(x, t)
    return int(counter.get_total_flops())


def matched(build: Callable[[int], nn.Module], flops: int, channels: int, size: int, every: int = 4) -> int:
    """Return the width, a multiple of `every`, at which the network takes nearest to `flops` operations."""
    costs: dict[int, int] = {}
    width = 0
    while not costs or costs[width] < flops:
        width += every
        with torch.device("meta"):
            net = build(width)
        costs[width] = forward_flops(net, channels, size)
    return min(costs, key=lambda width: abs(costs[width] - flops))
