"""Luma, the brightness of a color that a viewer sees (ITU-R BT.601, 1982)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["LUMA", "luma"]

LUMA = (0.299, 0.587, 0.114)


def luma(x: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of red, green and blue (B, 3, H, W).

    >>> import torch
    >>> luma(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()
    0.29899999499320984
    """
    return sum(w * x[:, c : c + 1] for c, w in enumerate(LUMA))  # type: ignore[return-value]
