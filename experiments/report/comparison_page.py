"""The page of a comparison: table, differences, plots, and what the model does to a few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.evaluation.comparison import Comparison
from experiments.evaluation.evaluator import Difference, Evaluation
from experiments.report.blocks import Block, Gallery, Table
from experiments.report.content import evaluation_table, provenance_blocks, restoration_blocks
from experiments.report.page import Page
from samplers import spaced_timesteps

__all__ = ["comparison_page"]

STEPS = 20  # of the trajectories that are shown, at most
PREFERRED = "algorithm2"  # the sampler whose trajectories are shown, if it was compared, or none was


def comparison_page(
    comparison: Comparison, compared: Mapping[str, Any], described: Mapping[str, Any], plots: Sequence[Path]
) -> Page:
    """Return the page.

    Args:
        comparison: the comparison; the first of its restorers is shown.
        compared: result of `Comparison.run`.
        described: description beside the numbers, see `provenance_blocks`.
        plots: files of plots.
    """
    evaluation = Evaluation.from_dict(compared["evaluation"])
    compared_samplers = comparison.samplers or (PREFERRED,)  # none where only one prediction was measured
    name = PREFERRED if PREFERRED in compared_samplers else compared_samplers[0]
    R = next(iter(comparison.restorers.values())).R
    steps = spaced_timesteps(comparison.start, min(STEPS, comparison.start))
    costs = {"calls of R": {row: value["nfe"] for row, value in compared["rows"].items()}}
    blocks: list[Block] = [
        evaluation_table("Numbers", evaluation, costs),
        *restoration_blocks(R, comparison.x0, comparison.z, name, steps, comparison.options.input_precision),
        Gallery("Plots", "", list(plots), [plot.stem.replace("_", " ") for plot in plots]),
        _differences(evaluation),
        *provenance_blocks(described),
    ]
    return Page(f"Samplers of {comparison.D.name} compared", _summary(evaluation, comparison), blocks)


def _summary(evaluation: Evaluation, comparison: Comparison) -> str:
    """Say how many rows are better than the baseline in each metric."""
    found: dict[str, list[str]] = {
        column.heading: [row[column.key].verdict for row in evaluation.differences.values() if column.key in row]
        for column in evaluation.columns
    }
    parts = [
        f"{heading}: {verdicts.count('better')} of {len(verdicts)} rows are better, {verdicts.count('worse')} worse"
        for heading, verdicts in found.items()
    ]
    start = f"{len(comparison.x0)} unseen images, restored from severity {comparison.start} of {comparison.D.T}."
    return f"{start} Against {evaluation.baseline}, {'; '.join(parts)}."


def _differences(evaluation: Evaluation) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name, differences in evaluation.differences.items():
        for column in evaluation.columns:
            found: Difference | None = differences.get(column.key)
            if found is not None:
                low, high = found.interval or (None, None)
                rows.append((name, column.heading, found.value, low, high, found.verdict))
    note = f"Each row less {evaluation.baseline}, on the same images, with the 95 % interval."
    return Table("Differences", note, ("row", "metric", "difference", "low", "high", "verdict"), rows, digits=3)
