"""The contract of a degradation.

    x_t = D(x0, t, z)    x0 (B, C, H, W) in [-1, 1];  t (B,) int64 in 0..T;  z: all that is random about it

D degrades a clean image to severity t. Level 0 is the clean image, level T the most degraded one, so there are T + 1
levels and no special first step. z holds every random quantity (a noise image, the place of a mask, ...), batch first;
it is opaque to everyone but its degradation, and None where nothing is random. It has three methods:

    D(x0, t, z)              apply it: a pure function
    D.draw(x0, generator)    draw a fresh z for a batch like x0
    D.estimate(x_t, x0, t, z)   the z that would explain x_t if x0 were the clean image; where that makes no sense, z

So no sampler needs to know which degradation it was given. A new one implements `apply` (and `draw`, when it is
random) and obeys eleven laws, which `degrade.laws` runs:

1. identity      D(x0, 0, z) = x0
2. function      equal arguments give equal results, shape and dtype are kept, randomness lives in `draw` alone and
                 comes from the generator passed in
3. consistency   x_t = D(x0, t, z) implies D(x0, t, D.estimate(x_t, x0, t, z)) = x_t, for t >= 1
4. independence  image i of the result depends on image i of the arguments only: one batch may mix severities
5. batching      a call on a batch equals the calls one by one; device and dtype are those of x0
6. difference    D.delta(x0, t, s, z) = D(x0, s, z) - D(x0, t, z)
7. drawing       `draw` takes one generator for the batch, or one for each image, whose z does not depend on the batch
8. rebuilding    `degrade.make(D.name, **D.arguments)` is an equal degradation
9. adjointness   <A u, v> = <u, D.adjoint(v, t, z)>, for an affine D, which is D(x, t, z) = A x + b
10. proximity    A^T (D(v, t, z) - x_t) + rho (v - x) = 0 at v = D.prox(x, x_t, t, z, rho), for an affine D
11. declarations what D declares about itself (`affine`, `identifiable`, `size_divisor`, `missing`, ...) is true

An affine degradation has three more methods, `adjoint`, `prox` and `invert`, all derived from `apply`; its author only
declares `affine = True`.

The contract adds z to the deterministic D(x0, t) of Bansal et al., "Cold Diffusion" (arXiv 2208.09392, 2022).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from degrade.constants import ROUNDING_NOISE
from degrade.frozen import frozen
from degrade.functional.levels import LevelLookup, compute_dtype
from degrade.functional.proximal import damped, per_image, proximal, transpose
from degrade.params import (
    NumLevels,
    Params,
    check_image_params,
    check_levels,
    check_param_tuple,
    check_params,
    expand_level,
    map_params,
)
from degrade.precision import no_autocast
from degrade.properties import Declarations
from degrade.random import Generators
from degrade.serializable import Serializable

__all__ = [
    "Degradation",
    "NumLevels",
    "Params",
    "check_image_params",
    "check_levels",
    "check_param_tuple",
    "check_params",
    "expand_level",
    "map_params",
]


@frozen
class Degradation(Declarations, Serializable):
    """A family of operators D(., t, z) of growing severity t; see the module for the contract and its laws.

    A subclass declares its arguments as annotated fields, implements `apply`, and is registered under a name:

    >>> import degrade
    >>> @degrade.register("fade_example")
    ... class Fade(Degradation):
    ...     '''Every pixel fades to mid-gray.'''
    ...
    ...     T: NumLevels = 10
    ...
    ...     def apply(self, x0, t, z):
    ...         return x0 * (1 - t / self.T).view(-1, 1, 1, 1)
    >>> D = degrade.make("fade_example", T=4)
    >>> D(torch.ones(2, 1, 1, 1), torch.tensor([1, 4])).flatten().tolist()
    [0.75, 0.0]
    """

    T: NumLevels

    tables: ClassVar[LevelLookup]  # set on the instance, but no argument: it follows from them

    @property
    def random(self) -> bool:
        """Whether `draw` returns anything; by default, whether the class defines `draw`."""
        return type(self).draw is not Degradation.draw

    def __post_init__(self) -> None:
        # Not on first use: what cannot be tabulated is refused where it was chosen, and torch.compile sees a value.
        object.__setattr__(self, "tables", self.precompute())

    def precompute(self) -> LevelLookup | None:
        """Return the tables that `apply` reads with `self.tables.gather(t, x0)`; called once, at construction."""
        return None

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return D(x0, t, z); x0 comes in float32 or float64, outside autocast, and must not be changed."""
        raise NotImplementedError(f"{type(self).__name__} does not define apply(x0, t, z)")

    def draw(self, x0: Tensor, generator: Generators = None) -> Params:
        """Draw z for a batch like `x0` (B, C, H, W), with randomness from `generator` only; None if D has none.

        Args:
            x0: the images z is for.
            generator: one for the batch, or one for each image, whose z then does not depend on the batch.
        """
        return None

    def estimate(self, x_t: Tensor, x0: Tensor, t: Tensor, z: Params) -> Params:
        """Return the z with D(x0, t, z) = x_t for t >= 1, given the z in use; by default that z itself."""
        return z

    def _difference(self, x0: Tensor, t: Tensor, s: Tensor, z: Params) -> Tensor:
        """Return D(x0, s, z) - D(x0, t, z), under the conditions of `apply`; an affine D needs one application only."""
        return self.apply(x0, s, z) - self.apply(x0, t, z)

    def __call__(self, x0: Tensor, t: Tensor, z: Params = None) -> Tensor:
        """Degrade x0 to severity t.

        Args:
            x0: (B, C, H, W) floating point images, nominally in [-1, 1].
            t: (B,) int64 severities in 0..T, on the device of x0.
            z: what `draw` returned for a batch like x0.

        Returns:
            (B, C, H, W) of the dtype of x0; computed in float32 at least.

        Raises:
            ValueError: naming the argument, what it is and what was expected.
        """
        self._validate(x0, t)
        with no_autocast(x0.device):
            return self.apply(x0.to(compute_dtype(x0.dtype)), t, z).to(x0.dtype)

    def delta(self, x0: Tensor, t: Tensor, s: Tensor, z: Params = None) -> Tensor:
        """Return D(x0, s, z) - D(x0, t, z), the change from levels t to levels s (B,); otherwise as in a call."""
        self._validate(x0, t)
        self._validate(x0, s)
        with no_autocast(x0.device):
            return self._difference(x0.to(compute_dtype(x0.dtype)), t, s, z).to(x0.dtype)

    def adjoint(self, u: Tensor, t: Tensor, z: Params = None) -> Tensor:
        """Return A^T u, the adjoint of the linear part A of an affine D: <A v, u> = <v, A^T u>.

        Args:
            u: (B, C, H, W) floating point images.
            t: (B,) int64 severities in 0..T, on the device of u.
            z: what `draw` returned for a batch like u.

        Returns:
            (B, C, H, W) of the dtype of u; computed in float32 at least.

        Raises:
            ValueError: if D is not affine, or naming the argument, what it is and what was expected.

        >>> import degrade
        >>> D = degrade.make("blur", T=3, sigmas="constant:sigma=0.5", kernel_size=3)
        >>> u, v, t = torch.eye(4)[None, None], torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([2])
        >>> torch.allclose((D(v, t) * u).sum(), (v * D.adjoint(u, t)).sum())
        True
        """
        self._validate_affine("adjoint", u, t)
        with no_autocast(u.device):
            return self._adjoint(u.to(compute_dtype(u.dtype)), t, z).to(u.dtype)

    def prox(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: float | Tensor) -> Tensor:
        """Return argmin_v |D(v, t, z) - x_t|^2 + rho |v - x|^2, the image near `x` that fits `x_t`, for an affine D.

        rho = 0 stands for the limit rho -> 0: of all images that fit x_t best, the nearest to x, where a direction
        that D shrinks below the rounding error of the dtype counts as lost.

        Args:
            x: (B, C, H, W) images to stay near to.
            x_t: (B, C, H, W) degraded images, of the shape, dtype and device of x.
            t: (B,) int64 severities of x_t in 0..T.
            z: parameters of the degradation in x_t, as `draw` returns them.
            rho: weight of the distance to x, at least 0: a number, or a tensor (B,), one for each image.

        Returns:
            (B, C, H, W) of the dtype of x; computed in float32 at least.

        Raises:
            ValueError: if D is not affine, or naming the argument, what it is and what was expected.
        """
        self._validate_affine("prox", x, t)
        if x_t.shape != x.shape or x_t.dtype != x.dtype or x_t.device != x.device:
            found, expected = (f"{v.dtype} {tuple(v.shape)} on {v.device}" for v in (x_t, x))
            raise ValueError(f"{self.name}: x_t is {found}; it needs what x is, {expected}")
        with no_autocast(x.device):
            dtype = compute_dtype(x.dtype)
            weight = per_image("rho", rho, x).clamp(min=torch.finfo(dtype).eps ** 2)
            return self._prox(x.to(dtype), x_t.to(dtype), t, z, weight).to(x.dtype)

    def invert(
        self,
        x_t: Tensor,
        t: Tensor,
        z: Params = None,
        noise: float | Tensor = ROUNDING_NOISE,
        spread: float = 0.5,
        mean: Tensor | None = None,
    ) -> Tensor:
        """Return the linear restoration of x_t for an affine D (Wiener, Tikhonov): prox of the mean.

            argmin_v  |D(v, t, z) - x_t|^2 / noise^2 + |v - mean|^2 / spread^2,    rho = (noise / spread)^2

        the mean of x0 given x_t, if x0 ~ N(mean, spread^2 I) and x_t has an error N(0, noise^2 I). Both norms are
        Euclidean, except under a blur with reflected borders: there the end pixels of an axis weigh half.

        Args:
            x_t: (B, C, H, W) degraded images.
            t: (B,) int64 severities of x_t in 0..T.
            z: parameters of the degradation in x_t, as `draw` returns them.
            noise: standard deviation of the error of x_t, above 0, a number or a tensor (B,); by default that of
                rounding to 8 bits.
            spread: standard deviation of the pixels of clean images about `mean`, above 0.
            mean: (B, C, H, W), or what broadcasts to it; 0 by default. With an estimate of x0, the result is the
                projection of that estimate onto the images that x_t allows.

        Raises:
            ValueError: if D is not affine, or naming the argument, what it is and what was expected.

        >>> import degrade
        >>> D = degrade.make("blur", T=3, sigmas="constant:sigma=0.5", kernel_size=3)
        >>> x0, t = torch.eye(8)[None, None], torch.tensor([2])
        >>> x_t = D(x0, t)
        >>> bool((D.invert(x_t, t) - x0).square().mean() < 0.1 * (x_t - x0).square().mean())
        True
        """
        self._validate_affine("invert", x_t, t)
        ratio = per_image("noise", noise, x_t, above=True) / per_image("spread", spread, x_t, above=True)
        near = torch.zeros_like(x_t) if mean is None else mean.to(x_t)
        if near.ndim > 4 or any(m not in (1, n) for m, n in zip(near.shape[::-1], x_t.shape[::-1])):
            raise ValueError(f"{self.name}: mean is {tuple(near.shape)}; it must broadcast to x_t, {tuple(x_t.shape)}")
        with no_autocast(x_t.device):
            dtype = compute_dtype(x_t.dtype)
            rho = ratio.square().clamp(min=torch.finfo(dtype).eps ** 2)
            return self._invert(near.to(dtype).expand_as(x_t), x_t.to(dtype), t, z, rho).to(x_t.dtype)

    def _gain(self, x: Tensor, t: Tensor, z: Params) -> Tensor | None:
        """Return a where D(x, t, z) = a x + b pixel by pixel, so that `adjoint` and `prox` are a product; else None."""
        return None

    def _adjoint(self, u: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return A^T u under the conditions of `apply`; by default from `_gain`, else by differentiating `apply`."""
        gain = self._gain(u, t, z)
        return transpose(lambda v: self.apply(v, t, z), u)(u) if gain is None else gain * u

    def _prox(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: Tensor) -> Tensor:
        """Return the proximal map for rho (B, 1, 1, 1) > 0; by default from `_gain`, else by conjugate gradients."""
        gain = self._gain(x, t, z)
        if gain is not None:
            return x + damped(gain, rho) * (x_t - self.apply(x, t, z))

        def apply(v: Tensor) -> Tensor:
            return self.apply(v, t, z)

        differentiated = type(self)._adjoint is Degradation._adjoint  # then one pullback serves every iteration
        adjoint = transpose(apply, x) if differentiated else lambda u: self._adjoint(u, t, z)
        return proximal(apply, adjoint, x, x_t, rho)

    def _invert(self, x: Tensor, x_t: Tensor, t: Tensor, z: Params, rho: Tensor) -> Tensor:
        """Return the linear restoration near x; by default `_prox`, or in a norm that suits the structure."""
        return self._prox(x, x_t, t, z, rho)

    def _validate_affine(self, verb: str, x: Tensor, t: Tensor) -> None:
        self._validate(x, t)
        if not self.affine:
            raise ValueError(
                f"{self.name or type(self).__name__}: it is not affine, so it has no `{verb}`; follow the gradient of "
                f"|D(x, t, z) - x_t|^2, or restore with a trained network"
            )

    def _validate(self, x0: Tensor, t: Tensor) -> None:
        who = self.name or type(self).__name__
        if x0.ndim != 4 or not x0.is_floating_point():
            raise ValueError(f"{who}: x0 is {x0.dtype} {tuple(x0.shape)}; it needs floating point (B, C, H, W)")
        check_levels(who, t, x0, 0, self.T)
