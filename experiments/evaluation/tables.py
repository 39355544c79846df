"""The one renderer of tables, by rich: aligned and colored on a terminal, plain text elsewhere.

render_table(...)        any headings and rows
render_evaluation(...)   an `Evaluation`: a row for each set, a column for each metric, the verdict on each difference
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.evaluation.evaluator import Column, Difference, Evaluation, Value

__all__ = ["interval_note", "render_evaluation", "render_table"]

PLAIN_WIDTH = 240  # columns of text that is written to a file or a pipe
VERDICTS = {"better": "[green]+[/green]", "worse": "[red]-[/red]", "undecided": " "}
HALF_WIDTH = "±: half the width of the 95 % interval."
OUTSIDE = " That of a distance is of infinitely many images, and few images make a distance too large: some lie above."
PLAIN_VERDICTS = {"better": "+", "worse": "-", "undecided": " "}


def render_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    caption: str = "",
    color: bool | None = None,
) -> str:
    """Return a table as text that ends without a line break.

    Args:
        headings: headings of the columns; the first column is aligned left, the others right.
        rows: cells as text, one for each heading.
        title: a line above the table.
        caption: lines below it.
        color: whether to use color and lines; by default where standard output is a terminal.

    >>> print(render_table(["set", "RMSE"], [["direct", "0.10"]], "2 images:", color=False))
    2 images:
    set     RMSE
    direct  0.10
    """
    color = sys.stdout.isatty() if color is None else color
    table = Table(box=SIMPLE_HEAD if color else None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    width = None if color else PLAIN_WIDTH
    console = Console(file=text, force_terminal=color, width=width, highlight=False, no_color=not color)
    console.print(table)
    lines = [title, *(line.rstrip() for line in text.getvalue().splitlines()), caption]
    return "\n".join(line for line in lines if line)


def render_evaluation(
    evaluation: Evaluation,
    title: str = "",
    extra: Mapping[str, Mapping[str, str]] | None = None,
    color: bool | None = None,
) -> str:
    """Return the table of an evaluation as text.

    Args:
        evaluation: the result of an `Evaluator`.
        title: a line above the table.
        extra: heading -> name of the set -> text of further columns, which stand first.
        color: see `render_table`.
    """
    color = sys.stdout.isatty() if color is None else color
    extra = extra or {}
    headings = ["", *extra, *(column.heading for column in evaluation.columns)]
    marks = VERDICTS if color else PLAIN_VERDICTS
    rows = []
    for name, values in evaluation.rows.items():
        differences = evaluation.differences.get(name, {})
        cells = [_cell(column, values, differences, marks, evaluation.baseline) for column in evaluation.columns]
        rows.append([name, *(cells_of.get(name, "") for cells_of in extra.values()), *cells])
    return render_table(headings, rows, title, "\n".join(_caption(evaluation)), color)


def interval_note(evaluation: Evaluation) -> str:
    """Return what the intervals of a table are; empty if it has none."""
    values = [value for row in evaluation.rows.values() for value in row.values() if value.interval is not None]
    if not values:
        return ""
    outside = any(
        interval is not None and found is not None and not interval.low <= found <= interval.high
        for found, interval in values
    )
    return HALF_WIDTH + OUTSIDE * outside


def _cell(
    column: Column,
    values: Mapping[str, Value],
    differences: Mapping[str, Difference],
    marks: Mapping[str, str],
    baseline: str | None,
) -> str:
    found = values.get(column.key, Value(None))
    if found.value is None:
        return ""
    mark = "" if baseline is None else " "
    if column.key in differences:
        mark = marks[differences[column.key].verdict]
    half = ""
    if found.interval is not None:
        half = f" ±{(found.interval.high - found.interval.low) / 2:.2g}"
    return f"{found.value:.4g}{half}{mark}"


def _caption(evaluation: Evaluation) -> list[str]:
    lines = [note] if (note := interval_note(evaluation)) else []
    if evaluation.baseline is not None:
        lines.append(f"+ better, - worse than {evaluation.baseline} on the same images (95 %).")
    if evaluation.features is not None:
        lines.append(f"Features: {evaluation.features}.")
    return [*lines, *(f"not measured: {note}" for note in evaluation.notes)]
