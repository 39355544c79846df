"""Evaluation of a restorer on degraded images whose truth is known: measurements and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Source, expand_level, map_params
from degrade.random import seeded_generator
from degrade.rendering import spaced_levels
from experiments.data.examples import take_examples
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.linear import has_linear_inverse, linear_inverse, to_input_precision
from experiments.evaluation.strips import image_rows, save_rows
from experiments.evaluation.tables import render_evaluation
from restore import BaseRestorer
from restore.conditions import Example, draw_params
from samplers import Algorithm1, Algorithm2, Sampler, direct, sample, spaced_timesteps

__all__ = ["RestorationEvaluator", "table"]

METRICS = ("rmse", "psnr", "ssim", "frechet_distance")
SAMPLERS: dict[str, Sampler] = {"Algorithm 1": Algorithm1(), "Algorithm 2": Algorithm2()}


class RestorationEvaluator:
    """Measures and draws how a trained restorer restores unseen images from severity T.

    Args:
        R: the restorer.
        unseen: images that training has not seen.
        seed: seed of all random numbers.
        batch: images in one forward pass.
        steps: steps of the samplers, at most; all levels of the degradation by default.
        input_precision: `8bit` rounds the degraded images to 256 levels, as a file does; `float32` does not.
    """

    def __init__(
        self,
        R: BaseRestorer,
        unseen: Source,
        seed: int,
        batch: int,
        steps: int | None = None,
        input_precision: InputPrecision = "float32",
    ) -> None:
        self.D, self.R, self.unseen = R.degradation, R, unseen
        self.device, self.seed, self.batch, self.input_precision = R.device, seed, batch, input_precision
        self.times = spaced_timesteps(self.D.T, min(steps or self.D.T, self.D.T))

    def images(self, n: int) -> Example:
        """Return the first n unseen images, or as many as there are, with a z and the conditions of each."""
        generator = seeded_generator(self.device, self.seed, "restoration")
        return draw_params(self.D, take_examples(self.unseen, n, generator), generator)

    def restored(self, examples: Example) -> dict[str, Tensor]:
        """Return the images as degraded to severity T and as restored from there by each way, (N, C, H, W) each."""
        x0, z, cond = examples
        T = expand_level(self.D.T, x0)
        x_T = to_input_precision(self.D(x0, T, z), self.input_precision)
        linear = ("linear inverse",) if has_linear_inverse(self.D) else ()
        made: dict[str, list[Tensor]] = {name: [] for name in ("degraded", *linear, "direct", *SAMPLERS)}
        for first in tqdm(range(0, len(x0), self.batch), "measuring", disable=None, leave=False):
            part = slice(first, first + self.batch)
            x_part, z_part = x_T[part], map_params(lambda v, part=part: v[part], z)  # type: ignore[misc]
            R = self.R.with_cond(**{name: value[part] for name, value in cond.items()}) if cond else self.R
            made["degraded"].append(x_part)
            for name in linear:
                made[name].append(linear_inverse(self.D, x_part, T[part], z_part, self.input_precision))
            made["direct"].append(direct(R, x_part, self.D.T))
            for name, step in SAMPLERS.items():
                made[name].append(sample(R, step, x_part, z_part, self.times))
        return {name: torch.cat(parts) for name, parts in made.items()}

    def measure(self, n: int) -> dict[str, Any]:
        """Return the evaluation of n restored images, or of as many as there are, with differences to `direct`."""
        examples = self.images(n)
        evaluator = Evaluator(METRICS, batch_size=self.batch, seed=self.seed)
        x0 = examples.x0
        evaluation = evaluator.evaluate(self.restored(examples), truth=x0, reference=x0, baseline="direct")
        return {
            "severity": self.D.T,
            "input_precision": self.input_precision,
            "steps": len(self.times) - 1,
            "evaluation": evaluation.to_dict(),
        }

    def forward_strip(self, path: Path, n: int = 5) -> Path:
        """Save rows of x0 -> D(x0, t, z)."""
        x0, z, _ = self.images(n)
        levels = spaced_levels(self.D.T, 8)
        columns = {f"t = {t}": self.D(x0, expand_level(t, x0), z) for t in levels}
        return save_rows(path, image_rows(columns, self.D.name))

    def restoration_strip(self, path: Path, n: int = 8) -> Path:
        """Save rows of the truth, what is left of it, and what each way makes of that."""
        examples = self.images(n)
        columns = {"truth": examples.x0, **self.restored(examples)}
        return save_rows(path, image_rows(columns, f"t = {self.D.T}"))


def table(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the table that a run ends with."""
    evaluation = Evaluation.from_dict(measured["evaluation"])
    title = f"{evaluation.images} unseen images, restored from severity {measured['severity']}"
    yield render_evaluation(
        evaluation, f"{title}, {measured['input_precision']}, iterated in {measured['steps']} steps:"
    )
