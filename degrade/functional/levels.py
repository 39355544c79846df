"""Constants with one row per severity level, read at a batch of levels.

A degradation of T levels owns tables of T + 1 rows, row 0 being the clean image. They are computed once on the CPU in
float64 and converted once for every device and precision they meet, so that reading a level never waits for the host.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

__all__ = ["LevelLookup", "LevelTables", "SizedLevelTables", "compute_dtype", "per_level"]


class LevelLookup(Protocol):
    """What a degradation keeps as its `tables`."""

    def gather(self, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Return the entries at levels `t` (B,), on the device and in the compute precision of `like`."""


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which images of `dtype` are degraded: at least float32.

    >>> compute_dtype(torch.bfloat16), compute_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def per_level(name: str, values: Sequence[float], T: int) -> Tensor:
    """Return the values of the argument `name`, which lists one per level, as (T,) float64.

    Raises:
        ValueError: if there are not T of them.
    """
    if len(values) != T:
        raise ValueError(f"{name} lists {len(values)} values; T = {T} needs {T}, one for each level from 1 to T")
    return torch.tensor(values, dtype=torch.float64)


Converted = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # tables, constants
MAX_CACHED_BYTES = 128 * 2**20  # bytes that the tables of one degradation for images of different sizes may take
F = TypeVar("F", bound=Callable[..., Any])


def _cached_constant(function: F) -> F:
    """Mark a method whose tensors are kept: they must not depend on the mode of the first call.

    torch.compile calls it as it traces and takes the result for a constant.
    """

    @functools.wraps(function)
    def outside(*args: Any) -> Any:
        with _eager():
            return function(*args)

    # What torch.compiler.assume_constant_result sets; calling that would import the compiler, a second and 150 MB.
    outside._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return cast(F, outside)


@contextmanager
def _eager() -> Iterator[None]:
    """Compute real tensors, whatever is going on around: inference, torch.export, torch.func.grad or vmap."""
    with torch.inference_mode(False), temporarily_clear_interpreter_stack():
        if _get_current_dispatch_mode() is None:  # the usual case; the other one imports much
            yield
        else:
            with _disable_current_modes():
                yield


class LevelTables:
    """Float64 tables with a common number of rows, read together, and constants that no level changes.

    Args:
        *tables: tensors of shape (T + 1, ...).
        constants: tensors of any shape.

    Raises:
        ValueError: if the tables do not have the same number of rows.

    >>> fade = LevelTables(torch.linspace(1, 0, 5))
    >>> (keep,) = fade.gather(torch.tensor([0, 4]), like=torch.zeros(2, 3, 8, 8))
    >>> keep.shape, keep.flatten().tolist()
    (torch.Size([2, 1, 1, 1]), [1.0, 0.0])
    """

    def __init__(self, *tables: Tensor, constants: tuple[Tensor, ...] = ()) -> None:
        rows = {len(table) for table in tables}
        if len(rows) != 1:
            raise ValueError(f"the tables have {sorted(rows)} rows; they need one and the same number, T + 1")
        self.tables = tuple(table.detach().to("cpu", torch.float64) for table in tables)
        self.constants = tuple(constant.detach().to("cpu", torch.float64) for constant in constants)
        self._converted: dict[tuple[torch.device, torch.dtype], Converted] = {}

    @_cached_constant
    def convert(self, device: torch.device, dtype: torch.dtype) -> Converted:
        """Return all tables, and all constants, on `device` in `dtype`."""
        key = (device, dtype)
        if key not in self._converted:
            # The precision changes first: not every device knows float64.
            groups = (self.tables, self.constants)
            tables, constants = (tuple(tensor.to(dtype).to(device) for tensor in group) for group in groups)
            self._converted[key] = tables, constants
        return self._converted[key]

    def gather(self, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Return row t[i] of every table for image i.

        Args:
            t: (B,) int64 levels in 0..T.
            like: the images, for their device and precision.

        Returns:
            One tensor per table: (B, 1, 1, 1) for a table of scalars, (B, *row) for a table of rows.
        """
        tables, _ = self.convert(like.device, compute_dtype(like.dtype))
        return _rows(tables, t)


class SizedLevelTables:
    """Tables that depend on the size and the precision of the image, built when one of a new size is first met.

    They are kept for the next image of that size; the least recently used are dropped when all of them together take
    more than `MAX_CACHED_BYTES` bytes.

    Args:
        build: returns the tables for (height, width, compute precision).

    >>> ones = SizedLevelTables(lambda height, width, dtype: LevelTables(torch.ones(3, height)))
    >>> ones.gather(torch.tensor([2]), like=torch.zeros(1, 3, 8, 6))[0].shape
    torch.Size([1, 8])
    """

    def __init__(self, build: Callable[[int, int, torch.dtype], LevelTables]) -> None:
        self.build = build
        self._kept: dict[tuple[int, int, torch.device, torch.dtype], Converted] = {}  # the last used at the end

    @_cached_constant
    def _convert(self, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Converted:
        key = (height, width, device, dtype)
        converted = self._kept.pop(key, None)
        if converted is not None:
            self._kept[key] = converted
            return converted
        # In the one precision that is asked for: the float64 originals would take twice as much again.
        self._kept[key] = converted = self.build(height, width, dtype).convert(device, dtype)
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > MAX_CACHED_BYTES:
            self._kept.pop(next(iter(self._kept)))
        return converted

    def convert_for(self, like: Tensor) -> Converted:
        """Return all tables, and all constants, for images like these."""
        height, width = map(operator.index, like.shape[-2:])  # a compiled graph holds for one size
        return self._convert(height, width, like.device, compute_dtype(like.dtype))

    def gather(self, t: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Return row t[i] of every table for image i, as `LevelTables.gather` does."""
        tables, _ = self.convert_for(like)
        return _rows(tables, t)

    def constants(self, like: Tensor) -> tuple[Tensor, ...]:
        """Return the constants for images like these."""
        _, constants = self.convert_for(like)
        return constants


def _size(converted: Converted) -> int:
    """Return how many bytes tables and constants take."""
    return sum(tensor.nbytes for group in converted for tensor in group)


def _rows(tables: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
    rows = (table[t] for table in tables)
    return tuple(row.view(-1, 1, 1, 1) if row.ndim == 1 else row for row in rows)
