"""Conditions of a network: tensors by name, such as classes or a second image, which it is called with.

    net(x_t, t, **cond),    cond = {"label": (B,) int64, "reference": (B, C', H, W), ...}

A network says in its attribute `null_cond`, a mapping from names to numbers, which value stands for "no condition": for
10 classes 0..9 for instance `null_cond = {"label": 10}`. For floating-point conditions it is 0 unless stated. Training
replaces conditions by it at random (`TrainConfig.cond_dropout`), so that one network is conditional and unconditional,
as classifier-free guidance needs it (Ho and Salimans, arXiv 2207.12598, 2022).

The name `z` is reserved: data that knows what is random about the degradation of an image gives it under this name, and
it is then used in place of a draw, `D.draw(x0)`. So a data set of pairs (clean, degraded) gives the degraded image as z
of an `interpolation`. It is no condition: the network does not see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade import Degradation, Params
from degrade.random import Generators

__all__ = ["Cond", "Example", "draw_params", "drop_cond", "null_cond", "split_params"]

Cond = dict[str, Tensor]
PARAMS = "z"


class Example(NamedTuple):
    """Clean images, what is random about their degradation, and their conditions.

    Args:
        x0: (B, C, H, W) clean images.
        z: parameters of a degradation, B entries each.
        cond: tensors of B entries by name.
    """

    x0: Tensor
    z: Params
    cond: Cond


def split_params(cond: Mapping[str, Tensor]) -> tuple[Tensor | None, Cond]:
    """Return z, if the data gives it under this name, and the conditions, which are all others.

    >>> split_params({"z": torch.zeros(1), "label": torch.tensor([3])})
    (tensor([0.]), {'label': tensor([3])})
    """
    return cond.get(PARAMS), {name: value for name, value in cond.items() if name != PARAMS}


def draw_params(D: Degradation, examples: Tensor | tuple[Tensor, Cond], generator: Generators = None) -> Example:
    """Return what a data set gives with z: that of the data if it gives one, else a draw from D.

    Args:
        D: the degradation.
        examples: images (B, C, H, W), or a pair of them and tensors by name.
        generator: source of randomness of the draw.

    >>> from degrade import make
    >>> pair = torch.zeros(1, 1, 2, 2), {"z": torch.ones(1, 1, 2, 2)}
    >>> draw_params(make("interpolation", T=4), pair).z.mean().item()
    1.0
    """
    x0, given = (examples, {}) if isinstance(examples, Tensor) else examples
    z, cond = split_params(given)
    return Example(x0, D.draw(x0, generator) if z is None else z.to(x0), cond)


def null_cond(net: nn.Module, cond: Mapping[str, Tensor]) -> Cond:
    """Return the conditions of the same names and shapes that mean "no condition" to a network.

    Args:
        net: the network, with an attribute `null_cond` if 0 is not the value for all names.
        cond: tensors by name, with one entry for each image.

    Raises:
        ValueError: for a condition of integers without a value in `net.null_cond`: every integer may be a class.

    >>> net = nn.Identity()
    >>> net.null_cond = {"label": 10}
    >>> null_cond(net, {"label": torch.tensor([3, 4]), "reference": torch.ones(2)})
    {'label': tensor([10, 10]), 'reference': tensor([0., 0.])}
    """
    values: Mapping[str, float] = getattr(getattr(net, "_orig_mod", net), "null_cond", {})
    for name, tensor in cond.items():
        if name not in values and not tensor.is_floating_point():
            raise ValueError(
                f"the network does not say which {name} means no condition; give it an attribute"
                f" null_cond = {{{name!r}: ...}}, for instance the number of classes"
            )
    return {name: torch.full_like(tensor, values.get(name, 0)) for name, tensor in cond.items()}


def drop_cond(net: nn.Module, cond: Mapping[str, Tensor], drop: Tensor) -> Cond:
    """Return the conditions with those of some images replaced by "no condition", all of an image together.

    Args:
        net: the network; see `null_cond`.
        cond: tensors by name, with one entry for each image.
        drop: (B,) bool, true for the images whose conditions are replaced.

    Raises:
        ValueError: if the network does not say what "no condition" is.

    >>> drop_cond(nn.Identity(), {"shade": torch.tensor([0.5, 0.7])}, torch.tensor([True, False]))
    {'shade': tensor([0.0000, 0.7000])}
    """
    null = null_cond(net, cond)
    return {
        name: torch.where(drop.view(-1, *[1] * (tensor.ndim - 1)), null[name], tensor) for name, tensor in cond.items()
    }
