"""From rows of uniform random numbers to named quantities, and from those to endless sets of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor


class Draws:
    """Reads uniform numbers (n, k) one column at a time, each as a quantity with a meaning."""

    def __init__(self, rows: Tensor) -> None:
        """Start at the first column of rows (n, k) in [0, 1)."""
        self.rows = rows
        self._used = 0

    def between(self, low: float, high: float) -> Tensor:
        """Return a uniform quantity (n, 1, 1) in [low, high)."""
        column = self.rows[:, self._used]
        self._used += 1
        return (column * (high - low) + low).view(-1, 1, 1)

    def chance(self, probability: float | Tensor) -> Tensor:
        """Return (n, 1, 1) that is one with the given probability and zero otherwise."""
        return (self.between(0, 1) < probability).float()

    def color(self, names: Sequence[str], reach: float | Tensor = 1.0) -> Tensor:
        """Return one of the hexadecimal colors, (n, 3, 1, 1) in [0, 1], among the first share `reach`."""
        table = _colors(tuple(names), self.rows.device)
        return table[self._index(len(names), reach)].view(-1, 3, 1, 1)

    def record(self, records: Sequence[Any]) -> dict[str, Tensor]:
        """Return the fields of one of the dataclass records: numbers as (n, 1, 1), colors as (n, 3, 1, 1)."""
        table, index = _table(tuple(records), self.rows.device), self._index(len(records))
        return {
            name: column[index].view((-1, 3, 1, 1) if column.ndim == 2 else (-1, 1, 1))
            for name, column in table.items()
        }

    def _index(self, count: int, reach: float | Tensor = 1.0) -> Tensor:
        return (self.between(0, count) * reach).long().clamp(max=count - 1).flatten()


@dataclass(frozen=True)
class Drawings(ABC):
    """An endless set of drawn pictures, `size` pixels wide and high, rendered on `device`."""

    size: int = 64
    device: torch.device | str = "cpu"
    numbers: ClassVar[int] = 64
    """How many uniform numbers a picture is made from; a few are spare."""

    def __call__(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n new pictures, float32 (n, 3, size, size) in [-1, 1]."""
        home = self.device if generator is None else generator.device
        rows = torch.rand((n, self.numbers), generator=generator, dtype=torch.float32, device=home)
        return self.paint(rows.to(self.device))

    @torch.no_grad()
    def paint(self, rows: Tensor) -> Tensor:
        """Return the pictures that rows (n, numbers) in [0, 1) stand for, each from its own row alone."""
        return self.render(Draws(rows)).mul_(2).sub_(1).clamp_(-1, 1)

    @abstractmethod
    def render(self, draws: Draws) -> Tensor:
        """Return pictures (n, 3, size, size) in [0, 1] of the quantities drawn."""


@cache
def _colors(names: tuple[str, ...], device: torch.device) -> Tensor:
    """Return hexadecimal colors such as "#ffcc00" as a table (colors, 3) in [0, 1]."""
    parts = [[part / 255 for part in bytes.fromhex(name[1:])] for name in names]
    return torch.tensor(parts, dtype=torch.float32, device=device)


@cache
def _table(records: tuple[Any, ...], device: torch.device) -> dict[str, Tensor]:
    """Return each field of dataclass records as one column: (records,) of numbers, (records, 3) of colors."""
    table = {}
    for field in fields(records[0]):
        column = tuple(getattr(record, field.name) for record in records)
        if isinstance(column[0], str):
            table[field.name] = _colors(column, device)
        else:
            table[field.name] = torch.tensor(column, dtype=torch.float32, device=device)
    return table
