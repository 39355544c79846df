"""Cases: the degradations of Bansal et al. (arXiv 2208.09392, 2022) at their settings, batch 32, three channels.

A batch is what one training step degrades: images x0, severities t uniform in 1..T, and z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from degrade import Degradation, Params, make
from experiments.bench.naive import loop_of, picked

__all__ = ["CASES", "Batch", "Case"]


class Batch(NamedTuple):
    """What one training step degrades, and by what."""

    D: Degradation
    x0: Tensor
    t: Tensor
    z: Params

    def ours(self) -> Tensor:
        """Return the degraded batch, by the closed form."""
        return self.D(self.x0, self.t, self.z)

    def change(self) -> Tensor:
        """Return the change of the degraded batch from its levels to the ones before."""
        return self.D.delta(self.x0, self.t, self.t - 1, self.z)

    def naive(self) -> Callable[[], Tensor]:
        """Return a function that returns the degraded batch, by the naive loop."""
        loop = loop_of(self.D, self.x0)
        return lambda: picked(loop(self.x0, self.z), self.t)

    def levels(self) -> Callable[[], Iterator[Tensor]]:
        """Return a function that starts the naive loop."""
        loop = loop_of(self.D, self.x0)
        return lambda: loop(self.x0, self.z)

    def at(self, t: int) -> Batch:
        """Return the same batch with all its images at level t."""
        return self._replace(t=torch.full_like(self.t, t))


@dataclass(frozen=True)
class Case:
    """One degradation at one setting."""

    title: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    side: int = 128
    images: int = 32
    aim: int | None = None  # how many times faster than the naive loop a training batch should be
    # How many times faster than the naive loop a whole trajectory should be; None where the loop takes too long.
    trajectory_aim: float | None = None

    def batch(self, device: torch.device, seed: int = 0) -> Batch:
        """Return a training batch; on a device of the same kind, always the same one."""
        generator = torch.Generator(device).manual_seed(seed)
        D = make(self.name, **self.arguments)
        # In place: what is made here must not count as memory of the degradation.
        x0 = torch.rand(self.images, 3, self.side, self.side, generator=generator, device=device).mul_(2).sub_(1)
        t = torch.randint(1, D.T + 1, (self.images,), generator=generator, device=device)
        return Batch(D, x0, t, D.draw(x0, generator))

    def small(self) -> Case:
        """Return the case at a size that takes no time."""
        T = min(make(self.name, **self.arguments).T, 5)
        return replace(self, arguments={**self.arguments, "T": T}, side=16, images=3)


GENERATION = {"T": 300, "kernel_size": 27, "padding_mode": "circular", "mean_at_T": True}
CASES = (
    Case("blur, CelebA", "blur", {"T": 200, "kernel_size": 15}, aim=200),
    Case("blur, generation", "blur", GENERATION, aim=5000),
    Case("blur, CIFAR", "blur", {"T": 50, "sigmas": "cifar10", "kernel_size": 11}, 32, aim=100, trajectory_aim=1),
    Case("inpaint, CelebA", "inpaint", {"T": 100, "sigmas": "incremental:step=0.2"}, trajectory_aim=4.5),
    Case(
        "inpaint, CIFAR",
        "inpaint",
        {"T": 50, "sigmas": "incremental:step=0.1", "center": "random"},
        32,
        trajectory_aim=4.5,
    ),
    Case("pixelate, CelebA", "pixelate", {"T": 4}, trajectory_aim=1),
    Case("pixelate, CIFAR", "pixelate", {"T": 3}, 32, trajectory_aim=1),
    Case("snow, CIFAR", "snow", {"T": 200, "strength": 3}, 32),
)
