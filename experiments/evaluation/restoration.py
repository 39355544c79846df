"""Evaluation of a restorer on degraded images whose truth is known: measurements and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degrade import Source, expand_level
from degrade.random import seeded_generator
from degrade.rendering import spaced_levels
from experiments.data.examples import take_examples
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.comparison import Comparison, ComparisonOptions, Method
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.strips import image_rows, save_rows
from experiments.evaluation.tables import render_evaluation
from restore import BaseRestorer
from restore.conditions import Cond, Example
from samplers import spaced_timesteps

__all__ = ["ALGORITHMS", "RestorationEvaluator", "compare_algorithms", "restored_images", "table"]

METRICS = ("rmse", "psnr", "ssim", "frechet_distance")
ALGORITHMS = ("algorithm1", "algorithm2")


def compare_algorithms(
    R: BaseRestorer,
    examples: Tensor | tuple[Tensor, Cond],
    evaluator: Evaluator,
    steps: int | None = None,
    input_precision: InputPrecision = "8bit",
    seed: int = 0,
) -> tuple[Comparison, list[Method]]:
    """Return the comparison of the rows without a sampler and of Algorithms 1 and 2, from severity T, and its methods.

    Args:
        R: the restorer.
        examples: clean images that training has not seen; see `Comparison`.
        evaluator: measures; its batch size is that of the restorer, too.
        steps: sampling steps, at most T; None for T.
        input_precision: `8bit` rounds the degraded images to 256 levels, as a file does; `float32` does not.
        seed: seed of the degradation and of the noise of samplers.
    """
    n, batch_size = min(steps or R.degradation.T, R.degradation.T), evaluator.batch_size
    options = ComparisonOptions(ALGORITHMS, (n,), None, input_precision, severities=0, batch_size=batch_size, seed=seed)
    comparison = Comparison({"R": R}, examples, evaluator, options)
    methods = [method for method in comparison.methods(R, comparison.x0) if method.steps in (None, n)]
    return comparison, [method._replace(row=method.sampler or method.row) for method in methods]


def restored_images(comparison: Comparison, methods: Sequence[Method], n: int) -> dict[str, Tensor]:
    """Return the first n images (n, C, H, W), or as many as there are, as each method restores them, by its row."""
    n, size = min(n, len(comparison.x0)), comparison.options.batch_size
    parts = [slice(first, min(first + size, n)) for first in range(0, n, size)]
    R, start = comparison.restorers["R"], comparison.start
    return {m.row: torch.cat([comparison.restore(R, m, part, start)[0] for part in parts]) for m in methods}


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
        self.seed, self.batch, self.input_precision = seed, batch, input_precision
        self.times = spaced_timesteps(self.D.T, min(steps or self.D.T, self.D.T))

    def compared(self, n: int) -> tuple[Comparison, list[Method]]:
        """Return the comparison on the first n unseen images, or on as many as there are, and its methods."""
        examples = take_examples(self.unseen, n, seeded_generator(self.R.device, self.seed, "restoration"))
        evaluator = Evaluator(METRICS, batch_size=self.batch, seed=self.seed)
        return compare_algorithms(self.R, examples, evaluator, len(self.times) - 1, self.input_precision, self.seed)

    def images(self, n: int) -> Example:
        """Return the first n unseen images, or as many as there are, with a z and the conditions of each."""
        comparison, _ = self.compared(n)
        return Example(comparison.x0, comparison.z, comparison.cond)

    def measure(self, n: int) -> dict[str, Any]:
        """Return the evaluation of n restored images, or of as many as there are, with differences to `direct`."""
        comparison, methods = self.compared(n)
        observed = comparison.observe([("R", method) for method in methods])
        return {
            "severity": self.D.T,
            "input_precision": self.input_precision,
            "steps": len(self.times) - 1,
            "evaluation": comparison.evaluate(observed.rows).to_dict(),
        }

    def forward_strip(self, path: Path, n: int = 5) -> Path:
        """Save rows of x0 -> D(x0, t, z)."""
        x0, z, _ = self.images(n)
        levels = spaced_levels(self.D.T, 8)
        columns = {f"t = {t}": self.D(x0, expand_level(t, x0), z) for t in levels}
        return save_rows(path, image_rows(columns, self.D.name))

    def restoration_strip(self, path: Path, n: int = 8) -> Path:
        """Save rows of the truth, what is left of it, and what each way makes of that."""
        comparison, methods = self.compared(n)
        columns = {"truth": comparison.x0, **restored_images(comparison, methods, n)}
        return save_rows(path, image_rows(columns, f"t = {self.D.T}"))


def table(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the table that a run ends with."""
    evaluation = Evaluation.from_dict(measured["evaluation"])
    title = f"{evaluation.images} unseen images, restored from severity {measured['severity']}"
    yield render_evaluation(
        evaluation, f"{title}, {measured['input_precision']}, iterated in {measured['steps']} steps:"
    )
