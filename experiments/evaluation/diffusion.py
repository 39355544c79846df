"""A study of a diffusion model: samples by several samplers, on their way and at the end, and the variational bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Source
from degrade.random import seeded_generator
from degrade.rendering import SeverityRow, render_rows
from experiments.data.images import WindowedImages
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.tables import render_evaluation, render_table
from restore import BaseRestorer, FunctionRestorer
from samplers import DDIM, DDPM, GenerateOptions, Sampler, StandardNormal, generate_images, spaced_timesteps, trajectory
from samplers.applications.likelihood import bits_per_dim

__all__ = ["SHOWN", "DiffusionEvaluator", "summary"]

SHOWN = (999, 700, 550, 400, 300, 200, 100, 50, 15, 0)  # severities of T = 1000
METRICS = ("frechet_distance", "kernel_distance", "pairwise_rmse")
TERMS = ("L_T", "L_t", "L_0", "total")
VARIANCES: tuple[Literal["small"], Literal["large"]] = ("small", "large")


class DiffusionEvaluator:
    """A trained model and unseen images of its kind.

    Args:
        R: the trained restorer; its degradation is the forward process.
        unseen: images that training has not seen.
        device: the device to compute on.
        seed: seed of everything random in the evaluation.
        batch: number of images in one forward pass.
        steps: number of steps of the samplers with few steps, at most T.
    """

    def __init__(
        self, R: BaseRestorer, unseen: Source, device: torch.device, seed: int, batch: int, steps: int
    ) -> None:
        D = R.degradation
        self.D, self.R, self.unseen, self.device = D, R, unseen, device
        self.seed, self.batch = seed, batch
        few = min(steps, D.T)
        self.samplers: dict[str, tuple[Sampler, list[int]]] = {
            "ancestral, small variance": (DDPM("small"), spaced_timesteps(D.T)),
            "ancestral, large variance": (DDPM("large"), spaced_timesteps(D.T)),
            f"ancestral, {few} steps": (DDPM("small"), spaced_timesteps(D.T, few)),
            f"DDIM, {few} steps": (DDIM(), spaced_timesteps(D.T, few)),
        }

    def images(self, n: int, use: str) -> Tensor:
        """Return the first n unseen images, or as many as there are."""
        if isinstance(self.unseen, WindowedImages):
            return self.unseen.at(torch.arange(min(n, len(self.unseen))))
        return self.unseen(n, seeded_generator(self.device, self.seed, use))

    @property
    def noise(self) -> StandardNormal:
        """What samples start from."""
        C, H, W = self.images(1, "shape").shape[1:]
        return StandardNormal((C, H, W), self.device)

    def samples(self, n: int) -> dict[str, Tensor]:
        """Return n samples by each sampler, all from the same noise."""
        return {
            name: generate_images(
                self.R, step, self.noise, n, GenerateOptions(seed=self.seed, batch_size=self.batch, steps=times)
            )
            for name, (step, times) in tqdm(self.samplers.items(), "sampling", disable=None, leave=False)
        }

    def preview(self, path: Path, n: int = 32) -> Path:
        """Save a grid of samples by the cheapest sampler."""
        name, (step, times) = list(self.samplers.items())[-1]
        return self.grids(
            path,
            {
                name: generate_images(
                    self.R, step, self.noise, n, GenerateOptions(seed=self.seed, batch_size=self.batch, steps=times)
                )
            },
        )

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

        Args:
            n: how many images.
            times: how many severities, drawn at random; all by default.
        """
        x0, T = self.images(n, "bound"), self.D.T
        chosen = torch.randperm(T - 1, generator=seeded_generator("cpu", self.seed, "severities"))[: times or T - 1] + 2
        every, R = sorted(chosen.tolist()), FunctionRestorer(self.R, self.D)
        found: dict[str, Any] = {"images": len(x0), "times": every}
        for variance in VARIANCES:
            bounds = [
                bits_per_dim(R, part, every, variance, seeded_generator(self.device, self.seed, "bound", k))
                for k, part in enumerate(torch.split(x0, self.batch))
            ]
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
        render_rows(rows, scale=max(1, 64 // x.shape[-1])).save(path)
        return path

    @torch.no_grad()
    def on_the_way(self, path: Path, n: int = 10) -> Path:
        """Save n samples of the ancestral sampler on their way, one to a row."""
        shown = sorted({t * self.D.T // 1000 for t in SHOWN}, reverse=True)
        x_T, z = self.noise(n, seeded_generator(self.device, self.seed, "x_T"))
        walk = trajectory(self.R, DDPM(), x_T, z, generator=seeded_generator(self.device, self.seed, "on the way"))
        visited = {visit.s: visit.x_s for visit in walk if visit.s in shown}
        panels = torch.stack([visited[t] for t in shown], dim=1)
        rows = [SeverityRow(f"sample {i + 1}", "", row, [f"t = {t}" for t in shown]) for i, row in enumerate(panels)]
        render_rows(rows, scale=max(1, 64 // x_T.shape[-1])).save(path)
        return path


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
