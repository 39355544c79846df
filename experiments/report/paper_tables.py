"""The paper's tables as text and as a page: our numbers beside the published ones, patterns, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.evaluation.evaluator import Evaluation, Value
from experiments.evaluation.patterns import Outcome, PatternResult
from experiments.evaluation.published import Published, published_rows, published_text
from experiments.evaluation.reproduction import Measurement
from experiments.evaluation.tables import render_evaluation, render_table
from experiments.report.blocks import BeforeAfter, Block, Cell, Facts, Gallery, Plot, Table
from experiments.report.content import evaluation_table, provenance_blocks
from experiments.report.page import Page

__all__ = ["LEVELS_TABLE", "MeasuredTask", "patterns_text", "tables_page", "task_text"]

UNCONFIRMED = "Published numbers in parentheses are not confirmed by a second source."
LEVELS_TABLE = "Number of severity levels T, equal training"
SHOWN = 4  # images of each set in a gallery
OUTCOMES: tuple[Outcome, ...] = ("confirmed", "refuted", "undecided")


class MeasuredTask(NamedTuple):
    """A finished task, from degraded images of one precision: what describes it and what was observed."""

    described: dict[str, Any]
    measured: Measurement

    @property
    def evaluations(self) -> list[Evaluation]:
        """Return the evaluations; the first one holds all sets."""
        return [Evaluation.from_dict(values) for values in self.described["evaluations"]]


def _published(task: MeasuredTask, evaluation: Evaluation) -> dict[str, dict[str, str]]:
    """Return the columns of published numbers, empty if there are none for the task."""
    known = published_rows(task.described["task"])
    names = {"FID": "fid", "SSIM": "ssim", "RMSE": "rmse"}
    columns = {
        f"published {heading}": {row: published_text(known.get(row), name) for row in evaluation.rows}
        for heading, name in names.items()
    }
    return {heading: cells for heading, cells in columns.items() if any(cells.values())}


def task_text(name: str, task: MeasuredTask) -> str:
    """Return the table of a task as text."""
    evaluation = task.evaluations[0]
    lines = [render_evaluation(evaluation, f"{name}, {evaluation.images} images:", _published(task, evaluation))]
    lines += [f"differs in {line}" for line in task.described["protocol_differences"]]
    return "\n".join(lines)


def patterns_text(patterns: Sequence[PatternResult]) -> str:
    """Return the table of patterns as text."""
    rows = [
        [found.pattern.statement, _outcome(found), *(str(found.count(outcome)) for outcome in OUTCOMES)]
        for found in patterns
    ]
    headings = ["pattern", "outcome", *OUTCOMES]
    return render_table(headings, rows, "Patterns, by paired differences with 95 % intervals:", UNCONFIRMED)


def _outcome(found: PatternResult) -> str:
    return found.outcome if found.evidence else "not measured"


def tables_page(
    described: Mapping[str, Any],
    done: Mapping[str, MeasuredTask],
    compared: Mapping[str, Evaluation],
    patterns: Sequence[PatternResult],
) -> Page:
    """Return the page.

    Args:
        described: configuration and environment.
        done: the finished tasks by name.
        compared: the tables of rows of several tasks, by name.
        patterns: patterns with their outcomes.
    """
    scale = described["configuration"]["scale"]
    found = [p.outcome for p in patterns if p.evidence]
    tasks = {task.described["task"] for task in done.values()}
    summary = (
        f"{len(tasks)} tasks at {scale} scale. Of {len(found)} patterns that were measured,"
        f" {found.count('confirmed')} are confirmed, {found.count('refuted')} refuted and"
        f" {found.count('undecided')} undecided."
    )
    blocks: list[Block] = [_patterns_table(patterns), _overview(done)]
    blocks += [evaluation_table(name, evaluation) for name, evaluation in compared.items()]
    if LEVELS_TABLE in compared:
        alt = "metrics over the number of severity levels"
        blocks.append(Plot("Over T", "Bars: 95 % intervals.", plot_levels(compared[LEVELS_TABLE]), alt))
    for name, task in done.items():
        blocks += _task_blocks(name, task)
    if described["left_out"]:
        blocks.append(Facts("Left out", "Tasks whose images are not there.", described["left_out"]))
    blocks += [_evidence_table(patterns), *provenance_blocks(described)]
    return Page("Tables of cold diffusion", summary, blocks)


def _patterns_table(patterns: Sequence[PatternResult]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (p.pattern.name, _outcome(p), *(p.count(outcome) for outcome in OUTCOMES), p.pattern.statement)
        for p in patterns
    ]
    note = (
        "Each claim is a paired difference on the same images; its 95 % interval decides. A pattern is confirmed if"
        " some claims are confirmed and none is refuted. The claims follow at the end of the page."
    )
    return Table("Patterns", note, ("pattern", "outcome", *OUTCOMES, "statement"), rows)


def _evidence_table(patterns: Sequence[PatternResult]) -> Table:
    columns = ("pattern", "task", "metric", "row", "less", "difference", "low", "high", "outcome")
    rows: list[tuple[Cell, ...]] = [
        (p.pattern.name, e.task, e.metric, e.row, e.baseline, e.value, *(e.interval or (None, None)), e.outcome)
        for p in patterns
        for e in p.evidence
    ]
    return Table("Claims", "Differences of row less the other row, with 95 % intervals.", columns, rows, digits=3)


def _overview(done: Mapping[str, MeasuredTask]) -> Table:
    """Return one table of all tasks with the published numbers; tasks without an own metric have empty cells."""
    columns = {column.key: column.heading for task in done.values() for column in task.evaluations[0].columns}
    rows: list[list[Cell]] = []
    for name, task in done.items():
        for row, values in task.evaluations[0].rows.items():
            known: Published | None = published_rows(task.described["task"]).get(row)
            ours: list[Cell] = [values.get(key, Value(None)).value for key in columns]
            published: list[Cell] = [published_text(known, key) or None for key in ("fid", "ssim", "rmse")]
            rows.append([name, row, *ours, *published])
    headings = ("task", "row", *columns.values(), "published FID", "published SSIM", "published RMSE")
    note = (
        f"{UNCONFIRMED} Only distances over Inception features may be compared with a FID; the other differences of"
        " protocol are listed with each task."
    )
    return Table("All tasks", note, headings, rows)


def _task_blocks(name: str, task: MeasuredTask) -> list[Block]:
    evaluation, pictures = task.evaluations[0], task.measured.pictures
    shown = [x for images in pictures.values() for x in images[:SHOWN]]
    captions = [f"{row} {i + 1}" for row, images in pictures.items() for i in range(len(images[:SHOWN]))]
    differences = "; ".join(task.described["protocol_differences"])
    differs = f"differs in {differences}" if differences else "is the published one"
    blocks: list[Block] = [
        evaluation_table(name, evaluation, _published(task, evaluation)),
        Gallery(f"{name}: images", f"The protocol {differs}.", shown, captions),
    ]
    if "degraded" in pictures:
        pair = [pictures["degraded"][0], pictures["algorithm2"][0]]
        blocks.insert(1, BeforeAfter(f"{name}: before and after", "", pair, ["degraded", "algorithm2"]))
    return blocks


def plot_levels(evaluation: Evaluation) -> Any:
    """Return a figure of every metric over the number of levels."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(3.2 * len(evaluation.columns), 3), dpi=110, layout="constrained")
    levels = [int(name.removeprefix("T = ")) for name in evaluation.rows]
    for axes, column in zip(figure.subplots(1, len(evaluation.columns), squeeze=False)[0], evaluation.columns):
        for T, values in zip(levels, evaluation.rows.values()):
            found = values.get(column.key, Value(None))
            if found.interval is not None:
                axes.plot([T, T], found.interval, color="C0", linewidth=1.2)
            if found.value is not None:
                axes.plot(T, found.value, "o", color="C0")
        axes.set(xscale="log", xlabel="T")
        axes.set_title(column.heading, fontsize=9)
        axes.set_xticks(levels, [str(T) for T in levels], minor=False)
        axes.grid(alpha=0.3)
    figure.patch.set_facecolor("white")
    return figure
