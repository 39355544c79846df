"""A study of generation: what a trained restorer makes of the draws of a prior, measured and drawn.

The prior is reported on as well: how far its draws lie from D(x0, T, z) of images, beside how far two halves of these
lie from each other, which is all that a perfect prior could reach.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from degrade import Degradation, Source, map_params
from degrade.image_io import to_pil_image
from degrade.random import seeded_generator
from degrade.rendering import SeverityRow, spaced_levels
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.metrics import Metric, make_metric, measure
from experiments.evaluation.plots import animate
from experiments.evaluation.strips import image_rows, save_rows, visited_states
from experiments.evaluation.tables import render_evaluation
from restore import BaseRestorer
from samplers import DegradedData, DegradedPrior, GenerateOptions, Prior, Sampler, generate_images

__all__ = ["GenerationEvaluator", "prior_report", "table"]

METRICS = ("pairwise_rmse", "frechet_distance", "kernel_distance")
REPORTED = 512  # draws of a prior that are looked at


def prior_report(
    prior: Prior, D: Degradation, source: Source, n: int = REPORTED, seed: int = 0, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Return how far n draws of a prior lie from n images D(x0, T, z), by the Fréchet distance of thumbnails.

    Args:
        prior: draws x_T.
        D: the degradation, able to draw z.
        source: clean images x0 to which the prior was not fitted.
        n: number of images of each kind.
        seed: seed of the draws.
        device: device of the images.

    Returns:
        `frechet_distance_thumbnail` of the draws, `floor` of a second half of n images, and two moments of both.
    """
    degraded = DegradedData(D, source)
    halves = [degraded(n, seeded_generator("cpu", seed, "report", half)).x_T.to(device) for half in range(2)]
    x_T = prior(n, seeded_generator("cpu", seed, "report", "prior")).x_T.to(device)
    described = {
        name: {"mean": float(x.mean()), "std": float(x.std())} for name, x in (("draws", x_T), ("images", halves[0]))
    }
    evaluator = Evaluator(["frechet_distance"])
    found = evaluator.evaluate({"draws": x_T, "floor": halves[1]}, reference=halves[0])
    key = found.columns[0].key
    distances = {key: found.value("draws", key), "floor": found.value("floor", key)}
    return {"draws_of_each": n, **distances, **described}


