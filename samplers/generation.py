"""Generating any number of images, each of which depends on the seed and its own number alone.

    image i:  g = seeded_generator(device, seed, "sample", i);   (x_T, z) = prior(1, g);   every step draws from g

Image 17 under seed 3 is the same in a batch of 4 or of 512, on one device or shared among eight, and whether it is
generated alone or with a thousand others: bit for bit where R treats the images of a batch one by one, and to rounding
(about 1e-5) where R is a network, whose sums run in another order for another batch. So a batch that does not fit in
memory is cut in two and generated again. (The exception is a prior whose degradation pairs the images of a batch,
`coupling="optimal"`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, InstanceOf
from torch import Tensor

from degrade.base import map_params
from degrade.frozen import frozen
from degrade.random import seeded_generator
from restore import BaseRestorer
from samplers.base import Sampler
from samplers.loop import sample, validate_trajectory
from samplers.priors.base import Prior

__all__ = ["GenerateOptions", "GeneratedBatch", "generate", "generate_images", "rank_slice"]

Device = InstanceOf[torch.device] | str | None


@frozen
class GenerateOptions:
    """How images are generated.

    Args:
        seed: seed of the starting points and of the noise of every step.
        batch_size: images in one forward pass, 1 or more; halved as often as needed where the device runs out of
            memory.
        steps: a number of evenly spaced steps from T to 0; falling severities within 0..T; or None for one step per
            level.
        first: number of the first image, 0 or more; see `rank_slice` for several processes.
        device: device of the random generators, by default that of R. Generators on the CPU give the same images on
            every device.
        output_device: device to which the images are moved as they are made ("cpu", where they do not all fit beside
            the network); by default they stay where they are.

    >>> GenerateOptions(seed=1, steps=20).steps
    20
    """

    seed: int = 0
    batch_size: Annotated[int, Field(ge=1)] = 64
    steps: int | Sequence[int] | None = None
    first: Annotated[int, Field(ge=0)] = 0
    device: Device = None
    output_device: Device = None


class GeneratedBatch(NamedTuple):
    """Some of the images: their numbers, and the images (B, C, H, W) themselves."""

    numbers: range
    x_0: Tensor


def generate(
    R: BaseRestorer, sampler: Sampler | str, prior: Prior, n: int, options: GenerateOptions = GenerateOptions()
) -> Iterator[GeneratedBatch]:
    """Generate n images from the prior, yielding them batch by batch.

    Args:
        R: the restorer; images are generated on the device of its parameters, or on the CPU if it has none.
        sampler: a sampler, or its name as in `parse_sampler`.
        prior: the distribution of (x_T, z) that trajectories start from. It is compared with R's degradation once.
        n: number of images, 0 or more.
        options: seed, batch size, steps and devices.

    Raises:
        ValueError: at the call if n is negative, `options.steps` does not fit T, or sampler or prior do not suit the
            degradation of R.
        MemoryError: if a single image does not fit.

    >>> import degrade, restore
    >>> from samplers import StandardNormal
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.9 * x_t, degrade.make("gaussian_noise"))
    >>> options = GenerateOptions(batch_size=2, steps=5)
    >>> [(list(numbers), x_0.shape[1:]) for numbers, x_0 in generate(R, "ddim", StandardNormal((1, 4, 4)), 3, options)]
    [([0, 1], torch.Size([1, 4, 4])), ([2], torch.Size([1, 4, 4]))]
    """
    if n < 0:
        raise ValueError(f"n is {n}; it is the number of images, 0 or more")
    sampler, severities = validate_trajectory(R, sampler, options.steps)
    prior.check_compatible(R.degradation)
    home = R.device
    source = torch.device(options.device or home)

    def attempt(numbers: range) -> Tensor:
        generators = [seeded_generator(source, options.seed, "sample", i) for i in numbers]
        x_T, z = map_params(lambda v: v.to(home), tuple(prior(len(numbers), generators)))
        x_0 = sample(R, sampler, x_T, z, severities, generators)
        return x_0 if options.output_device is None else x_0.to(options.output_device)

    # Only the batches are a generator, so that the arguments are validated at the call.
    return _batches(attempt, range(options.first, options.first + n), options.batch_size)


def generate_images(
    R: BaseRestorer, sampler: Sampler | str, prior: Prior, n: int, options: GenerateOptions = GenerateOptions()
) -> Tensor:
    """Return n images (n, C, H, W) generated from the prior, n of 1 or more; see `generate` for the arguments.

    >>> import degrade, restore
    >>> from samplers import StandardNormal
    >>> R = restore.FunctionRestorer(lambda x_t, t: 0.9 * x_t, degrade.make("gaussian_noise"))
    >>> prior = StandardNormal((1, 2, 2))
    >>> eight = generate_images(R, "ddpm", prior, 8, GenerateOptions(batch_size=3, steps=5))
    >>> torch.equal(eight[6:], generate_images(R, "ddpm", prior, 2, GenerateOptions(first=6, steps=5)))
    True
    """
    if n < 1:
        raise ValueError(f"n is {n}; it is the number of images, 1 or more")
    return torch.cat([x_0 for _, x_0 in generate(R, sampler, prior, n, options)])


def rank_slice(n: int, rank: int, world_size: int) -> range:
    """Return the numbers of the images, of n, that process `rank` of `world_size` generates, as even as they can be.

    Pass n = len(mine) and `GenerateOptions(first=mine.start)` to `generate`.

    >>> [list(rank_slice(5, rank, 2)) for rank in (0, 1)]
    [[0, 1], [2, 3, 4]]
    """
    return range(n * rank // world_size, n * (rank + 1) // world_size)


def _batches(attempt: Callable[[range], Tensor], numbers: range, batch_size: int) -> Iterator[GeneratedBatch]:
    while numbers:
        part = numbers[:batch_size]
        x_0 = _try(attempt, part)
        if x_0 is None:
            torch.accelerator.empty_cache()
            batch_size = (len(part) + 1) // 2
        else:
            yield GeneratedBatch(part, x_0)
            numbers = numbers[len(part) :]


def _try(attempt: Callable[[range], Tensor], numbers: range) -> Tensor | None:
    """Return the images, or None if they do not fit together."""
    try:
        return attempt(numbers)
    except torch.OutOfMemoryError as error:
        if len(numbers) == 1:
            raise MemoryError(f"a single image does not fit in memory: {error}") from error
        return None  # the error, gone by now, held the tensors of the attempt
