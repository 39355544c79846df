"""What the features of pictures are at known severities: measured on clean pictures, to be kept with a model.

See `samplers.applications.severity` for how a severity is found by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from degrade import Params, map_params
from degrade.constants import ROUNDING_NOISE
from degrade.frozen import frozen
from degrade.random import Generators
from restore import BaseRestorer
from samplers.applications.severity_model import SeverityModel, Simulated, calibrated, held_out_levels, knot_levels
from samplers.applications.severity_view import View, probed_features
from samplers.loop import inference_mode

__all__ = ["SeverityOptions", "calibrate_severity", "check_pictures", "check_reference", "measured", "middle"]

NUM_HELD_OUT = 4  # severities of each reference picture that the interval is calibrated on


@frozen
class SeverityOptions:
    """How a severity is estimated.

    Args:
        num_knots: number of severities at which pictures are simulated, 2 or more; between them, mean and covariance of
            the features are interpolated. Without reference pictures, half as many are added around the best ones, and
            for Gaussian noise both numbers are halved.
        batch_size: number of pictures in one call of R, 1 or more.
    """

    num_knots: Annotated[int, Field(ge=2)] = 16
    batch_size: Annotated[int, Field(ge=1)] = 64


def calibrate_severity(
    R: BaseRestorer,
    reference: Tensor,
    options: SeverityOptions = SeverityOptions(),
    generator: Generators = None,
) -> dict[str, Tensor]:
    """Measure on clean pictures what is needed to find severities of 8-bit pictures without them.

    `restore.keep_severity_model` writes it beside the weights; `restore.load` then sets `R.severity_model`.

    Args:
        R: a trained restorer.
        reference: (m, C, H, W) clean pictures like those that R was trained on, rather hundreds than dozens, of its
            size; or larger ones, which are degraded before their middle of that size is cut out, as it is in pictures.
        options: at how many severities they are simulated, and in batches of what size.
        generator: for the z of simulated pictures.

    Returns:
        Tensors by name, on the CPU: the knots, and mean and covariance of the features there in float32.

    Raises:
        ValueError: if the pictures or what R returns are not finite, or fewer than two of them are different.

    >>> import degrade
    >>> from restore import FunctionRestorer
    >>> from samplers import estimate_severity
    >>> D = degrade.make("blur", T=20, sigmas="constant:sigma=1")
    >>> R = FunctionRestorer(lambda x_t, t: x_t, D)
    >>> x0 = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> R.severity_model = calibrate_severity(R, x0[1:])
    >>> estimate_severity(R, degrade.quantize_8bit(D(x0[:1], torch.tensor([7])))).t
    7
    """
    D, R = R.degradation, R.with_input_noise(ROUNDING_NOISE)
    check_pictures("reference", reference)
    side = R.image_size
    size = (side, side) if side and side <= min(reference.shape[2:]) else reference.shape[2:]
    check_reference(reference, middle(reference, size))
    view = View(D, R, not D.random or D.identifiable, True, options.batch_size, generator)
    with inference_mode(R):
        found = measured(view, None, reference, size, options.num_knots)
    return {name: value.float() if value.is_floating_point() else value for name, value in found._asdict().items()}


def middle(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the middle (n, C, H, W) of images, of a size (H, W)."""
    top, left = ((length - wanted) // 2 for length, wanted in zip(x.shape[2:], size, strict=True))
    return x[..., top : top + size[0], left : left + size[1]]


def measured(view: View, z: Params, reference: Tensor, size: Sequence[int], knots: int) -> SeverityModel:
    """Return what is known of features at each severity, from reference pictures degraded to known severities.

    Args:
        view: computes features.
        z: what is random about the degradation, if it is known.
        reference: (m, C, H, W) clean pictures of `size`, or larger.
        size: size of the pictures whose severity is sought.
        knots: number of severities.
    """
    T = view.D.T
    if view.D.random:  # a z may have the size of the picture
        reference = middle(reference, size)
    # The picture may be given as several crops, which have one z.
    z = map_params(lambda v: v[:1].expand(len(reference), *v.shape[1:]), z)

    def simulated(t: Tensor) -> Tensor:
        held = view.placeholder(reference, z)
        # What lies around a crop has been blurred into it, and is not what its border would be continued by.
        x_t = middle(view.degraded(reference, t.to(reference.device), held), size)
        return probed_features(view, x_t, held)

    at = knot_levels(T, knots)
    levels = held_out_levels(T, len(reference), NUM_HELD_OUT)
    at_knots = torch.stack([simulated(t.expand(len(reference))) for t in at])
    return calibrated(Simulated(at, at_knots, levels, torch.stack([simulated(t) for t in levels])))


def check_pictures(name: str, x: Tensor) -> None:
    """Raise ValueError unless x is a batch of finite floating-point pictures."""
    if x.ndim != 4 or not x.numel() or not x.is_floating_point():
        raise ValueError(f"{name} is {x.dtype} {tuple(x.shape)}: give float pictures (n, C, H, W) in [-1, 1], n >= 1")
    bad = int(x.numel() - x.isfinite().sum())
    if bad:
        raise ValueError(f"{name} has {bad} values of {x.numel()} that are nan or infinite: give finite pictures")


def check_reference(reference: Tensor, x: Tensor) -> None:
    """Raise ValueError unless reference pictures are two or more, as large as x, on its device, and not all alike."""
    small = any(own < wanted for own, wanted in zip(reference.shape[2:], x.shape[2:]))
    if len(reference) < 2 or small or reference.shape[1] != x.shape[1]:
        raise ValueError(
            f"reference is {tuple(reference.shape)} for pictures {tuple(x.shape)}: give two or more, as large or larger"
        )
    check_pictures("reference", reference)
    if reference.device != x.device:
        raise ValueError(f"reference is on {reference.device} and x on {x.device}: move one to the other")
    if torch.equal(reference, reference[:1].expand_as(reference)):
        raise ValueError(f"the {len(reference)} pictures of reference are all the same: give different ones")
