"""Blocks that the pages of a run, of a comparison and of the paper's tables have in common.

evaluation_table     an `Evaluation` as a table to sort
restoration_blocks   sliders over t and along a trajectory, and a divider between degraded and restored images
provenance_blocks    configuration, command, seed, versions, device and fingerprint of the data
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from degrade import Params, expand_level, map_params
from degrade.random import seeded_generator
from degrade.rendering import spaced_levels
from experiments.evaluation.choices import InputPrecision
from experiments.evaluation.evaluator import Evaluation, Value
from experiments.evaluation.linear import INPUT_NOISE, to_input_precision
from experiments.evaluation.strips import visited_states
from experiments.evaluation.tables import interval_note
from experiments.report.blocks import BeforeAfter, Block, Cell, Facts, Slider, Table
from restore import BaseRestorer

__all__ = ["evaluation_table", "provenance_blocks", "restoration_blocks"]

MAX_IMAGES = 4  # images beside each other in a picture of the page
MAX_LEVELS = 21  # pictures of a slider


def evaluation_table(
    title: str, evaluation: Evaluation | Mapping[str, Any], extra: Mapping[str, Mapping[str, Any]] | None = None
) -> Table:
    """Return the table of an evaluation, with the best value of every metric marked.

    A metric has a column of values, one of half the widths of their 95 % intervals, and, where there is a baseline, one
    of verdicts on the difference to it. Columns without a single entry are left out.

    Args:
        title: the heading.
        evaluation: the evaluation, or what its `to_dict` returned.
        extra: heading -> name of the set -> cell of further columns, which stand after the name.
    """
    evaluation = evaluation if isinstance(evaluation, Evaluation) else Evaluation.from_dict(evaluation)
    columns: dict[str, dict[str, Cell]] = {heading: dict(cells) for heading, cells in (extra or {}).items()}
    better: dict[str, Literal["low", "high"]] = {}
    for column in evaluation.columns:
        found = {name: row.get(column.key, Value(None)) for name, row in evaluation.rows.items()}
        halves = {name: (v.interval.high - v.interval.low) / 2 for name, v in found.items() if v.interval}
        verdicts = {name: row[column.key].verdict for name, row in evaluation.differences.items() if column.key in row}
        columns[column.heading] = {name: v.value for name, v in found.items()}
        columns |= {f"{column.heading} ±": {**halves}} if halves else {}
        columns |= {f"{column.heading} is": {**verdicts}} if verdicts else {}
        if column.higher_is_better is not None:
            better[column.heading] = "high" if column.higher_is_better else "low"
    rows = [(name, *(cells.get(name) for cells in columns.values())) for name in evaluation.rows]
    return Table(title, _note(evaluation), ("", *columns), rows, better=better)


def _note(evaluation: Evaluation) -> str:
    parts = [f"{evaluation.images} images.", *filter(None, [interval_note(evaluation)])]
    if evaluation.baseline:
        parts.append(f"Better, worse or undecided: against {evaluation.baseline} on the same images.")
    if evaluation.features:
        parts.append(f"Features: {evaluation.features}.")
    return " ".join([*parts, *(f"Not measured: {reason}." for reason in evaluation.notes)])


def restoration_blocks(
    R: BaseRestorer,
    x0: Tensor,
    z: Params,
    sampler: str,
    times: Sequence[int],
    input_precision: InputPrecision = "float32",
) -> list[Block]:
    """Return a slider over t, a divider between degraded and restored images, and a slider along the trajectory.

    Args:
        R: the restorer.
        x0: (B, C, H, W) clean images in [-1, 1], of which the first four are shown.
        z: the parameters of the degradation of each image.
        sampler: its name as in `parse_sampler`.
        times: the severities that it visits, from T to 0.
        input_precision: `8bit` rounds the images that are restored, as a file does; `float32` does not.
    """
    R, D, x0 = R.with_input_noise(INPUT_NOISE[input_precision]), R.degradation, x0[:MAX_IMAGES]
    z = map_params(lambda v: v[:MAX_IMAGES], z)
    levels = spaced_levels(D.T, min(MAX_LEVELS, D.T + 1))
    degraded = [_grid(D(x0, expand_level(t, x0), z)) for t in levels]
    x_T = to_input_precision(D(x0, expand_level(times[0], x0), z), input_precision)
    generator = seeded_generator(x0.device, 0, "report")
    visited = visited_states(R, sampler, x_T, z, times, generator)
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
    from torchvision.utils import make_grid  # here, since it takes seconds to import

    grid: Tensor = make_grid(images, len(images), padding=2, pad_value=1.0)
    return grid.cpu()


def provenance_blocks(described: Mapping[str, Any]) -> list[Block]:
    """Return the facts on which the numbers of a page depend.

    Args:
        described: what is written beside the numbers: `configuration` (with the seed) and `environment` as
            `describe_environment` returns it, and further entries such as `data` with its fingerprint.
    """
    environment = described["environment"]
    facts = {
        "command": " ".join(environment["command"]),
        "date": environment["date"],
        "seed": described["configuration"]["seed"],
        "device": ", ".join(f"{name} {value}" for name, value in environment["device"].items()),
        **environment["versions"],
    }
    other = {name: value for name, value in described.items() if name not in ("configuration", "environment")}
    for name, value in other.items():
        entries = value.items() if isinstance(value, Mapping) else [("", value)]
        facts |= {f"{name} {key}".strip(): entry for key, entry in entries}
    return [
        Facts("Command, versions and data", "", facts),
        Facts("Configuration", "", described["configuration"]),
    ]
