"""Composition: two or more degradations in sequence, which together are one degradation.

    x_t = P_n(... P_2(P_1(x0, l_1(t), z_1), l_2(t), z_2) ..., l_n(t), z_n),    z = (z_1, ..., z_n)

Each part P_i has its own number of levels and its own curve l_i, which maps the level t of the composition to a level
of the part (see `degrade.functional.curves`). The order of the parts is free and matters; a camera blurs first and adds
noise afterwards. The argument `noise_fraction` = h in [0, 1] shifts the composition from the first parts to the last:

    l_n(t) is multiplied by min(1, 2 h),    every other l_i(t) by min(1, 2 (1 - h))

At h = 0 only the parts before the last act, at h = 1 only the last part, and at h = 1/2 all parts act in full. For
every h, at least one part reaches its own last level at T. Blur followed by Gaussian noise is a hybrid of the cold and
the hot diffusion of Bansal et al. (arXiv 2208.09392, 2022); at h = 1/2 its forward process has the form of Soft
Diffusion (Daras et al., arXiv 2209.05442, 2022) and of blurring diffusion (Hoogeboom and Salimans, arXiv 2209.05557,
2022).

`estimate` changes the z of the last part only: the z of the other parts are kept, they give the image that the last
part received, and the last part estimates its z from that image and x_t. The result explains x_t exactly if the last
part alone can explain it. Where the level of the last part is 0, it does not act and keeps its z.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import torch
from pydantic import Field, PlainSerializer, PlainValidator
from torch import Tensor

from degrade.base import Degradation, NumLevels, Params
from degrade.functional.curves import AnyCurve, Ramp
from degrade.functional.levels import LevelTables, compute_dtype
from degrade.random import Generators
from degrade.registry import from_dict, make, register
from degrade.serializable import runtime_field

__all__ = ["Compose"]


Part = Annotated[Degradation, PlainValidator(from_dict), PlainSerializer(Degradation.to_dict)]


def blur_then_noise() -> tuple[Degradation, ...]:
    """Return the parts of the hybrid between cold and hot diffusion, each with its own default arguments."""
    return make("blur"), make("gaussian_noise")


def _choose(mask: Tensor, new: Params, kept: Params) -> Params:
    """Return `new` for the images where `mask` (B,) is true, else `kept`; `new` where there is nothing to keep."""
    if new is None or kept is None:
        return new
    if isinstance(new, tuple):
        return tuple(_choose(mask, *pair) for pair in zip(new, kept))
    return torch.where(mask.view(-1, *[1] * (new.ndim - 1)), new, kept.to(new))


@register("compose")
class Compose(Degradation):
    """Two or more degradations in sequence; `noise_fraction` shifts from the first parts to the last.

    z is a tuple with the z of each part.

    Args:
        T: number of levels, at least 1.
        parts: two or more degradations in the order in which they act, each given as an object, as a name, or as
            {"name": ..., "arguments": {...}}.
        curves: one curve for each part, which maps t in 0..T to a level of the part, given in the same three forms; by
            default straight lines.
        noise_fraction: in [0, 1]: 0 for the parts before the last alone, 1 for the last part alone, 0.5 for all parts
            in full.
        part_runtime: for each part, a dict of its runtime fields, such as the source of an interpolation, by the name
            of the field. They are not saved; by default they are those of the parts that were given.

    Raises:
        ValueError: for fewer than two parts, or another number of curves than of parts.

    >>> fog = make("interpolation", source=lambda n, generator: torch.ones(n, 1, 4, 4))
    >>> D = Compose(T=20, parts=(fog, {"name": "gaussian_noise", "arguments": {"T": 10}}), noise_fraction=0.25)
    >>> [level.item() for level in D.levels(torch.tensor([20]), torch.zeros(1))]
    [200, 5]
    >>> x0 = torch.zeros(2, 1, 4, 4)
    >>> D(x0, torch.tensor([1, 20]), D.draw(x0, torch.Generator().manual_seed(0))).shape
    torch.Size([2, 1, 4, 4])
    """

    T: NumLevels = 200
    parts: tuple[Part, ...] = Field(default_factory=blur_then_noise)
    curves: tuple[AnyCurve, ...] = ()
    noise_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    part_runtime: tuple[dict[str, Any], ...] | None = runtime_field(default=None, compare=False)

    def __post_init__(self) -> None:
        if len(self.parts) < 2:  # not a field's min_length, which would blame it for every fault inside a part
            raise ValueError(f"parts has {len(self.parts)}; a composition takes two at least")
        for part in self.parts:
            part.to_dict()  # refuses a class that has no name to be saved under
        object.__setattr__(self, "curves", self.curves or (Ramp(),) * len(self.parts))
        if len(self.curves) != len(self.parts):
            raise ValueError(f"curves has {len(self.curves)} entries for {len(self.parts)} parts; give one for each")
        if self.part_runtime is not None:
            object.__setattr__(self, "parts", self._inject(self.part_runtime))
        object.__setattr__(self, "part_runtime", tuple(part.runtime for part in self.parts))
        *first, last = self.parts
        declared = {
            "affine": all(D.affine for D in (*first, last)),
            "bounded": all(D.bounded for D in (*first, last)),
            "position_dependent": any(D.position_dependent for D in (*first, last)),
            "identifiable": last.identifiable and not any(D.random for D in first),
        }
        for name, value in declared.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @property
    def random(self) -> bool:
        """Whether any part is random."""
        return any(part.random for part in self.parts)

    @property
    def without_z(self) -> str:  # type: ignore[override]
        """What can be done about each part that draws something."""
        return "; ".join(f"of {part.name}, {part.without_z}" for part in self.parts if part.random)

    @property
    def size_divisor(self) -> int:
        """The least common multiple of those of the parts."""
        return math.lcm(*(part.size_divisor for part in self.parts))

    def missing(self, x: Tensor, t: Tensor, z: Params = None) -> Tensor | None:
        """Return where any part misses the image at its level, (B, 1, H, W) bool; None if no part has a mask."""
        masks = [
            mask
            for part, level, z_part in zip(self.parts, self.levels(t, x), self._split_params(z))
            if (mask := part.missing(x, level, z_part)) is not None
        ]
        return torch.stack(masks).any(0) if masks else None

    def _inject(self, part_runtime: tuple[dict[str, Any], ...]) -> tuple[Degradation, ...]:
        """Return the parts with the objects of `part_runtime` put in."""
        if len(part_runtime) != len(self.parts):
            raise ValueError(
                f"part_runtime has {len(part_runtime)} entries for {len(self.parts)} parts; it needs one dict for each"
            )
        return tuple(dataclasses.replace(part, **objects) for part, objects in zip(self.parts, part_runtime))

    def precompute(self) -> LevelTables:
        """Return each part's levels at t = 0..T."""
        shares = [min(1.0, 2 * (1 - self.noise_fraction))] * (len(self.parts) - 1) + [min(1.0, 2 * self.noise_fraction)]
        return LevelTables(
            *(torch.round(share * curve(self.T, part.T)) for part, curve, share in zip(self.parts, self.curves, shares))
        )

    def levels(self, t: Tensor, like: Tensor) -> list[Tensor]:
        """Return the level (B,) int64 of every part at level t (B,) of the whole, on the device of `like`."""
        return [level.flatten().long() for level in self.tables.gather(t, like)]

    def draw(self, x0: Tensor, generator: Generators = None) -> tuple[Params, ...]:
        """Return what each part draws for a batch like `x0`."""
        return tuple(part.draw(x0, generator) for part in self.parts)

    def apply(self, x0: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return x0 after every part at its level.

        Raises:
            ValueError: if z is neither None nor one entry per part.
        """
        return self._apply_first(len(self.parts), x0, self.levels(t, x0), self._split_params(z))

    def _adjoint(self, u: Tensor, t: Tensor, z: Params) -> Tensor:
        """Return u after the adjoint of every part, from the last to the first."""
        for part, level, z_part in reversed(list(zip(self.parts, self.levels(t, u), self._split_params(z)))):
            u = part.adjoint(u, level, z_part)
        return u

    def estimate(self, x_t: Tensor, x0: Tensor, t: Tensor, z: Params) -> tuple[Params, ...]:
        """Return z with the last part's entry re-estimated, where its level is at least 1."""
        *held, kept = self._split_params(z)
        levels = self.levels(t, x0)
        handed = self._apply_first(len(held), x0.to(compute_dtype(x0.dtype)), levels, (*held, kept))
        # Level 1 stands in for 0, where an estimate may divide by zero; nothing of it is used.
        found = self.parts[-1].estimate(x_t, handed, levels[-1].clamp(min=1), kept)
        return (*held, _choose(levels[-1] > 0, found, kept))

    def _apply_first(self, n: int, x: Tensor, levels: list[Tensor], z: tuple[Params, ...]) -> Tensor:
        """Return x after the first n parts."""
        for part, level, z_part in list(zip(self.parts, levels, z))[:n]:
            x = part(x, level, z_part)
        return x

    def _split_params(self, z: Params) -> tuple[Params, ...]:
        """Return z, one entry for each part."""
        if z is None:
            return (None,) * len(self.parts)
        if not isinstance(z, tuple) or len(z) != len(self.parts):
            found = f"a tuple of {len(z)}" if isinstance(z, tuple) else type(z).__name__
            raise ValueError(f"{self.name}: z is {found}; it needs one entry for each of {len(self.parts)} parts")
        return z
