"""Classifier-free guidance: conditions that count more than they did in training.

    x0_hat = R(x_t, t, none) + scale (R(x_t, t, cond) - R(x_t, t, none))

where `none` is the network's "no condition" (`restore.conditions`), which it must have been trained with: see
`TrainConfig.cond_dropout`. Since the noise is an affine function of x0_hat at fixed x_t, this is the guidance of the
noise of Ho and Salimans (arXiv 2207.12598, 2022), whose weight is w = scale - 1.
"""

from __future__ import annotations

import math

from torch import Tensor

from restore.base_restorer import BaseRestorer, CondRestorer
from restore.conditions import null_cond

__all__ = ["Guided"]


class Guided(CondRestorer):
    """A restorer with conditions bound and guidance towards them, to be called as `R(x_t, t)` by every sampler.

    Each call runs R twice, with the conditions and without; at `scale` 1 once. If R clamps x0_hat to [-1, 1]
    (`clip_sample`), the result is clamped, too.

    Args:
        R: the restorer that is called as R(x_t, t, **cond), with a network trained with `cond_dropout`.
        scale: strength of the guidance: 0 for no condition, 1 for the plain conditions, above 1 for more.
        **cond: tensors of B entries or of one, which then counts for every image of a batch.

    Raises:
        ValueError: for a scale that is not finite.

    >>> import torch, degrade
    >>> from restore import FunctionRestorer
    >>> R = FunctionRestorer(lambda x_t, t, shade: x_t + shade.view(-1, 1, 1, 1), degrade.make("decolor", T=3))
    >>> guided = Guided(R, 2.0, shade=torch.tensor([0.25]))
    >>> guided(torch.zeros(1, 1, 1, 1), torch.tensor([1])).item()
    0.5
    """

    def __init__(self, R: BaseRestorer, scale: float, **cond: Tensor) -> None:
        super().__init__(R, **cond)
        if not math.isfinite(scale):
            raise ValueError(f"scale is {scale}; give a finite number, such as 1.0 for no guidance")
        self.scale = scale

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat (B, C, H, W), guided by the bound conditions; those given here take precedence."""
        with_cond = super().restore_prepared(prepared, t, **cond)
        if self.scale == 1:
            return with_cond
        none = null_cond(getattr(self.R, "net", self.R), self.cond | cond)
        without = super().restore_prepared(prepared, t, **none)
        x0_hat = without + self.scale * (with_cond - without)
        return x0_hat.clamp(-1, 1) if getattr(self.R, "clip_sample", False) else x0_hat
