"""What every restorer is: an estimate of the clean image, x0_hat = R(x_t, t), together with the degradation it undoes.

Samplers, tiling and severity estimation call `R(x_t, t)` and read `R.degradation`; they know no more than this class.
Conditions, such as a class or a second image, are keyword arguments of a call: `R(x_t, t, label=y)`. They are bound by
`R.with_cond(label=y)`, which is an R again, so that a sampler need not know of them. In the same way
`R.with_input_noise(noise)` is an R that knows how exact its pictures are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from degrade import Degradation
from restore.value_range import ValueRange

__all__ = ["BaseRestorer", "CondRestorer", "FunctionRestorer", "WrappedRestorer"]


class BaseRestorer(nn.Module):
    """The base of restorers. A subclass defines `forward(x_t, t, **cond) -> x0_hat`.

    Args:
        degradation: the degradation whose images are restored; it is kept as `R.degradation`.
    """

    severity_model: Mapping[str, Tensor] | None = None  # what `samplers.calibrate_severity` measured; `load` sets it

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        if not isinstance(degradation, Degradation):
            raise ValueError(f"degradation is {degradation!r}; pass a Degradation, such as degrade.make('blur')")
        self.degradation = degradation

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            x_t: (B, C, H, W) degraded images.
            t: (B,) int64 severities in 1..T.
            **cond: conditions, each a tensor of B entries, such as classes (B,) or images (B, C', H, W).

        Returns:
            x0_hat (B, C, H, W), in the precision of `x_t`.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(x_t, t, **cond)")

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return (B, C', H, W), all that `restore_prepared` needs; what must see whole images is computed here.

        R(x_t, t) = R.restore_prepared(R.prepare(x_t, t), t), and tiles of a large image are cut in between. By default
        it is x_t itself.
        """
        return x_t

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat (B, C, H, W) from what `prepare` returned, or from a tile of it."""
        x0_hat: Tensor = self(prepared, t, **cond)
        return x0_hat

    @property
    def device(self) -> torch.device:
        """The device of its weights; the CPU if it has none."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def size_divisor(self) -> int:
        """The number by which height and width of x_t must be divisible."""
        return 1

    @property
    def image_size(self) -> int | None:
        """The side in pixels of the images it was trained on, if it is known."""
        return None

    @property
    def image_channels(self) -> int | None:
        """The number of channels of its images, if it is known."""
        return None

    @property
    def value_range(self) -> ValueRange | None:
        """The values in files that -1 and 1 stand for; None for 8-bit pictures."""
        return None

    @property
    def own_resolution(self) -> bool:
        """Whether it was trained on windows of pictures at their own resolution, not on scaled pictures."""
        return False

    @property
    def cond(self) -> dict[str, Tensor]:
        """The conditions that are bound."""
        return {}

    def with_cond(self, **cond: Tensor) -> CondRestorer:
        """Return this restorer with conditions bound, to be called as `R(x_t, t)`.

        Args:
            **cond: tensors with one entry per image of the batch, or with one entry for all images.

        >>> import degrade, torch
        >>> D = degrade.make("decolor", T=3)
        >>> R = FunctionRestorer(lambda x_t, t, label: x_t + label.view(-1, 1, 1, 1), D).with_cond(label=torch.ones(1))
        >>> R(torch.zeros(2, 3, 1, 1), torch.tensor([1, 2])).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        """
        return CondRestorer(self, **cond)

    def with_input_noise(self, noise: float) -> BaseRestorer:
        """Return this restorer for pictures with an error, by default itself: most restorers make no use of it.

        Args:
            noise: standard deviation of the error of x_t, for pictures in [-1, 1]: `degrade.constants.ROUNDING_NOISE`
                for pictures that come from files of 8 bits.
        """
        return self

    def _with_module(self, name: str, module: nn.Module) -> Self:
        """Return a copy that shares everything but one module with this restorer."""
        changed = copy.copy(self)
        changed.__dict__["_modules"] = {**self._modules, name: module}
        return changed


