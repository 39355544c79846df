"""The report page of a run: what a restorer does, what was measured, and what the run depended on.

sliders         D(x0, t, z) over t, and x_t along the trajectory of a sampler
divider         the degraded images and the restored ones
tables          the evaluations
pictures        those that the program drew, and the learning curve
facts           configuration, command, versions, device, data and their fingerprint
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import make_grid

from degrade import Params, expand_level, map_params
from degrade.rendering import spaced_levels
from degrade.seeding import seeded_generator
from experiments.evaluation.evaluator import Evaluation
from experiments.report.blocks import BeforeAfter, Block, Facts, Gallery, Slider, Table
from experiments.report.page import Page, write_report
from experiments.run.environment import describe_environment
from experiments.run.folder import read_log
from restore import BaseRestorer, latest, read_checkpoint_config
from samplers import parse_sampler, trajectory

__all__ = ["evaluation_table", "restoration_blocks", "write_run_report"]

MAX_IMAGES = 4  # images beside each other in a picture of the page
MAX_LEVELS = 21  # pictures of a slider


@torch.no_grad()
def restoration_blocks(R: BaseRestorer, x0: Tensor, z: Params, sampler: str, times: Sequence[int]) -> list[Block]:
    """Return a slider over t, a divider between degraded and restored images, and a slider along the trajectory.

    Args:
        R: the restorer.
        x0: (B, C, H, W) clean images in [-1, 1], of which the first four are shown.
        z: the parameters of the degradation of each image.
        sampler: its name as in `parse_sampler`.
        times: the severities that it visits, from T to 0.
    """
    D, x0 = R.degradation, x0[:MAX_IMAGES]
    z = map_params(lambda v: v[:MAX_IMAGES], z)
    levels = spaced_levels(D.T, min(MAX_LEVELS, D.T + 1))
    degraded = [_grid(D(x0, expand_level(t, x0), z)) for t in levels]
    x_T = D(x0, expand_level(times[0], x0), z)
    visits = trajectory(R, parse_sampler(sampler), x_T, z, times, seeded_generator(x0.device, 0, "report"))
    visited = {times[0]: x_T} | {visit.s: visit.x_s for visit in visits}
    shown = [times[k] for k in spaced_levels(len(times) - 1, min(MAX_LEVELS, len(times)))]
    path = [_grid(visited[t]) for t in shown]
    return [
        Slider(
            "Degradation",
            f"D(x0, t, z) of held-out images: {D.name}, T = {D.T}.",
            degraded,
            [f"t = {t}" for t in levels],
            len(levels) // 2,
        ),
        BeforeAfter(
            "Restoration",
            f"Left the images at t = {times[0]}, right those restored by {sampler} in {len(times) - 1} steps.",
            [path[0], path[-1]],
            ["degraded", "restored"],
        ),
        Slider("Trajectory", f"x_t while {sampler} samples.", path, [f"t = {t}" for t in shown]),
    ]


def _grid(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) beside each other as (C, H', W')."""
    grid: Tensor = make_grid(images, len(images), padding=2, pad_value=1.0)
    return grid.cpu()


def evaluation_table(title: str, evaluation: Evaluation | Mapping[str, Any]) -> Table:
    """Return the table of an evaluation, with the best value of every column marked.

    Args:
        title: the heading.
        evaluation: the evaluation, or what its `to_dict` returned.
    """
    found = evaluation if isinstance(evaluation, Evaluation) else Evaluation.from_dict(evaluation)
    keys = [column.key for column in found.columns]
    rows = [(name, *(row[key].value if key in row else None for key in keys)) for name, row in found.rows.items()]
    directions = {c.heading: c.higher_is_better for c in found.columns if c.higher_is_better is not None}
    return Table(
        title,
        " ".join([f"{found.images} images.", *found.notes]),
        ("", *(column.heading for column in found.columns)),
        rows,
        better={heading: "high" if higher else "low" for heading, higher in directions.items()},
    )


def write_run_report(
    folder: Path, title: str, blocks: Sequence[Block], pictures: Sequence[Path], device: torch.device
) -> Path:
    """Write `report.html` into the folder of a run and return its path.

    Args:
        folder: the folder of the run, with its configuration, log and checkpoints.
        title: what was trained.
        blocks: the content of the top of the page.
        pictures: files that the program drew.
        device: where the run computed.
    """
    log = read_log(folder / "log.jsonl")
    end = f"; its loss was {log[-1]['loss']:.4g} at step {log[-1]['step']}" if log else ""
    checkpoint = read_checkpoint_config(latest(folder / "model"))
    facts = describe_environment(device)
    data = {"data": str(checkpoint.data or "not recorded"), "sha256": checkpoint.data and checkpoint.data.sha256}
    still = [path for path in pictures if path.suffix != ".gif"]
    names = [path.stem.replace("_", " ") for path in still]
    page = Page(
        f"{folder.name}: {title}",
        f"A run in {folder}{end}.",
        [
            *blocks,
            *([Gallery("Pictures", "", still, names)] if still else []),
            Facts("Configuration", "All options, as in config.json.", json.loads((folder / "config.json").read_text())),
            Facts("Run", "", {**facts, "command": " ".join(facts["command"]), **data}),
        ],
    )
    return write_report(folder / "report.html", page)
