"""Couplings: which partner z belongs to which image x0 of a batch.

Two unpaired sets can be paired in many ways. `independent` keeps the random order, as animorphosis does; `optimal`
finds the permutation p of the batch with the least sum_i |x0_i - z_p(i)|^2, minibatch optimal transport (Tong et al.,
arXiv 2302.00482, 2023; Pooladian et al., arXiv 2304.14772, 2023), which makes the paths from x0 to z shorter and a
restored image resemble its start.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from degrade.optional import require

__all__ = ["Coupling", "pair"]

Coupling = Literal["independent", "optimal"]


def pair(coupling: Coupling, x0: Tensor, z: Tensor) -> Tensor:
    """Return the images of `z` in the order in which they are partners of `x0`.

    Args:
        coupling: `independent` or `optimal`.
        x0: (B, ...) images.
        z: (B, ...) partners.

    Raises:
        ImportError: for `optimal` without SciPy.

    >>> pair("optimal", torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]])).flatten().tolist()
    [1.0, 4.0]
    """
    return z if coupling == "independent" else z[_assignment(x0, z)]


def _assignment(x0: Tensor, z: Tensor) -> Tensor:
    assign = require("scipy.optimize", "coupling 'optimal'", extra="optimal").linear_sum_assignment
    # |x0 - z|^2 without the terms that no permutation changes. The assignment is solved on the host, which is the one
    # place where training waits for the device.
    cost = -(x0.flatten(1).double() @ z.flatten(1).double().T)
    _, order = assign(cost.cpu().numpy())
    return torch.from_numpy(order).to(z.device)
