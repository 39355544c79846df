"""Interpolation: an image of one set changes into an image z of another set, x_t = a_t x0 + b_t z.

With the cosine schedule this is the animorphosis of Bansal et al. (arXiv 2208.09392, 2022, section 5.2). The images of
two unpaired sets can be paired in many ways. Two couplings are implemented:

* `independent`   every image keeps the z that was drawn for it, as in animorphosis
* `optimal`       the permutation p of the batch that minimizes sum_i |x0_i - z_p(i)|^2, minibatch optimal transport
                  (Tong et al., arXiv 2302.00482, 2023; Pooladian et al., arXiv 2304.14772, 2023). The paths from x0 to
                  z are shorter, and a restored image resembles the image that it started from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from degrade.base import NumLevels
from degrade.choices import Coupling
from degrade.functional.schedules import AnySchedule, Cosine
from degrade.operators.noise import AffinePath
from degrade.optional import require
from degrade.random import Generators, Source, sample_source
from degrade.registry import register
from degrade.serializable import runtime_field

__all__ = ["Interpolation", "pair"]


@register("interpolation")
class Interpolation(AffinePath):
    """Interpolation between two sets of images: x_t = a_t x0 + b_t z, with z from the other set.

    z is the partner image, shaped like x0.

    Args:
        T: number of levels, at least 1.
        schedule: the weights (a_t, b_t) of image and partner: a name such as `cosine`, an object, or
            {"name": ..., "arguments": {...}}; see `degrade.functional.schedules`.
        coupling: how the images of a batch are paired with the partners that were drawn: `independent` or `optimal`
            (needs SciPy). With one generator for each image, each keeps its own partner, so that the partner of an
            image does not depend on the batch.
        source: function source(n, generator) that returns n partner images (n, C, H, W) in [-1, 1]. It is not saved,
            and two interpolations with different sources are not equal.

    >>> import torch
    >>> D = Interpolation(T=4, schedule="rectified", source=lambda n, generator: torch.ones(n, 1, 2, 2))
    >>> x0 = -torch.ones(1, 1, 2, 2)
    >>> [D(x0, torch.tensor([t]), D.draw(x0)).mean().item() for t in range(5)]
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """

    without_z: ClassVar[str] = "give z, the partner image, which only a Python program can"

    T: NumLevels = 200
    schedule: AnySchedule = Cosine()
    coupling: Coupling = "independent"
    source: Source | None = runtime_field(default=None)

    def __post_init__(self) -> None:
        a, b = self.schedule(self.T)
        object.__setattr__(self, "bounded", bool((a + b <= 1 + 1e-6).all()))  # |a_t x0 + b_t z| <= a_t + b_t
        super().__post_init__()

    def draw(self, x0: Tensor, generator: Generators = None) -> Tensor:
        """Return one partner image for each image of `x0`.

        Raises:
            ValueError: if no source was given, or if its images are not shaped like x0.
        """
        if self.source is None:
            raise ValueError(
                "interpolation has no source to draw partners from; give it one: "
                "make('interpolation', source=...) or dataclasses.replace(D, source=...)"
            )
        z = sample_source(self.source, len(x0), generator).to(x0)
        if z.shape != x0.shape:
            raise ValueError(f"interpolation: its source gave images {tuple(z.shape)} for x0 {tuple(x0.shape)}")
        # Images that have a generator each are batches of one, which leave nothing to pair.
        return z if isinstance(generator, Sequence) else pair(self.coupling, x0, z)


def pair(coupling: Coupling, x0: Tensor, z: Tensor) -> Tensor:
    """Return the images of `z`, ordered so that z[i] is the partner of x0[i].

    Args:
        coupling: `independent` keeps the order; `optimal` minimizes the sum of the squared distances.
        x0: (B, ...) images.
        z: (B, ...) images of the other set.

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
