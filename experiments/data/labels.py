"""Class labels of pictures: from the folders that hold them, from a torchvision set, or from a CSV file.

`folders`    the name of the folder that holds a picture; for a set of torchvision or `datasets`, its own
FILE.csv     lines of name and label; the name is the path in the folder or zip, or the file name alone. A first line
             that names no picture is taken as a heading.

Classes are numbered 0, 1, ... in the order of their names, or of their numbers if all names are integers.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from degrade.command_line import UsageError
from experiments.data.decoding import Entry

__all__ = ["class_names", "read_labels", "to_numbers"]


def read_labels(entries: Sequence[Entry], source: str, root: str) -> list[str]:
    """Return the label of each picture.

    Args:
        entries: the pictures.
        source: `folders`, or the path of a CSV file.
        root: the folder or zip that holds the pictures, as it was named.

    Raises:
        UsageError: for a file that cannot be read, or pictures without a label.
    """
    if source == "folders":
        return [getattr(read, "label", None) or PurePosixPath(name).parent.name for name, read in entries]
    known = _read(Path(source))
    names = [name.removeprefix(root.rstrip("/")).lstrip("/") for name, _ in entries]
    found = [known.get(name, known.get(PurePosixPath(name).name)) for name in names]
    without = [name for name, label in zip(names, found, strict=True) if label is None]
    if without:
        raise UsageError(
            f"--labels {source}: {len(without)} of {len(names)} images have no label, such as {without[0]}"
        )
    return [label for label in found if label is not None]


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--labels {path} cannot be read ({error}); give folders, or a CSV of name,label") from None
    short = [i for i, row in enumerate(rows, 1) if len(row) < 2]
    if short:
        raise UsageError(f"--labels {path}: line {short[0]} has one field; it needs two, name,label")
    return {row[0].strip(): row[1].strip() for row in rows}


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the classes in the order of their numbers.

    >>> class_names(["10", "9", "10"]), class_names(["dog", "cat"])
    (('9', '10'), ('cat', 'dog'))
    """
    names = set(labels)
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def to_numbers(labels: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Return the numbers (N,) int64 of labels among the classes.

    Raises:
        UsageError: for a label that is no class, as one that only held-out images have.

    >>> to_numbers(["b", "a"], ("a", "b"))
    tensor([1, 0])
    """
    numbers = {name: i for i, name in enumerate(classes)}
    unknown = sorted(set(labels) - set(numbers))
    if unknown:
        raise UsageError(f"--labels: no training image is of class {unknown[0]}, and a held-out image is")
    return torch.tensor([numbers[label] for label in labels])