class FunctionRestorer(BaseRestorer):
    """A function or a module `(x_t, t, **cond) -> x0_hat` as a restorer, such as an oracle in a test.

    Args:
        function: maps (x_t (B, C, H, W), t (B,)) and conditions to x0_hat (B, C, H, W).
        degradation: the degradation whose images it restores.

    >>> import degrade, torch
    >>> x0 = torch.rand(1, 3, 4, 4)
    >>> R = FunctionRestorer(lambda x_t, t: x0, degrade.make("decolor", T=3))
    >>> torch.equal(R(R.degradation(x0, torch.tensor([3])), torch.tensor([3])), x0)
    True
    """

    def __init__(self, function: Callable[..., Tensor], degradation: Degradation) -> None:
        super().__init__(degradation)
        self.function = function

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return what the function returns."""
        return self.function(x_t, t, **cond)


class WrappedRestorer(BaseRestorer):
    """The base of restorers that call another one, `R`.

    Args:
        R: the restorer that is called; its degradation, sizes, channels and values are those of the wrapper, too.
    """

    def __init__(self, R: BaseRestorer) -> None:
        super().__init__(R.degradation)
        self.R, self.severity_model = R, R.severity_model

    def with_input_noise(self, noise: float) -> BaseRestorer:
        """Return this wrapper of R for pictures with an error; see `BaseRestorer.with_input_noise`."""
        return self._with_module("R", self.R.with_input_noise(noise))

    @property
    def size_divisor(self) -> int:
        """The number by which height and width of x_t must be divisible."""
        return self.R.size_divisor

    @property
    def image_size(self) -> int | None:
        """The side in pixels of the images R was trained on, if it is known."""
        return self.R.image_size

    @property
    def image_channels(self) -> int | None:
        """The number of channels of the images of R, if it is known."""
        return self.R.image_channels

    @property
    def value_range(self) -> ValueRange | None:
        """The values in files that -1 and 1 stand for; None for 8-bit pictures."""
        return self.R.value_range

    @property
    def own_resolution(self) -> bool:
        """Whether R was trained on windows of pictures at their own resolution, not on scaled pictures."""
        return self.R.own_resolution


class CondRestorer(WrappedRestorer):
    """A restorer with conditions bound: `CondRestorer(R, label=y)(x_t, t)` is `R(x_t, t, label=y)`.

    Args:
        R: the restorer that is called.
        **cond: tensors of B entries or of one, which then counts for every image of a batch. They move with the module
            (`to(device)`) and are no part of its state.

    Raises:
        ValueError: for a condition that is not a tensor with at least one dimension.
    """

    def __init__(self, R: BaseRestorer, **cond: Tensor) -> None:
        super().__init__(R)
        self._names = tuple(cond)
        for name, value in cond.items():
            if not isinstance(value, Tensor) or value.ndim < 1:
                raise ValueError(f"condition {name} is {value!r}; pass a tensor with one entry, or one per image")
            self.register_buffer(f"cond_{name}", value, persistent=False)

    @property
    def cond(self) -> dict[str, Tensor]:
        """The conditions that are bound, here and to the restorer inside."""
        return self.R.cond | {name: getattr(self, f"cond_{name}") for name in self._names}

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return R(x_t, t) under the bound conditions; those given here take precedence."""
        return self.restore_prepared(self.prepare(x_t, t), t, **cond)

    def prepare(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return what R needs of whole images."""
        return self.R.prepare(x_t, t)

    def restore_prepared(self, prepared: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return x0_hat from what `prepare` returned, under the bound conditions and those given here."""
        given = self.cond | cond
        every = {name: value.expand(prepared.shape[0], *value.shape[1:]) for name, value in given.items()}
        return self.R.restore_prepared(prepared, t, **every)
