"""The restorer: R(x_t, t) = x0_hat, whatever the network inside was trained to predict.

With x_t = a_t x0 + b_t z a network may predict the image, the noise, or a mixture of both (Salimans and Ho, arXiv
2202.00512, 2022), and each gives back x0:

    predict   target             x0_hat from the output o
    x0        x0                 o
    eps       z                  (x_t - b_t o) / a_t
    v         a_t z - b_t x0     (a_t x_t - b_t o) / (a_t^2 + b_t^2)

The last two need an additive degradation; for every other one only x0 makes sense. A network may also see the linear
inverse of x_t, and then predicts what that lacks (`restore.inverse_input`). Samplers see none of this, nor in which
precision the network works: what it is given and what it gives back has the precision of x_t.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import get_args

import torch
from torch import Tensor, nn

from degrade import Degradation, Params
from degrade.base import check_levels
from degrade.functional.levels import compute_dtype
from restore.base_restorer import BaseRestorer
from restore.choices import Precision, Predict
from restore.inverse_input import InverseInput
from restore.linear_inverse import LinearInverse
from restore.value_range import ValueRange

__all__ = ["Restorer"]


class Restorer(BaseRestorer):
    """A network together with the degradation that it was trained to undo.

    Args:
        net: maps (x_t (B, C, H, W), t (B,)) and conditions, given by keyword, to (B, C, H, W).
        degradation: the degradation whose images it restores.
        prediction_type: what the output of `net` means: `x0`, `eps` or `v`.
        clip_sample: whether x0_hat is clamped to the data range [-1, 1].
        precision: precision of the network's forward pass: `bfloat16` runs it under autocast. It may be set at any
            time, as in
            `R = restore.load(folder)`, `R.precision = "bfloat16"`. The conversion to x0_hat, the degradation and the
            state of a sampler keep the precision of x_t.
        inverse_input: where given, `net` sees the linear inverse of x_t as C more channels, and its output is what is
            missing from it; see `restore.inverse_input`. The inverse is computed in float32 at least, in any
            `precision`.

    To compile it, `R.net.compile(dynamic=True)`; for channels_last, `R.to(memory_format=torch.channels_last)`.

    Raises:
        ValueError: for an unknown `prediction_type` or `precision`, for `eps` or `v` of a degradation that is not
            additive (x_t = a_t x0 + b_t z), for `eps` where some a_t is 0, since noise alone does not determine x0,
            and for an `inverse_input` that does not suit the degradation or the channels of the network.

    >>> import degrade
    >>> class Zero(nn.Module):
    ...     def forward(self, x_t, t):
    ...         return torch.zeros_like(x_t)
    >>> D = degrade.make("gaussian_noise", T=10)
    >>> R = Restorer(Zero(), D, prediction_type="eps")
    >>> x0, t = torch.ones(1, 1, 2, 2), torch.tensor([10])
    >>> torch.allclose(R(D(x0, t, torch.zeros_like(x0)), t), x0)
    True
    """

    value_range: ValueRange | None = None  # of the files it was trained on; `restore.load` sets it
    own_resolution: bool = False  # of the images it was trained on; `restore.load` sets it

    def __init__(
        self,
        net: nn.Module,
        degradation: Degradation,
        prediction_type: Predict = "x0",
        clip_sample: bool = False,
        precision: Precision = "float32",
        inverse_input: InverseInput | None = None,
    ) -> None:
        super().__init__(degradation)
        if prediction_type not in get_args(Predict):
            raise ValueError(f"prediction_type is {prediction_type!r}; choose from {', '.join(get_args(Predict))}")
        self._mixture = None if prediction_type == "x0" else _solvable(degradation, prediction_type)
        self.net = net
        self.prediction_type = prediction_type
        self.clip_sample = clip_sample
        self.precision = precision
        self.inverse_input = inverse_input
        self.linear_inverse: LinearInverse | None = None
        if inverse_input is not None:
            _check_channels(net)
            device = next((p.device for p in net.parameters()), torch.device("cpu"))
            self.linear_inverse = inverse_input.build(degradation).to(device)

    @property
    def precision(self) -> Precision:
        """Precision of the network's forward pass, `float32` or `bfloat16`."""
        return self._precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        """Set it, for the next forward pass on."""
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}; choose from {', '.join(get_args(Precision))}")
        self._precision: Precision = precision

    @property
    def size_divisor(self) -> int:
        """The number by which height and width of x_t must be divisible: `net.size_divisor`, or 1."""
        divisor: int = getattr(self.net, "size_divisor", 1)
        return divisor

    @property
    def image_size(self) -> int | None:
        """The side in pixels of the images it was trained on: `net.image_size`, or that of its configuration."""
        size: int | None = getattr(
            self.net, "image_size", getattr(getattr(self.net, "config", None), "image_size", None)
        )
        return size

    @property
    def image_channels(self) -> int | None:
        """The number of channels of its images: `net.config.out_channels` or else `net.config.in_channels`."""
        config = getattr(self.net, "config", None)
        channels: int | None = getattr(config, "out_channels", None) or getattr(config, "in_channels", None)
        return channels

    def with_input_noise(self, noise: float) -> Restorer:
        """Return this restorer for pictures with an error, with the same network.

        Args:
            noise: standard deviation of the error of x_t. Where it is larger than that of `inverse_input`, the linear
                inverse that the network sees assumes it. A restorer without `inverse_input` returns itself.

        >>> import degrade
        >>> from degrade.constants import ROUNDING_NOISE
        >>> D = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=5)
        >>> R = Restorer(nn.Conv2d(6, 3, 1), D, inverse_input=InverseInput(noise=1e-5))
        >>> R.with_input_noise(ROUNDING_NOISE).linear_inverse.noise == ROUNDING_NOISE
        True
        """
        if self.linear_inverse is None:
            return self
        return self._with_module("linear_inverse", self.linear_inverse.with_input_noise(noise))

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            x_t: (B, C, H, W) degraded images.
            t: (B,) int64 severities in 1..T.
            **cond: conditions, passed on to the network.

        Returns:
            x0_hat (B, C, H, W), in the precision of `x_t`.

        Raises:
            ValueError: for severities that are not (B,) int64, or not in 1..T as far as the host can see without a
                wait: on the CPU, and not while the restorer is compiled.
        """
        return self.restore_prepared(self.prepare(x_t, t), t, **cond)

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return what the network sees: x_t (B, C, H, W), with its linear inverse (B, 2 C, H, W) by `inverse_input`."""
        if self.linear_inverse is None:
            return x_t
        return torch.cat([x_t, self.linear_inverse(x_t, t)], dim=1)

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat (B, C, H, W) from what `prepare` returned, or from a tile of it; otherwise as in a call."""
        check_levels("restorer", t, prepared, 1, self.degradation.T)
        low = torch.autocast(prepared.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()
        with low:
            out = self.net(prepared, t, **cond)
        # As a degradation does, the conversion works in float32 at least, and its result is rounded once.
        x0_hat = self._recover(out.to(compute_dtype(prepared.dtype)), prepared, t).to(prepared.dtype)
        return x0_hat.clamp(-1, 1) if self.clip_sample else x0_hat

    def target(self, x0: Tensor, t: Tensor, z: Params, prepared: Tensor) -> Tensor:
        """Return what the network should have put out, in the shape and precision of `x0`.

        Args:
            x0: (B, C, H, W) clean images.
            t: (B,) int64 severities in 1..T.
            z: what was random when x0 was degraded.
            prepared: what `prepare` returned for D(x0, t, z), which the network saw.
        """
        if self.linear_inverse is not None:
            return x0 - _inverse_of(prepared)
        if self._mixture is None:
            return x0
        a_t, b_t = self._mixture.coefficients(t, x0)
        noise: Tensor = z
        return noise if self.prediction_type == "eps" else (a_t * noise - b_t * x0).to(x0.dtype)

    def _recover(self, out: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        if self.linear_inverse is not None:
            return _inverse_of(x_t) + out
        if self._mixture is None:
            return out
        a_t, b_t = self._mixture.coefficients(t, x_t)
        if self.prediction_type == "eps":
            return (x_t - b_t * out) / a_t
        return (a_t * x_t - b_t * out) / (a_t**2 + b_t**2)


def _solvable(degradation: Degradation, prediction_type: Predict) -> Degradation:
    """Return the degradation if x0 follows from x_t and what `prediction_type` names; otherwise raise ValueError."""
    if not degradation.additive:
        raise ValueError(
            f"prediction_type {prediction_type!r} needs x_t = a_t x0 + b_t z, which {degradation.name!r} is not;"
            " use prediction_type='x0'"
        )
    like = torch.zeros(degradation.T + 1, 1, 1, 1, dtype=torch.float64)
    a = degradation.coefficients(torch.arange(degradation.T + 1), like)[0].flatten()
    if prediction_type == "eps" and not a.all():
        raise ValueError(
            f"prediction_type 'eps' cannot recover x0 at t = {int((a == 0).nonzero()[0])}, where a_t = 0;"
            " use prediction_type='x0' or 'v', or a schedule that keeps some signal"
        )
    return degradation


def _inverse_of(prepared: Tensor) -> Tensor:
    """Return the linear inverse (B, C, H, W), the second half of the channels that a network sees."""
    return prepared.chunk(2, dim=1)[1]


def _check_channels(net: nn.Module) -> None:
    """Raise ValueError for a network whose configuration does not map 2 C channels to C."""
    config = getattr(net, "config", None)
    seen: int | None = getattr(config, "in_channels", None)
    put_out: int | None = getattr(config, "out_channels", None)
    if seen is not None and (put_out is None or seen != 2 * put_out):
        raise ValueError(
            f"inverse_input gives the network x_t and its linear inverse, and it maps {seen} channels to"
            f" {put_out or seen}; for images of 3 channels, make it with in_channels=6, out_channels=3"
        )
