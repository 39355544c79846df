"""Constants with one row per severity level, read at a batch of levels.

A degradation of T levels owns tables of T + 1 rows, row 0 being the clean image. They are computed once on the CPU in
float64 and converted once for every device and precision they meet, so that reading a level never waits for the host.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Readable", "Tables", "compute_dtype"]


class Readable(Protocol):
    """What a degradation keeps as its `tables`."""

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Return the entries at levels `t` (B,), on the device and in the compute precision of `like`."""


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which images of `dtype` are degraded: at least float32.

    >>> compute_dtype(torch.bfloat16), compute_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


class Tables:
    """Float64 tables with a common number of rows, read together.

    Args:
        *tables: tensors of shape (T + 1, ...).

    Raises:
        ValueError: if the tables do not have the same number of rows.

    >>> fade = Tables(torch.linspace(1, 0, 5))
    >>> (keep,) = fade.at(torch.tensor([0, 4]), like=torch.zeros(2, 3, 8, 8))
    >>> keep.shape, keep.flatten().tolist()
    (torch.Size([2, 1, 1, 1]), [1.0, 0.0])
    """

    def __init__(self, *tables: Tensor) -> None:
        rows = {len(table) for table in tables}
        if len(rows) != 1:
            raise ValueError(f"the tables have {sorted(rows)} rows; they need one and the same number, T + 1")
        self.tables = tuple(table.detach().to("cpu", torch.float64) for table in tables)
        self._converted: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def like(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the whole tables on the device of `x` and in its compute precision."""
        key = (x.device, compute_dtype(x.dtype))
        if key not in self._converted:
            # The precision changes first: not every device knows float64.
            self._converted[key] = tuple(table.to(key[1]).to(key[0]) for table in self.tables)
        return self._converted[key]

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Return row t[i] of every table for image i.

        Args:
            t: (B,) int64 levels in 0..T.
            like: the images, for their device and precision.

        Returns:
            One tensor per table: (B, 1, 1, 1) for a table of scalars, (B, *row) for a table of rows.
        """
        rows = (table[t] for table in self.like(like))
        return tuple(row.view(-1, 1, 1, 1) if row.ndim == 1 else row for row in rows)
