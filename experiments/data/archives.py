"""Where pictures come from: a folder, a zip or a set of torchvision, and which of them are held out.

A source of pictures is split in two, for training and for measuring. Torchvision's sets come in two parts. Of a folder
or zip the top level decides, and no folder further down: if it has a folder called train (or training) and one called
test (or val, valid, validation), in any case of letters, these are the two parts, and what lies beside them is left
out. Otherwise one picture in eight, at least one, is held out; a single picture serves both. The top level lies in the
innermost folder that holds all pictures, so that a zip of one folder is split like the folder itself.

What is left out is named and counted on standard error; see `experiments.data.listing` for what is no picture.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from degrade.command_line import UsageError
from degrade.random import seeded_generator
from experiments.data.constants import TORCHVISION
from experiments.data.decoding import Entry
from experiments.data.formats import readable_suffixes
from experiments.data.listing import Listing, Picture, list_pictures
from experiments.data.matching import matched

__all__ = ["Split", "from_path", "from_torchvision", "held_out", "one_in_eight"]

COMMON = {".png", ".jpg", ".webp", ".tif"}  # named where nothing was found
TRAINING, HELD_OUT = {"train", "training"}, {"test", "val", "valid", "validation"}


class Split(NamedTuple):
    """Pictures to train on, and others to measure on."""

    training: list[Entry]
    validation: list[Entry]


def from_path(path: Path, seed: int, option: str, second: Path | None = None, values: bool = False) -> Split:
    """Return the pictures of a folder (searched recursively) or a zip.

    Args:
        path: path of the folder or zip.
        seed: seed of the order of what is held out, and of its choice where the paths do not say it.
        option: the option that named the path, for messages.
        second: folder or zip of second pictures, matched by name; an entry then opens both, as a tuple.
        values: whether files are read as values of any type; see `experiments.data.formats`.

    Raises:
        UsageError: if there is nothing to read, or no name is in both places.
    """
    listing, parts = _listed(path, option, second, values)
    if parts is not None:
        # By name they come class by class; the first few shall be a fair choice of all.
        return Split(parts.training, _shuffled(parts.validation, seed))
    entries = [picture.entry for picture in listing.pictures]
    if len(entries) == 1:
        return Split(entries, entries)
    return one_in_eight(entries, seed)


def _listed(path: Path, option: str, second: Path | None, values: bool) -> tuple[Listing, Split | None]:
    """Return what lies in a folder or zip, and the two parts that its top level names; say what is left out."""
    listing = list_pictures(path, option, values)
    if second is not None:
        listing = matched((path, listing), (second, list_pictures(second, option, values)), option)
    if not listing.pictures:
        found = "; ".join(listing.remarks()) or "it is empty"
        known = ", ".join(sorted(readable_suffixes() & COMMON))
        raise UsageError(f"{option} {path} holds no images ({found}); name a folder or zip of images, such as {known}")
    parts = _parts(listing)
    for line in listing.remarks():
        print(f"{option} {path}: {line}", file=sys.stderr)
    return listing, parts


def held_out(path: Path, option: str, second: Path | None = None) -> list[Entry]:
    """Return the pictures of a folder or zip that are measured on, by name: those held out by its folders, or all.

    Args:
        path: path of the folder (searched recursively) or zip.
        option: the option that named the path, for messages.
        second: folder or zip of second pictures, as in `from_path`.

    Raises:
        UsageError: if there is nothing to read, or no name is in both places.
    """
    listing, parts = _listed(path, option, second, values=False)
    return [picture.entry for picture in listing.pictures] if parts is None else parts.validation


def _parts(listing: Listing) -> Split | None:
    """Return the two parts that the top level names, noting what lies beside them as left out; None without both."""
    pictures, named = listing.pictures, TRAINING | HELD_OUT
    level = 0
    while (name := _shared(pictures, level)) is not None and name not in named:
        level += 1
    found = {_folder(picture, level) for picture in pictures}
    if not (found & TRAINING and found & HELD_OUT):
        return None
    split = Split([], [])
    for picture in pictures:
        folder = _folder(picture, level)
        if folder in named:
            (split.training if folder in TRAINING else split.validation).append(picture.entry)
        else:
            listing.leave_out("images beside the folders of training and test images", "/".join(picture.parts))
    return split


def _folder(picture: Picture, level: int) -> str | None:
    """Return the folder that holds the picture at a level, in small letters; None if the picture itself is there."""
    return picture.parts[level].lower() if level < len(picture.parts) - 1 else None


def _shared(pictures: list[Picture], level: int) -> str | None:
    """Return the one folder at a level that holds all pictures, if there is one."""
    names = {picture.parts[level] if level < len(picture.parts) - 1 else None for picture in pictures}
    return (names.pop() or "").lower() or None if len(names) == 1 else None


def from_torchvision(name: str, root: Path, download: bool, option: str) -> Split:
    """Return the pictures of a set of torchvision, in `root` or fetched into it.

    Raises:
        UsageError: if it is not there, or cannot be fetched.
    """
    import torchvision  # slow to import

    kind, parts = TORCHVISION[name]
    found: list[list[Entry]] = []
    for end, part in zip(("train", "test"), parts, strict=True):
        try:
            dataset = getattr(torchvision.datasets, kind)(root, download=download, **part)
        except Exception as error:  # whatever its downloader raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            advice = "fetch it by hand and name its folder or zip" if download else "add --download to fetch it"
            raise UsageError(f"{option} {name}: torchvision has no {kind} in {root} ({reason}); {advice}") from None
        items = [_Item(dataset, i) for i in range(len(dataset))]
        found.append([(f"{name}/{end}[{i}]", item) for i, item in enumerate(items)])
    return Split(*found)


@dataclass(frozen=True)
class _Item:
    """Opens a picture of a torchvision set, and knows its label."""

    dataset: Any
    number: int

    def __call__(self) -> Image.Image:
        picture: Image.Image = self.dataset[self.number][0]
        return picture

    @property
    def label(self) -> str:
        """The label in the set."""
        return str(self.dataset[self.number][1])


def one_in_eight(entries: list[Entry], seed: int) -> Split:
    """Return pictures in random order, one in eight of them, at least one, held out."""
    shuffled, validation = _shuffled(entries, seed), max(1, len(entries) // 8)
    return Split(shuffled[validation:], shuffled[:validation])


def _shuffled(entries: list[Entry], seed: int) -> list[Entry]:
    order = torch.randperm(len(entries), generator=seeded_generator("cpu", seed, "held out"))
    return [entries[i] for i in order.tolist()]
