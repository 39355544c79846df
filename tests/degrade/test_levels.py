"""Tables: rows of one number, read level by level."""

from __future__ import annotations

import itertools

import pytest
import torch

import degrade
from degrade.functional import levels as module
from degrade.functional.levels import LevelTables, SizedLevelTables, compute_dtype


def test_tables_need_a_common_number_of_rows():
    with pytest.raises(ValueError, match=r"the tables have \[2, 3\] rows; they need one and the same number, T \+ 1"):
        LevelTables(torch.zeros(2), torch.zeros(3), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"the tables have \[\] rows"):
        LevelTables()


def test_tables_give_each_image_its_row():
    scalars, rows = torch.arange(4.0), torch.arange(20.0).view(4, 5)
    t, like = torch.tensor([3, 0, 3]), torch.zeros(3, 1, 2, 2)
    one, row = LevelTables(scalars, rows).gather(t, like)
    assert one.shape == (3, 1, 1, 1)
    assert one.flatten().tolist() == [3, 0, 3]
    assert torch.equal(row, rows[t])


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [(torch.float64, torch.float64)] + [(d, torch.float32) for d in (torch.float32, torch.bfloat16, torch.float16)],
    ids=str,
)
def test_tables_are_converted_once_for_each_precision(dtype, computed):
    tables = LevelTables(torch.linspace(0, 1, 8, dtype=torch.float64), constants=(torch.full((2,), 1 / 3).double(),))
    like = torch.zeros(1, 1, 1, 1, dtype=dtype)
    assert compute_dtype(dtype) == computed
    assert tables.gather(torch.tensor([1]), like)[0].dtype == computed
    first, again = (tables.convert(torch.device("cpu"), computed) for _ in range(2))
    assert first[0][0] is again[0][0]
    assert first[1][0].dtype == computed
    assert first[0][0].tolist() == torch.linspace(0, 1, 8, dtype=torch.float64).to(computed).tolist()


def test_tables_by_size_are_built_once_for_each_size_and_precision():
    built = []

    def build(height, width, dtype):
        built.append((height, width, dtype))
        return LevelTables(torch.ones(3, height), constants=(torch.full((width,), 2.0),))

    tables, t = SizedLevelTables(build), torch.tensor([0, 2])
    for shape, dtype in itertools.product([(2, 1, 4, 6), (2, 3, 4, 6), (2, 1, 6, 4)], [torch.float32, torch.bfloat16]):
        like = torch.zeros(shape, dtype=dtype)
        assert tables.gather(t, like)[0].shape == (2, shape[2])
        assert tables.constants(like)[0].shape == (shape[3],)
    tables.gather(t, torch.zeros(2, 1, 4, 6).double())
    assert built == [(4, 6, torch.float32), (6, 4, torch.float32), (4, 6, torch.float64)]


def test_tables_by_size_are_bounded_and_the_least_recently_used_goes_first(monkeypatch):
    built = []

    def build(height, width, dtype):
        built.append(height)
        return LevelTables(torch.ones(2, height), constants=(torch.ones(height),))

    tables = SizedLevelTables(build)
    monkeypatch.setattr(
        module, "MAX_CACHED_BYTES", 4 * 3 * (10 + 20)
    )  # float32, two rows and a constant: sizes 10 and 20 fit
    for height in (10, 20, 10, 19, 10, 20, 100, 100):
        assert tables.gather(torch.tensor([1]), torch.zeros(1, 1, height, 1))[0].shape == (1, height)
    assert built == [10, 20, 19, 20, 100]  # 100 is larger than the bound, but in use


def test_pictures_of_many_sizes_take_little_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED_BYTES", 2**22)
    for name, arguments in (("blur", {}), ("mask_to_color", {}), ("pixelate", {"allow_uneven": True})):
        D = degrade.make(name, T=3, **arguments)
        for side in range(64, 320, 16):
            x0 = torch.zeros(1, 1, side, side)
            D(x0, torch.tensor([1]), D.draw(x0))
        assert sum(map(module._size, D.tables._kept.values())) <= 2**22
        assert len(D.tables._kept) >= 1
