"""What a report page is made of: text, facts, tables, pictures, sliders and before/after dividers.

Every block is a small frozen object that knows nothing of HTML; `experiments.report.page` renders them in order.
Pictures are Pillow images or tensors (C, H, W) in [-1, 1]; small ones are enlarged without smoothing, so that their
pixels stay visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

__all__ = ["BeforeAfter", "Block", "Facts", "Gallery", "Plot", "Slider", "Table", "Text"]

Cell = str | int | float | None


@dataclass(frozen=True)
class Block:
    """A part of a page with a heading.

    Args:
        title: the heading.
        note: one or two sentences below the heading that say what is shown.
    """

    kind: ClassVar[str]
    title: str
    note: str = ""


@dataclass(frozen=True)
class Text(Block):
    """A paragraph.

    Args:
        body: the text, plain.
    """

    kind: ClassVar[str] = "text"
    body: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Names and values, such as the configuration of a run.

    Args:
        values: what to list; a value that is no string is shown as JSON.
    """

    kind: ClassVar[str] = "facts"
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table(Block):
    """A table that the reader can sort by any column.

    Args:
        columns: the headings.
        rows: one sequence of cells for each row, as long as `columns`; None is an empty cell.
        digits: significant digits with which numbers are shown.
        better: for columns of numbers, whether `low` or `high` values are better; the best cell is marked.

    Raises:
        ValueError: if a row has another length, or `better` names no column.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    digits: int = 4
    better: Mapping[str, Literal["low", "high"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of the table {self.title!r} has {len(row)} cells for {len(self.columns)} columns"
                )
        unknown = [name for name in self.better if name not in self.columns]
        if unknown:
            raise ValueError(f"better names {', '.join(unknown)}; the columns are {', '.join(self.columns)}")

    def best(self) -> set[tuple[int, int]]:
        """Return (row, column) of the best number of every column that `better` names.

        >>> Table("t", columns=("a", "b"), rows=((1.0, 3), (2.0, 4)), better={"b": "high"}).best()
        {(1, 1)}
        """
        found = set()
        for name, direction in self.better.items():
            j = self.columns.index(name)
            numbers = [(row[j], i) for i, row in enumerate(self.rows) if isinstance(row[j], int | float)]
            if numbers:
                value, _ = (min if direction == "low" else max)(numbers)
                found |= {(i, j) for number, i in numbers if number == value}
        return found


@dataclass(frozen=True)
class Gallery(Block):
    """Pictures beside each other.

    Args:
        pictures: the pictures.
        captions: one for each picture; it is also what a screen reader says.
    """

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Any] = ()
    captions: Sequence[str] = ()

    def __post_init__(self) -> None:
        _same_number(self)


@dataclass(frozen=True)
class Slider(Block):
    """One place that shows one of several pictures, chosen with a slider, such as D(x0, t, z) over t.

    Args:
        pictures: the pictures, in the order of the slider.
        captions: one for each picture, such as `t = 5`.
        start: index of the picture that is shown first.
    """

    kind: ClassVar[str] = "slider"
    pictures: Sequence[Any] = ()
    captions: Sequence[str] = ()
    start: int = 0

    def __post_init__(self) -> None:
        _same_number(self)
        if not 0 <= self.start < len(self.pictures):
            raise ValueError(
                f"start is {self.start}; the slider {self.title!r} has pictures 0..{len(self.pictures) - 1}"
            )


@dataclass(frozen=True)
class BeforeAfter(Block):
    """Two pictures of one size, one over the other, with a divider to drag.

    Args:
        pictures: the picture before and the picture after.
        captions: names of the two pictures.
    """

    kind: ClassVar[str] = "before_after"
    pictures: Sequence[Any] = ()
    captions: Sequence[str] = ("before", "after")

    def __post_init__(self) -> None:
        _same_number(self)
        if len(self.pictures) != 2:
            raise ValueError(
                f"{self.title!r} has {len(self.pictures)} pictures; a comparison needs two, before and after"
            )


@dataclass(frozen=True)
class Plot(Block):
    """A figure of matplotlib.

    Args:
        figure: a `matplotlib.figure.Figure`.
        alt: what the figure shows, for a screen reader.
    """

    kind: ClassVar[str] = "plot"
    figure: Any = None
    alt: str = ""


def _same_number(block: Any) -> None:
    if not block.pictures or len(block.pictures) != len(block.captions):
        raise ValueError(
            f"{block.title!r} has {len(block.pictures)} pictures and {len(block.captions)} captions;"
            " it needs at least one picture and a caption for each"
        )
