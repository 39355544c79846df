"""Evaluation of a translation between two sets: images of one set made from those of the other, measured and shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Degradation, Source, expand_level
from degrade.random import seeded_generator
from degrade.rendering import SeverityRow, spaced_levels
from experiments.evaluation.choices import TRANSLATION_SAMPLERS
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.plots import animate
from experiments.evaluation.strips import image_rows, save_rows, visited_states
from experiments.evaluation.tables import render_evaluation
from restore import Restorer
from samplers import DatasetPrior, direct, parse_sampler, sample, spaced_timesteps

__all__ = ["Sets", "TranslationEvaluator", "report"]

METRICS = ("rmse", "ssim", "frechet_distance", "centered_correlation")


class Sets(NamedTuple):
    """The set that is restored and the other one, for training and, unseen by it, for pictures and measurements."""

    clean: Source
    other: Source
    unseen_clean: Source
    unseen_other: Source


class TranslationEvaluator:
    """Measures and draws how a trained restorer turns images of one set into images of the other.

    Args:
        R: the trained restorer; its degradation is used with partners from `sets.unseen_other`.
        sets: the images to measure and to draw with.
        device: the device of the images.
        seed: seed of everything random in the evaluation.
        batch: number of images in one forward pass.
        steps: largest number of steps of a sampler.
    """

    def __init__(self, R: Restorer, sets: Sets, device: torch.device, seed: int, batch: int, steps: int) -> None:
        self.D: Degradation = dataclasses.replace(R.degradation, source=sets.unseen_other)  # type: ignore[call-arg]
        self.R, self.sets, self.device = R, sets, device
        self.seed, self.batch, self.steps = seed, batch, steps

    def times(self, start: int) -> list[int]:
        """Return the severities of a trajectory from `start`."""
        return spaced_timesteps(start, min(self.steps, start))

    def generator(self, use: str) -> torch.Generator:
        """Return the generator for one use."""
        return seeded_generator(self.device, self.seed, use)

    def pairs(self, n: int, use: str) -> tuple[Tensor, Tensor]:
        """Return n unseen clean images and their partners."""
        generator = self.generator(use)
        x0 = self.sets.unseen_clean(n, generator)
        return x0, self.D.draw(x0, generator)

    def measure(self, n: int) -> dict[str, Any]:
        """Measure restorations from half-way against the truth, and what comes of a partner alone as a set."""
        half = max(1, self.D.T // 2)
        x0, z = self.pairs(n, "measure")
        x_half = self.D(x0, expand_level(half, x0), z)
        starts, _ = DatasetPrior(self.sets.unseen_other)(n, self.generator("starts"))
        real = self.sets.clean(n, self.generator("real"))
        restored, made = {}, {}
        for name in tqdm(["direct", *TRANSLATION_SAMPLERS], "measuring", disable=None, leave=False):
            restored[name] = self.sampled(name, x_half, z, half)
            made[name] = self.sampled(name, starts, starts, self.D.T)
        evaluator = Evaluator(METRICS, batch_size=self.batch, seed=self.seed)
        rows = {name: evaluator.observe(x, start=starts) for name, x in made.items()}
        rows["real images"] = evaluator.observe(self.sets.clean(n, self.generator("real again")))
        return {
            "half_way": half,
            "restored": evaluator.evaluate(restored, truth=x0, baseline="direct").to_dict(),
            "made": evaluator.summarize(rows, evaluator.reference(real)).to_dict(),
        }

    def sampled(self, name: str, x: Tensor, z: Tensor, start: int) -> Tensor:
        """Return the images at the end of the sampler's trajectory from severity `start`, in batches."""
        ends = []
        for x_part, z_part in zip(*(torch.split(v, self.batch) for v in (x, z))):
            if name == "direct":
                ends.append(direct(self.R, x_part, start))
            else:
                ends.append(sample(self.R, parse_sampler(name), x_part, z_part, self.times(start)))
        return torch.cat(ends)

    def forward_strip(self, path: Path) -> Path:
        """Rows of x0 -> D(x0, t, z) -> z."""
        x0, z = self.pairs(5, "pictures")
        times = spaced_timesteps(self.D.T, min(7, self.D.T))[::-1]
        columns = {f"t = {t}" if t else "x0": self.D(x0, expand_level(t, x0), z) for t in times}
        return save_rows(path, image_rows({**columns, "z": z}, "D(x0, t, z)"), 128)

    def reverse_strip(self, path: Path) -> Path:
        """Rows of the trajectories of each sampler, from the same starts."""
        starts, _ = DatasetPrior(self.sets.unseen_other)(2, self.generator("pictures"))
        times = self.times(self.D.T)
        shown = [times[k] for k in spaced_levels(len(times) - 1, 9)]
        predicted = direct(self.R, starts, self.D.T)
        states = {name: self.visited(name, starts) for name in TRANSLATION_SAMPLERS}
        rows = []
        for i, start in enumerate(starts):
            rows.append(
                SeverityRow("direct", "R(x_T, T)", torch.stack([start, predicted[i]]), [f"t = {self.D.T}", "t = 0"])
            )
            for name, visited in states.items():
                panels = torch.stack([visited[t][i] for t in shown])
                rows.append(SeverityRow(*TRANSLATION_SAMPLERS[name], panels, [f"t = {t}" for t in shown]))
        return save_rows(path, rows, 128)

    def visited(self, name: str, x_T: Tensor) -> dict[int, Tensor]:
        """Return the images at every severity that the sampler visits from x_T = z."""
        return visited_states(self.R, name, x_T, x_T, self.times(self.D.T))

    def round_trip(self, path: Path, sampler: str) -> Path:
        """Clean images turn into their partners, and back into clean images."""
        x0, z = self.pairs(5, "pictures")
        there = [self.D(x0, expand_level(t, x0), z) for t in spaced_timesteps(self.D.T, min(24, self.D.T))[::-1]]
        back = list(self.visited(sampler, z).values())
        frames = [*there, *back]
        hold = (0, len(there), len(frames) - 1)
        return animate(path, frames, scale=max(1, 128 // x0.shape[-1]), seconds=0.08, hold=hold)


def report(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a run ends with."""
    restored, made = (Evaluation.from_dict(measured[name]) for name in ("restored", "made"))
    title = f"{restored.images} unseen images, restored from severity {measured['half_way']}"
    yield render_evaluation(restored, f"{title} (a fixed z is the true partner):")
    yield render_evaluation(made, f"{made.images} images made from partners alone, compared with real images:")
