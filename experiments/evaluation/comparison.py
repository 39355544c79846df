"""A comparison of samplers: one trained restorer, the same degraded images, every sampler at every number of steps.

What a walk costs is counted where it is paid, in calls of R (nfe): Heun's step costs two, `repaint` as many as it
repeats. Two errors are measured: to the truth, and to the same sampler's walk through all levels, which is what taking
fewer steps costs by itself; a sampler that adds noise has no such walk, since no two of its walks are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from degrade import Degradation, Params, expand_level, map_params
from degrade.seeding import seeded_generator
from experiments.evaluation.metrics import rmse, ssim, thumbnail_distance
from restore import BaseRestorer, Restorer
from samplers import Sampler, cumulative_change, equal_change_timesteps, parse_sampler, sample, spaced_timesteps

__all__ = ["Comparison", "draw", "table"]

SPACINGS = ("even", "equal-error")


class CountCalls(BaseRestorer):
    """A restorer that counts how often it is asked."""

    def __init__(self, R: BaseRestorer) -> None:
        super().__init__(R.degradation)
        self.R, self.calls = R, 0

    def forward(self, x_t: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        """Return R(x_t, t)."""
        self.calls += 1
        guess: Tensor = self.R(x_t, t, **cond)
        return guess


class Walk(NamedTuple):
    """Where walks ended, how often R was asked in one of them, and whether noise was drawn."""

    images: Tensor
    nfe: int
    noisy: bool


class Comparison:
    """Degraded images whose truth is known, and what samplers make of them.

    Args:
        D: the degradation.
        R: undoes it.
        x0: (N, C, H, W) clean images that training has not seen.
        z: of their degradation.
        start: the severity they are degraded to, 1..T.
        seed: of the samplers' noise.
        batch: images a forward pass.
    """

    def __init__(
        self, D: Degradation, R: Restorer, x0: Tensor, z: Params, start: int, seed: int = 0, batch: int = 32
    ) -> None:
        self.D, self.R, self.x0, self.z, self.start = D, CountCalls(R), x0, z, start
        self.x_t = D(x0, expand_level(start, x0), z)
        self.seed, self.batch = seed, batch

    def walk(self, step: Sampler, times: Sequence[int]) -> Walk:
        """Return where the walk over `times` ends, from the degraded images."""
        ends, before, noisy = [], self.R.calls, False
        parts = range(0, len(self.x0), self.batch)
        for first in parts:
            part = slice(first, first + self.batch)
            z = map_params(lambda v, part=part: v[part], self.z)  # type: ignore[misc]
            generator = seeded_generator(self.x0.device, self.seed, "walk", first)
            untouched = generator.get_state()
            ends.append(sample(self.R, step, self.x_t[part], z, times, generator))
            noisy = noisy or not torch.equal(untouched, generator.get_state())
        return Walk(torch.cat(ends), (self.R.calls - before) // len(parts), noisy)

    def measure(self, walk: Walk, whole: Walk | None = None) -> dict[str, Any]:
        """Return what a walk cost, and its errors to the truth and, without noise, to a whole walk."""
        x = walk.images
        errors = {
            "rmse": rmse(x, self.x0),
            "ssim": ssim(x, self.x0),
            "thumbnail_distance": thumbnail_distance(x, self.x0),
        }
        to_whole = None if whole is None or whole.noisy else rmse(x, whole.images)
        return {"nfe": walk.nfe, **errors, "rmse_to_whole": to_whole}

    def run(self, samplers: Sequence[str], steps: Sequence[int], data: Tensor) -> dict[str, Any]:
        """Measure every sampler at every number of steps, evenly spaced and respaced.

        Args:
            samplers: as `parse_sampler` reads them.
            steps: numbers of steps; those above `start` are left out.
            data: clean images on which the respacing is measured, other ones than those that are restored.
        """
        change = cumulative_change(
            self.R, data, seeded_generator(data.device, self.seed, "change"), spaced_timesteps(self.start)
        )
        steps = sorted({n for n in steps if n <= self.start})
        spacings = {
            "even": {n: spaced_timesteps(self.start, n) for n in steps},
            "equal-error": {n: equal_change_timesteps(change, n) for n in steps},
        }
        one_shot = self.walk(parse_sampler("algorithm1"), [self.start, 0])
        rows = [{"sampler": "direct", "spacing": None, "steps": 1, **self.measure(one_shot)}]
        jobs = [(name, n, spacing) for name in samplers for n in steps for spacing in SPACINGS]
        for name, n, spacing in tqdm(jobs, "comparing", disable=None, leave=False):
            step = parse_sampler(name)
            if (n, spacing) == (steps[0], SPACINGS[0]):
                whole = self.walk(step, spaced_timesteps(self.start))
                rows.append({"sampler": name, "spacing": None, "steps": self.start, **self.measure(whole)})
            walk = self.walk(step, spacings[spacing][n])
            rows.append({"sampler": name, "spacing": spacing, "steps": n, **self.measure(walk, whole)})
        degraded = self.measure(Walk(self.x_t, 0, False))
        return {
            **{"images": len(self.x0), "start": self.start, "degraded": degraded},
            **{"change": change, "times": spacings, "rows": rows},
        }


def table(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table that a comparison ends with."""
    yield f"{measured['images']} unseen images, restored from severity {measured['start']}:"
    width = max(len(row["sampler"]) for row in measured["rows"]) + 2
    yield f"{'':<{width}}{'steps':>6}{'spacing':>13}{'nfe':>6}{'RMSE':>8}{'SSIM':>8}{'distance':>10}{'to whole':>10}"
    for row in measured["rows"]:
        spacing = row["spacing"] or ("" if row["sampler"] == "direct" else "whole walk")
        errors = f"{row['rmse']:>8.4f}{row['ssim']:>8.4f}{row['thumbnail_distance']:>10.4f}"
        to_whole = "" if row["rmse_to_whole"] is None else f"{row['rmse_to_whole']:>10.5f}"
        yield f"{row['sampler']:<{width}}{row['steps']:>6}{spacing:>13}{row['nfe']:>6}{errors}{to_whole}"
    yield "nfe: calls of R. distance: Fréchet, of 8 x 8 thumbnails. to whole: RMSE to the same sampler's whole walk."


