"""Evaluation of a diffusion model: samples of several samplers, trajectories, and the variational bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Source
from degrade.random import seeded_generator
from degrade.rendering import SeverityRow
from experiments.data.examples import take_examples
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.strips import image_rows, save_rows
from experiments.evaluation.tables import render_evaluation, render_table
from restore import BaseRestorer, Guided
from restore.conditions import Cond
from samplers import (
    DDIM,
    DDPM,
    GenerateOptions,
    Sampler,
    StandardNormal,
    generate_images,
    rank_slice,
    spaced_timesteps,
    trajectory,
)
from samplers.applications.likelihood import bits_per_dim
from samplers.loop import inference_mode

__all__ = ["PLOT_TIMESTEPS", "Classes", "DiffusionEvaluator", "summary"]

PLOT_TIMESTEPS = (999, 700, 550, 400, 300, 200, 100, 50, 15, 0)  # severities of T = 1000
METRICS = ("frechet_distance", "kernel_distance", "pairwise_rmse")
TERMS = ("L_T", "L_t", "L_0", "total")
VARIANCES: tuple[Literal["small"], Literal["large"]] = ("small", "large")


class Classes(NamedTuple):
    """The classes of a conditional model, in the order of their numbers, and the strength of guidance towards them."""

    names: tuple[str, ...]
    guidance_scale: float = 1.0


class DiffusionEvaluator:
    """Measures and draws the samples of a trained model, beside unseen images of its kind.

    The samples of a conditional model are as many of each class as of any other, to within one, class by class.

    Args:
        R: the trained restorer; its degradation is the forward process.
        unseen: images that training has not seen.
        seed: seed of everything random in the evaluation.
        batch: number of images in one forward pass.
        steps: number of steps of the samplers with few steps, at most T.
        classes: the classes of a conditional model; None for a model without classes.
    """

    def __init__(
        self,
        R: BaseRestorer,
        unseen: Source,
        seed: int,
        batch: int,
        steps: int,
        classes: Classes | None = None,
    ) -> None:
        D = R.degradation
        self.classes, self._count = classes, len(classes.names) if classes else 1
        self.D, self.R, self.unseen = D, R, unseen
        self.device, self.seed, self.batch = R.device, seed, batch
        few = min(steps, D.T)
        self.samplers: dict[str, tuple[Sampler, list[int]]] = {
            "ancestral, small variance": (DDPM("small"), spaced_timesteps(D.T)),
            "ancestral, large variance": (DDPM("large"), spaced_timesteps(D.T)),
            f"ancestral, {few} steps": (DDPM("small"), spaced_timesteps(D.T, few)),
            f"DDIM, {few} steps": (DDIM(), spaced_timesteps(D.T, few)),
        }

    def examples(self, n: int, use: str) -> tuple[Tensor, Cond]:
        """Return the first n unseen images, or as many as there are, and the conditions of each."""
        found = take_examples(self.unseen, n, seeded_generator(self.device, self.seed, use))
        return (found, {}) if isinstance(found, Tensor) else found

    def images(self, n: int, use: str) -> Tensor:
        """Return the first n unseen images, or as many as there are."""
        return self.examples(n, use)[0]

    @property
    def noise(self) -> StandardNormal:
        """What samples start from."""
        C, H, W = self.images(1, "shape").shape[1:]
        return StandardNormal((C, H, W), self.device)

    def generated(self, sampler: str, n: int) -> Tensor:
        """Return n samples by one of the samplers; sample i starts from the same noise for every sampler."""
        step, times = self.samplers[sampler]
        parts = []
        for k, numbers in enumerate(self._shares(n)):
            options = GenerateOptions(self.seed, self.batch, times, first=numbers.start)
            if numbers:
                R = self._guided(torch.tensor([k], device=self.device))
                parts.append(generate_images(R, step, self.noise, len(numbers), options))
        return torch.cat(parts)

    def asked(self, n: int) -> list[str] | None:
        """Return the class of each of n samples; None for a model without classes."""
        if self.classes is None:
            return None
        return [name for name, numbers in zip(self.classes.names, self._shares(n), strict=True) for _ in numbers]

    def _shares(self, n: int) -> list[range]:
        """Return the numbers of the samples of each class."""
        return [rank_slice(n, k, self._count) for k in range(self._count)]

    def _guided(self, label: Tensor) -> BaseRestorer:
        """Return the restorer of images of one class (1,), or of one for each (B,); the model if it has no classes."""
        return Guided(self.R, self.classes.guidance_scale, label=label) if self.classes else self.R

    def samples(self, n: int) -> dict[str, Tensor]:
        """Return n samples by each sampler, all from the same noise."""
        return {name: self.generated(name, n) for name in tqdm(self.samplers, "sampling", disable=None, leave=False)}

    def preview(self, path: Path, n: int = 32) -> Path:
        """Save a grid of samples by the cheapest sampler."""
        name = list(self.samplers)[-1]
        return self.grids(path, {name: self.generated(name, n)})

    def measure(self, made: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the evaluation of each sampler's images, and of unseen images, against other unseen images."""
        n = len(next(iter(made.values())))
        real = self.images(2 * n, "real")
        half = len(real) // 2
        sets = {**made, "unseen images": real[:half]}
        evaluator = Evaluator(METRICS, batch_size=self.batch, seed=self.seed)
        return {"samples": n, "evaluation": evaluator.evaluate(sets, reference=real[half:]).to_dict()}

    def bound(self, n: int, times: int | None) -> dict[str, Any]:
        """Return the means over n unseen images of the bound and its terms, in bits per dimension.

        A conditional model is given the classes of the images: it is then the bound of images of known class.

        Args:
            n: number of images.
            times: number of severities, drawn at random; all by default.
        """
        (x0, cond), T = self.examples(n, "bound"), self.D.T
        chosen = torch.randperm(T - 1, generator=seeded_generator("cpu", self.seed, "severities"))[: times or T - 1] + 2
        every = sorted(chosen.tolist())
        found: dict[str, Any] = {"images": len(x0), "times": every}
        for variance in VARIANCES:
            bounds = []
            for k, numbers in enumerate(torch.split(torch.arange(len(x0)), self.batch)):
                R = self.R.with_cond(**{name: value[numbers] for name, value in cond.items()})
                generator = seeded_generator(self.device, self.seed, "bound", k)
                bounds.append(bits_per_dim(R, x0[numbers], every, variance, generator))
            means = {name: torch.cat([getattr(b, name) for b in bounds]).mean(0).tolist() for name in TERMS}
            found[variance] = means
        return found

    def grids(self, path: Path, made: Mapping[str, Tensor]) -> Path:
        """Save the samples, one grid for each sampler."""
        from torchvision.utils import make_grid  # here, since it takes seconds to import

        rows = []
        for name, x in made.items():
            columns = -(-len(x) // 4)
            kind, _, detail = name.partition(", ")
            grid = make_grid(x, columns, padding=1, pad_value=1.0)
            rows.append(SeverityRow(kind, detail, grid[None], [f"{len(x)} samples"]))
        return save_rows(path, rows, 64)

    def class_grid(self, path: Path, n: int = 10) -> Path:
        """Save n samples of each class by the cheapest sampler, a row for each class.

        Raises:
            ValueError: for a model without classes.
        """
        if self.classes is None:
            raise ValueError("the model has no classes; use grids")
        name, count = list(self.samplers)[-1], len(self.classes.names)
        detail = f"guidance scale {self.classes.guidance_scale:g}"
        rows = [
            SeverityRow(f"class {label}", detail, x, [""] * n)
            for label, x in zip(self.classes.names, torch.split(self.generated(name, n * count), n), strict=True)
        ]
        return save_rows(path, rows, 64)

    def plot_trajectories(self, path: Path, n: int = 10) -> Path:
        """Save n samples of the ancestral sampler on their way, one to a row."""
        shown = sorted({t * self.D.T // 1000 for t in PLOT_TIMESTEPS}, reverse=True)
        x_T, z = self.noise(n, seeded_generator(self.device, self.seed, "x_T"))
        R = self._guided(torch.arange(n, device=self.device) % self._count)
        generator = seeded_generator(self.device, self.seed, "on the way")
        with inference_mode(R):
            steps = trajectory(R, DDPM(), x_T, z, generator=generator)
            states = {step.s: step.x_s for step in steps if step.s in shown}
        return save_rows(path, image_rows({f"t = {t}": states[t] for t in shown}, noun="sample"), 64)


def summary(measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a run ends with."""
    title = f"{measured['samples']} samples, compared with unseen images:"
    yield render_evaluation(Evaluation.from_dict(measured["evaluation"]), title)
    if "bits_per_dim" in measured:
        bound = measured["bits_per_dim"]
        found = f"{bound['images']} unseen images, {len(bound['times'])} terms between evaluated"
        rows = []
        for variance in VARIANCES:
            row = bound[variance]
            between = row["total"] - row["L_T"] - row["L_0"]
            rows.append([variance, f"{row['total']:.3f}", f"{row['L_T']:.5f}", f"{between:.3f}", f"{row['L_0']:.3f}"])
        headings = ["variance", "total", "L_T", "L_1..T-1", "L_0"]
        yield render_table(headings, rows, f"bits per dimension of {found}:")
