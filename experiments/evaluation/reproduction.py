"""The evaluation of one task of the paper's tables: sets of images, what the metrics need of them, and some to show.

restoration   degraded, linear inverse, direct, algorithm1, algorithm2, all from the same x_T
inverse       `direct` of a network that sees the linear inverse beside one that does not; see `inverse_evaluation`
generation    cold: the starts of the prior with and without jitter; hot: estimated and fixed z
levels        Algorithm 2 in T levels, one step each; put together with the other T by `levels_evaluation`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from degrade import Source
from degrade.files import replace_file
from degrade.random import seeded_generator
from experiments.data.images import InMemoryImages
from experiments.evaluation.accumulate import Rows
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.comparison import DIRECT
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.restoration import ALGORITHMS, compare_algorithms, restored_images
from restore import BaseRestorer
from samplers import GenerateOptions, Prior, generate_images

__all__ = [
    "Measurement",
    "inverse_evaluation",
    "levels_evaluation",
    "load_measurement",
    "measure_generation",
    "measure_restoration",
    "save_measurement",
    "unseen_images",
]

SHOWN = 6  # images of each set that are kept to be shown


class Measurement(NamedTuple):
    """What was observed of each set, of the reference set, and the first images of each set, by name of the set."""

    rows: dict[str, Rows]
    reference: Rows
    pictures: dict[str, Tensor]

    def evaluations(self, evaluator: Evaluator) -> list[Evaluation]:
        """Return the table of all sets, and that of any further pair whose difference is asked for."""
        names = set(self.rows)
        if DIRECT in names:
            pair = {name: self.rows[name] for name in ALGORITHMS}
            return [
                evaluator.summarize(self.rows, self.reference, DIRECT),
                evaluator.summarize(pair, self.reference, ALGORITHMS[0]),
            ]
        return [evaluator.summarize(self.rows, self.reference, next(iter(self.rows)))]


def unseen_images(source: Source, n: int, seed: int, device: torch.device) -> Tensor:
    """Return the first n images (n, C, S, S) of a held-out set, or as many as there are, each of them once."""
    generator = seeded_generator(device, seed, "unseen")
    if isinstance(source, InMemoryImages):
        return source.at(torch.arange(min(n, len(source))), generator)
    return source(n, generator)


def measure_restoration(
    R: BaseRestorer,
    x0: Tensor,
    evaluator: Evaluator,
    steps: int | None = None,
    input_precision: InputPrecision = "8bit",
    seed: int = 0,
) -> Measurement:
    """Restore images from severity T.

    Args:
        R: the restorer.
        x0: (n, C, H, W) clean images that training has not seen.
        evaluator: observes; its batch size is that of the restorer too.
        steps: sampling steps; None for T.
        input_precision: `8bit` rounds the degraded images, `float32` does not.
        seed: seed of the degradation and of the noise of samplers.
    """
    comparison, methods = compare_algorithms(R, x0, evaluator, steps, input_precision, seed)
    rows = comparison.observe([("R", method) for method in methods]).rows
    pictures = {"truth": x0[:SHOWN], **restored_images(comparison, methods, SHOWN)}
    return Measurement(rows, evaluator.reference(x0), pictures)


def measure_generation(
    R: BaseRestorer, prior: Prior, real: Tensor, evaluator: Evaluator, steps: int | None = None, seed: int = 0
) -> Measurement:
    """Generate as many images as there are real ones, in two ways that share their starting points.

    A prior with jitter is sampled without and with it; one without is sampled with fixed and with estimated z.

    Args:
        R: the restorer.
        prior: distribution of the starts of trajectories.
        real: (n, C, H, W) real images that training has not seen.
        evaluator: observes; its batch size is that of the restorer too.
        steps: sampling steps; None for T.
        seed: seed of the starting points and of the noise of samplers.
    """
    n = min(steps or R.degradation.T, R.degradation.T)
    options = GenerateOptions(seed=seed, batch_size=evaluator.batch_size, steps=n, device="cpu", output_device="cpu")
    ways: Mapping[str, tuple[str, Prior]] = {
        "fixed z": ("algorithm2-fixed", prior),
        "estimated z": ("algorithm2", prior),
    }
    if prior.jitter:
        ways = {
            f"jitter {jitter:g}": ("algorithm2", dataclasses.replace(prior, jitter=jitter))
            for jitter in (0.0, prior.jitter)
        }
    made = {name: generate_images(R, sampler, starts, len(real), options) for name, (sampler, starts) in ways.items()}
    pictures = {"real": real[:SHOWN].cpu()} | {name: x[:SHOWN] for name, x in made.items()}
    return Measurement({k: evaluator.observe(x) for k, x in made.items()}, evaluator.reference(real), pictures)


def levels_evaluation(measured: Mapping[int, Measurement], evaluator: Evaluator) -> Evaluation:
    """Return the table of Algorithm 2 at each T, with differences to the smallest T.

    Args:
        measured: T -> the measurement of a restoration of the same images.
        evaluator: summarizes.
    """
    rows = {f"T = {T}": measured[T].rows["algorithm2"] for T in sorted(measured)}
    return evaluator.summarize(rows, next(iter(measured.values())).reference, next(iter(rows)))


def inverse_evaluation(without: Measurement, with_inverse: Measurement, evaluator: Evaluator) -> Evaluation:
    """Return the table of one prediction of two networks, only the second of which sees the linear inverse.

    Args:
        without: the measurement of the network that sees x_t only.
        with_inverse: the measurement of the other one, on the same images.
        evaluator: summarizes.
    """
    rows = {"without inverse": without.rows[DIRECT], "with inverse": with_inverse.rows[DIRECT]}
    return evaluator.summarize(rows, without.reference, "without inverse")


def save_measurement(path: Path, measured: Measurement) -> None:
    """Write a measurement to a safetensors file, all at once."""
    tensors = {f"rows/{name}/{key}": v for name, own in measured.rows.items() for key, v in own.items()}
    tensors |= {f"reference//{key}": v for key, v in measured.reference.items()}
    tensors |= {f"pictures/{name}/": v for name, v in measured.pictures.items()}
    # A safetensors file keeps no order: the order of the sets is part of the names.
    order = {name: i for i, name in enumerate(tensors)}
    numbered = {f"{order[name]:03d}/{name}": v.detach().cpu().contiguous() for name, v in tensors.items()}
    replace_file(path, save(numbered))


def load_measurement(path: Path) -> Measurement:
    """Return the measurement that `save_measurement` wrote."""
    measured = Measurement({}, {}, {})
    for name, tensor in sorted(load_file(path).items()):
        _, part, row, key = name.split("/")
        if part == "rows":
            measured.rows.setdefault(row, {})[key] = tensor
        elif part == "reference":
            measured.reference[key] = tensor
        else:
            measured.pictures[row] = tensor
    return measured
