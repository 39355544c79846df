"""Data sets of the library `datasets`: pictures, parts and labels, in memory and through a store."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from degrade.command_line import UsageError, validated
from experiments import store as program
from experiments.data.datasets import load_data, load_examples
from experiments.data.options import ExampleOptions
from restore.data_order import MapDataset

datasets = pytest.importorskip("datasets")

CPU = torch.device("cpu")
FEATURES = {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])}


def options(**values):
    return validated(ExampleOptions, {"oversize": 1.0, "flip": False, **values})


def rows(n, first=0):
    """Pictures of one gray value each, and their classes."""
    pictures = [Image.new("L", (12, 10), first + i) for i in range(n)]
    return datasets.Dataset.from_dict(
        {"photo": pictures, "kind": [i % 2 for i in range(n)]}, features=datasets.Features(FEATURES)
    )


def values(x):
    return ((x.amax((1, 2, 3)) + 1) * 127.5).round().int().tolist()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    rows(16).save_to_disk(folder / "one")
    datasets.DatasetDict({"test": rows(4, 100), "train": rows(10)}).save_to_disk(folder / "two")
    return folder


def test_parts_and_labels_are_those_of_the_set(saved):
    data = load_examples(options(data=f"hf:{saved / 'two'}", labels="folders"), 8, 0, CPU)
    assert data.classes == ("cat", "dog")
    assert (data.channels, len(data.training), len(data.validation)) == (1, 10, 4)
    for part, first in ((data.training, 0), (data.validation, 100)):
        x, cond = part.at(torch.arange(len(part)))
        assert x.shape[1:] == (1, 8, 8)
        assert values(x) == [first + i for i in range(len(part))]
        assert cond["label"].tolist() == [i % 2 for i in range(len(part))]


def test_it_is_read_like_any_other_data_and_one_in_eight_is_held_out(saved):
    first, again = (load_data(options(), 8, 0, CPU, f"hf:{saved / 'one'}", "--data") for _ in range(2))
    assert isinstance(first.training, MapDataset)
    assert first.training(3, torch.Generator().manual_seed(0)).shape == (3, 1, 8, 8)
    seen, unseen = (set(values(part.at(torch.arange(len(part))))) for part in (first.training, first.validation))
    assert (len(seen), len(unseen), seen | unseen) == (14, 2, set(range(16)))
    assert first.spec == again.spec
    assert first.spec.sha256 != load_data(options(), 8, 1, CPU, f"hf:{saved / 'one'}", "--data").spec.sha256


def test_a_store_is_written_of_it(saved, tmp_path):
    assert program.main([f"hf:{saved / 'two'}", str(tmp_path / "store"), "--size", "8", "--oversize", "1"]) == 0
    data = load_examples(options(data=str(tmp_path / "store"), labels="folders"), 8, 0, CPU)
    x, cond = data.training.at(torch.arange(len(data.training)))
    assert len(data.training) + len(data.validation) == 14
    assert cond["label"].tolist() == [value % 2 for value in values(x)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"label": [1, 2]}, r"0 of its columns \(label\) are of type Image"),
        ({"a": [np.zeros((2, 2), np.uint8)], "b": [np.zeros((2, 2), np.uint8)]}, r"2 of its columns \(a, b\)"),
    ],
)
def test_a_set_without_one_column_of_pictures_is_refused(made, message, tmp_path):
    kinds = {name: datasets.Image() if name != "label" else datasets.Value("int64") for name in made}
    datasets.Dataset.from_dict(made, features=datasets.Features(kinds)).save_to_disk(tmp_path / "set")
    with pytest.raises(UsageError, match=message):
        load_data(options(), 8, 0, CPU, f"hf:{tmp_path / 'set'}", "--data")


def test_what_cannot_be_loaded_is_one_line(saved, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"--data hf:.*: Directory") as error:
        load_data(options(), 8, 0, CPU, f"hf:{tmp_path}", "--data")
    assert "\n" not in str(error.value)
    datasets.DatasetDict({"test": rows(4)}).save_to_disk(tmp_path / "tests")
    with pytest.raises(UsageError, match="it has the parts test, and none of them is called train"):
        load_data(options(), 8, 0, CPU, f"hf:{tmp_path / 'tests'}", "--data")
    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "datasets")

    def missing(name, *more):
        if name == "datasets":
            raise ImportError("No module named 'datasets'")
        return real(name, *more)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(UsageError, match=r"--data hf:one needs datasets: pip install 'degrade-restore\[datasets\]'"):
        load_data(options(), 8, 0, CPU, "hf:one", "--data")