def draw(path: Path, measured: dict[str, Any], title: str) -> Path:
    """Save the errors over the number of calls of R: dashed where evenly spaced, solid where respaced."""
    from matplotlib.figure import Figure  # slow to import, and nothing else needs it

    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    panels = {"rmse": "RMSE to the truth", "ssim": "SSIM", "rmse_to_whole": "RMSE to the whole walk"}
    names = list(dict.fromkeys(row["sampler"] for row in measured["rows"] if row["sampler"] != "direct"))
    for axes, (key, label) in zip(figure.subplots(1, len(panels)), panels.items()):
        for i, name in enumerate(names):
            for spacing, style in zip(SPACINGS, (":", "-")):
                points = [
                    (row["nfe"], row[key])
                    for row in measured["rows"]
                    if (row["sampler"], row["spacing"]) == (name, spacing) and row[key]
                ]
                if points:
                    label_once = name if spacing == SPACINGS[-1] else None
                    axes.plot(*zip(*points), style, color=f"C{i}", marker="o", markersize=3, label=label_once)
        if key != "rmse_to_whole":
            axes.axhline(measured["rows"][0][key], color="gray", linewidth=1, label="direct")
        else:
            axes.set_yscale("log")
        axes.set(xlabel="calls of R", title=label, xscale="log")
        calls = [2**k for k in range(max(row["nfe"] for row in measured["rows"]).bit_length())]
        axes.set_xticks(calls, labels=map(str, calls))
        axes.minorticks_off()
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend(fontsize=7)
    figure.suptitle(f"{title} (dotted: even steps, solid: equal-error steps)", fontsize=10)
    figure.savefig(path)
    return path