class GenerationEvaluator:
    """A trained restorer, a sampler and a prior; image i is the same in every picture and measurement.

    Args:
        R: the restorer, which carries its degradation.
        sampler: the sampler.
        prior: the distribution of (x_T, z) that trajectories start from.
        timesteps: severities of the trajectory, T first.
        seed: seed of all random numbers.
        batch_size: images in one forward pass.
    """

    def __init__(
        self, R: BaseRestorer, sampler: Sampler, prior: Prior, timesteps: Sequence[int], seed: int, batch_size: int
    ) -> None:
        self.D, self.R, self.sampler, self.prior = R.degradation, R, sampler, prior
        self.timesteps, self.seed, self.batch_size = list(timesteps), seed, batch_size

    def images(self, n: int, jitter: float) -> Tensor:
        """Return the first n images (n, C, H, W), on the CPU, from starts with this jitter."""
        prior = dataclasses.replace(self.prior, jitter=jitter)
        return self._sampled(prior, n)

    def siblings(self, n: int, jitter: float) -> Tensor | None:
        """Return n images from one x0 of the prior, which differ in jitter and z alone; None if it draws no x0."""
        if not isinstance(self.prior, DegradedPrior):
            return None
        x0 = self.prior.images(1, seeded_generator("cpu", self.seed, "siblings"))
        return self._sampled(DegradedData(self.D, lambda m, generator: x0.expand(m, *x0.shape[1:]), jitter=jitter), n)

    def _sampled(self, prior: Prior, n: int) -> Tensor:
        return generate_images(
            self.R,
            self.sampler,
            prior,
            n,
            GenerateOptions(
                seed=self.seed, batch_size=self.batch_size, steps=self.timesteps, device="cpu", output_device="cpu"
            ),
        )

    def states(self, n: int, jitter: float) -> dict[int, Tensor]:
        """Return the first n images (n, C, H, W) at every severity they visit."""
        generators = [seeded_generator("cpu", self.seed, "sample", i) for i in range(n)]
        prior = dataclasses.replace(self.prior, jitter=jitter)
        x_T, z = map_params(lambda v: v.to(self.R.device), tuple(prior(n, generators)))
        states = visited_states(self.R, self.sampler, x_T, z, self.timesteps, generators)
        return {t: x.cpu() for t, x in states.items()}

    def measure(self, generated: dict[float, Tensor], source: Source | None) -> dict[str, Any]:
        """Return the evaluation of the images of each jitter, and of real images, against other real ones."""
        n = len(next(iter(generated.values())))
        sets = {f"jitter {jitter:g}": x for jitter, x in generated.items()}
        real = None
        if source is not None:
            x, y = (source(n, seeded_generator("cpu", self.seed, "real", half)).cpu() for half in range(2))
            sets["real images"], real = y, x
        metrics: list[str | Metric] = [*METRICS, make_metric("pairwise_rmse", colors=False)]
        return Evaluator(metrics, batch_size=self.batch_size, seed=self.seed).evaluate(sets, reference=real).to_dict()

    def grid(self, path: Path, x: Tensor) -> Path:
        """Save images as a square grid."""
        from torchvision.utils import make_grid  # here, since it takes seconds to import

        picture = to_pil_image(make_grid(x, nrow=math.ceil(len(x) ** 0.5), padding=2, pad_value=1.0))
        scale = _scale(x)
        picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)
        return path

    def trajectories(self, path: Path, n: int, jitter: float) -> Path:
        """Save rows of x_T -> x_0."""
        states = self.states(n, jitter)
        shown = [self.timesteps[i] for i in spaced_levels(len(self.timesteps) - 1, 9)]
        return save_rows(path, image_rows({f"t = {t}": states[t] for t in shown}, self.sampler.name))

    def film(self, path: Path, n: int, jitter: float) -> Path:
        """Save a GIF of n trajectories."""
        states = self.states(n, jitter)
        shown = [self.timesteps[i] for i in spaced_levels(len(self.timesteps) - 1, 48)]
        return animate(path, [states[t] for t in shown], _scale(states[shown[0]]), 0.08, hold=(0, len(shown) - 1))

    def sweep(self, path: Path, generated: dict[float, Tensor], n: int = 8) -> dict[float, float]:
        """Save a row for each jitter, columns from the same starts, and below them rows in which all are from one.

        Returns:
            The diversity of the images from one start, by jitter.
        """
        rows = [
            SeverityRow(f"jitter {jitter:g}", f"{len(x[:n])} starts", x[:n], [""] * n)
            for jitter, x in generated.items()
        ]
        alike = {jitter: self.siblings(n, jitter) for jitter in generated}
        found = {jitter: measure("pairwise_rmse", x) for jitter, x in alike.items() if x is not None}
        rows += [
            SeverityRow(f"jitter {jitter:g}", f"one start, diversity {found[jitter]:.3f}", x, [""] * n)
            for jitter, x in alike.items()
            if x is not None
        ]
        save_rows(path, rows)
        return found

    def starts(self, path: Path, source: Source | None, n: int = 8) -> Path:
        """Save a row of draws of the prior, and one of degraded images."""
        rows = {"prior": self.prior(n, seeded_generator("cpu", self.seed, "report", "prior")).x_T}
        if source is not None:
            rows["D(x0, T, z)"] = DegradedData(self.D, source)(n, seeded_generator("cpu", self.seed, "report", 0)).x_T
        return save_rows(path, [SeverityRow(name, self.D.name, x, [""] * n) for name, x in rows.items()])


def _scale(x: Tensor) -> int:
    return max(1, 96 // x.shape[-1])


def table(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the table and the lines that a program ends with."""
    report, alike = measured["prior_report"], measured["diversity_from_one_start"]
    title = f"{measured['images']} images in {measured['steps']} steps of {measured['sampler']}:"
    yield render_evaluation(Evaluation.from_dict(measured["evaluation"]), title)
    if alike:
        found = ", ".join(f"{value:.3f} with jitter {jitter:g}" for jitter, value in alike.items())
        yield f"pairwise RMSE from one start: {found}"
    if report:
        distance = f"{report['frechet_distance_thumbnail']:.3f} from degraded images (Fréchet distance, thumbnail)"
        floor = f"{report['floor']:.3f} from each other ({report['draws_of_each']} of each)"
        yield f"prior {measured['prior']['name']}: {distance}, which are {floor}"
