"""Sampling any number of images, each of which depends on the seed and its own number alone.

    image i:  g = keyed(device, seed, "sample", i);   (x_T, z) = prior(1, g);   the noise of every step from g

Image 17 under seed 3 is the same in a batch of 4 or of 512, on one device or shared among eight, and whether it is
asked for alone or with a thousand others: bit for bit where R treats the images of a batch one by one, and to its
rounding (about 1e-5) where it is a network, whose sums run in another order for another batch. A batch that does not
fit in memory may therefore be cut in two and drawn again, and is. (The exception is a prior whose degradation pairs the
images of a batch, `coupling="optimal"`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from degrade import Degradation
from degrade.base import map_params
from degrade.seeding import seeded_generator
from samplers.loop import sample
from samplers.priors.base import Prior
from samplers.steps.diffusion import Restore, Sampler
from samplers.timesteps import Times, validate_timesteps

__all__ = ["GeneratedBatch", "many", "rank_slice", "sample_many"]

Device = torch.device | str | None


class GeneratedBatch(NamedTuple):
    """Some of the images: their numbers, and the images (B, C, H, W) themselves."""

    numbers: range
    x_0: Tensor


def many(
    D: Degradation, R: Restore, step: Sampler, prior: Prior, n: int, seed: int = 0, batch: int = 64,
    times: Times = None, first: int = 0, device: Device = None,
) -> Iterator[GeneratedBatch]:  # fmt: skip
    """Walk images `first` .. `first + n - 1` back from the prior, yielding them batch by batch.

    Args:
        D: the degradation being undone.
        R: guesses the clean image; where it is a network, images walk on the device of its parameters.
        step: how to walk from one severity to the next.
        prior: where walks start.
        n: how many images.
        seed: of everything random.
        batch: images a forward pass; halved as often as it takes where the device runs out of memory.
        times: falling severities within 0..T; every level of D by default.
        first: number of the first image; see `rank_slice` for several processes.
        device: of the generators, by default where R is. Those of a CPU give the same images on every device.

    Raises:
        ValueError: at once if a number is out of range, `times` does not fall or the step does not apply to D.
        MemoryError: if a single image does not fit.
    """
    for name, value, least in (("n", n, 0), ("batch", batch, 1), ("first", first, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; it is {least} or more")
    visited = validate_timesteps(D.T, times)
    step.check_compatible(D)
    home = _home(R)
    source = torch.device(device or home)

    def walk(numbers: range) -> Tensor:
        generators = [seeded_generator(source, seed, "sample", i) for i in numbers]
        x_T, z = map_params(lambda v: v.to(home), tuple(prior(len(numbers), generators)))
        return sample(D, R, step, x_T, z, visited, generators)

    # Only the batches are a generator, so that the arguments are looked at when they are given.
    return _batches(walk, range(first, first + n), batch)


def sample_many(
    D: Degradation, R: Restore, step: Sampler, prior: Prior, n: int, seed: int = 0, batch: int = 64,
    times: Times = None, first: int = 0, device: Device = None, to: Device = None,
) -> Tensor:  # fmt: skip
    """Return images `first` .. `first + n - 1` (n, C, H, W) at the end of their walks; see `many` for the arguments.

    The images are moved to the device `to` as they are made ("cpu", where they do not all fit beside the network); by
    default they stay where they are.

    >>> import degrade
    >>> from samplers.priors.base import StandardNormal
    >>> from samplers.steps.diffusion import DDPM
    >>> D, prior = degrade.make("gaussian_noise", T=5), StandardNormal((1, 2, 2))
    >>> def R(x_t, t):
    ...     return 0.9 * x_t
    >>> eight = sample_many(D, R, DDPM(), prior, 8, batch=3)
    >>> torch.equal(eight[6:], sample_many(D, R, DDPM(), prior, 2, first=6))
    True
    """
    if n < 1:
        raise ValueError(f"n is {n}; it is 1 or more")
    made = many(D, R, step, prior, n, seed, batch, times, first, device)
    return torch.cat([x_0 if to is None else x_0.to(to) for _, x_0 in made])


def rank_slice(n: int, rank: int, world_size: int) -> range:
    """Return which of n images process `rank` of `world_size` makes; the shares are as even as they can be.

    Pass `n=len(mine), first=mine.start` to `many`.

    >>> [list(rank_slice(5, rank, 2)) for rank in (0, 1)]
    [[0, 1], [2, 3, 4]]
    """
    return range(n * rank // world_size, n * (rank + 1) // world_size)


def _batches(walk: Callable[[range], Tensor], numbers: range, batch: int) -> Iterator[GeneratedBatch]:
    while numbers:
        part = numbers[:batch]
        x_0 = _attempt(walk, part)
        if x_0 is None:
            torch.accelerator.empty_cache()
            batch = (len(part) + 1) // 2
        else:
            yield GeneratedBatch(part, x_0)
            numbers = numbers[len(part) :]


def _attempt(walk: Callable[[range], Tensor], numbers: range) -> Tensor | None:
    """Return the images, or None if they do not fit together."""
    try:
        return walk(numbers)
    except torch.OutOfMemoryError as error:
        if len(numbers) == 1:
            raise MemoryError(f"a single image does not fit in memory: {error}") from error
        return None  # and with the error goes its hold on the tensors of the attempt


def _home(R: Restore) -> torch.device:
    """Return the device of a network's parameters, and the CPU for any other function."""
    parameter = next(R.parameters(), None) if isinstance(R, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device
