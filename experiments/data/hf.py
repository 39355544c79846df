"""Data sets of the library `datasets`, as pictures with labels: `--data hf:NAME_OR_FOLDER`.

A folder is one that `save_to_disk` has written; any other name is given to `load_dataset`, which may fetch it. The
pictures are those of the column of type Image; the labels, for `--labels folders`, those of the column of type
ClassLabel, by name, or of the column `label`. Parts called train and test are the two parts of the data, as the folders
of these names are; otherwise one picture in eight is held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from degrade.command_line import UsageError
from degrade.optional import require
from experiments.data.archives import HELD_OUT, TRAINING, Split, one_in_eight
from experiments.data.decoding import Entry

__all__ = ["PREFIX", "from_datasets"]

PREFIX = "hf:"


@dataclass(frozen=True)
class _Row:
    """Opens the picture of a row."""

    pictures: Any
    column: str
    number: int

    def __call__(self) -> Any:
        return self.pictures[self.number][self.column]


@dataclass(frozen=True)
class _LabeledRow(_Row):
    """Opens the picture of a row, and knows its label."""

    label: str


def from_datasets(name: str, seed: int, option: str) -> Split:
    """Return the pictures of a data set, for training and for measuring.

    Args:
        name: `hf:` and the folder or the name of the set.
        seed: seed of the choice of what is held out.
        option: the option that named it, for messages.

    Raises:
        UsageError: if the library is missing, there is no such set, or it has no column of pictures.
    """
    place = name.removeprefix(PREFIX)
    try:
        library = require("datasets", f"{option} {name}", extra="datasets")
        found = library.load_from_disk(place) if Path(place).exists() else library.load_dataset(place)
    except Exception as error:  # whatever the library raises for a set that it cannot find or read
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(reason if isinstance(error, ImportError) else f"{option} {name}: {reason}") from None
    parts = dict(found) if hasattr(found, "keys") else {"train": found}
    chosen = [next((part for part in parts if part.lower() in names), None) for names in (TRAINING, HELD_OUT)]
    if chosen[0] is None:
        raise UsageError(f"{option} {name}: it has the parts {', '.join(parts)}, and none of them is called train")
    entries = [_entries(library, parts[part], f"{name}/{part}", option) for part in chosen if part is not None]
    return one_in_eight(entries[0], seed) if len(entries) == 1 else Split(*entries)


def _entries(library: Any, part: Any, name: str, option: str) -> list[Entry]:
    """Return the pictures of a part, in the order of its rows."""
    kinds = part.features
    columns = [column for column, kind in kinds.items() if isinstance(kind, library.Image)]
    if len(columns) != 1:
        raise UsageError(
            f"{option} {name}: {len(columns)} of its columns ({', '.join(kinds)}) are of type Image; select or cast one"
        )
    pictures = part.select_columns(columns)
    classes = [column for column, kind in kinds.items() if isinstance(kind, library.ClassLabel)]
    column = next(iter([*classes, *({"label"} & kinds.keys())]), None)
    if column is None:
        return [(f"{name}[{i}]", _Row(pictures, columns[0], i)) for i in range(len(part))]
    values, named = part[column][:], isinstance(kinds[column], library.ClassLabel)
    labels = [kinds[column].int2str(value) if named else str(value) for value in values]
    return [(f"{name}[{i}]", _LabeledRow(pictures, columns[0], i, label)) for i, label in enumerate(labels)]
