"""Where pictures come from: a folder, a zip or a set of torchvision, and which of them are held out.

A source of pictures is split in two, for training and for measuring. It says so itself where its paths lead through a
folder called train and one called test (or val, valid, validation), or where torchvision has two parts; otherwise one
picture in eight, at least one, is held out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import torch
from PIL import Image

from degrade.keyed import keyed
from experiments.cli import UserError
from experiments.images import Entry

__all__ = ["TORCHVISION", "Pictures", "from_path", "from_torchvision"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
TRAINING, HELD_OUT = {"train", "training"}, {"test", "val", "valid", "validation"}

# Name on the command line -> class in torchvision.datasets, and how that class is asked for its two parts.
TRAIN_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})
SPLIT_NAME: tuple[dict[str, Any], dict[str, Any]] = ({"split": "train"}, {"split": "test"})
TORCHVISION = {
    "mnist": ("MNIST", TRAIN_FLAG),
    "fashion_mnist": ("FashionMNIST", TRAIN_FLAG),
    "kmnist": ("KMNIST", TRAIN_FLAG),
    "cifar10": ("CIFAR10", TRAIN_FLAG),
    "cifar100": ("CIFAR100", TRAIN_FLAG),
    "celeba": ("CelebA", SPLIT_NAME),
    "svhn": ("SVHN", SPLIT_NAME),
    "stl10": ("STL10", SPLIT_NAME),
    "flowers102": ("Flowers102", SPLIT_NAME),
}


class Pictures(NamedTuple):
    """Pictures to train on, and others to measure on."""

    training: list[Entry]
    held_out: list[Entry]


def from_path(path: Path, seed: int, option: str) -> Pictures:
    """Return the pictures of a folder (searched recursively) or a zip.

    Args:
        path: of the folder or zip.
        seed: of the order of what is held out, and of its choice where the paths do not say it.
        option: the option that named the path, for messages.

    Raises:
        UserError: if there is nothing to read.
    """
    entries = sorted(_entries(path, option), key=lambda entry: entry[0])
    if not entries:
        raise UserError(
            f"{option} {path} holds no images ({', '.join(sorted(SUFFIXES))}); name a folder or zip of images"
        )
    training, held_out = ([e for e in entries if _parts(e, path) & names] for names in (TRAINING, HELD_OUT))
    if training and held_out:
        # By name they come class by class; the first few shall be a fair choice of all.
        return Pictures(training, _shuffled(held_out, seed))
    return _one_in_eight(entries, seed)


def from_torchvision(name: str, root: Path, download: bool, option: str) -> Pictures:
    """Return the pictures of a set of torchvision, in `root` or fetched into it.

    Raises:
        UserError: if it is not there, or cannot be fetched.
    """
    import torchvision  # slow to import

    kind, parts = TORCHVISION[name]
    found: list[list[Entry]] = []
    for part in parts:
        try:
            dataset = getattr(torchvision.datasets, kind)(root, download=download, **part)
        except Exception as error:  # whatever its downloader raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            advice = "fetch it by hand and name its folder or zip" if download else "add --download to fetch it"
            raise UserError(f"{option} {name}: torchvision has no {kind} in {root} ({reason}); {advice}") from None
        found.append([(f"{name}[{i}]", partial(_item, dataset, i)) for i in range(len(dataset))])
    return Pictures(*found)


def _item(dataset: Any, i: int) -> Image.Image:
    picture: Image.Image = dataset[i][0]
    return picture


def _one_in_eight(entries: list[Entry], seed: int) -> Pictures:
    if len(entries) == 1:
        return Pictures(entries, entries)
    shuffled, held_out = _shuffled(entries, seed), max(1, len(entries) // 8)
    return Pictures(shuffled[held_out:], shuffled[:held_out])


def _shuffled(entries: list[Entry], seed: int) -> list[Entry]:
    order = torch.randperm(len(entries), generator=keyed("cpu", seed, "held out"))
    return [entries[i] for i in order.tolist()]


def _parts(entry: Entry, path: Path) -> set[str]:
    """Return the names of the folders that lead from `path` to the picture."""
    return set(PurePath(entry[0].lower()).relative_to(str(path).lower()).parts[:-1])


def _entries(path: Path, option: str) -> Iterator[Entry]:
    if path.is_dir():
        for file in path.rglob("*"):
            if _is_image(file.name) and file.is_file():
                yield str(file), partial(_opened, file)
    elif zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        for name in archive.namelist():
            if _is_image(PurePath(name).name):
                yield f"{path}/{name}", partial(_unpacked, archive, name)
    elif path.exists():
        raise UserError(f"{option} {path} is neither a folder nor a zip; name a folder or zip of images")
    else:
        raise UserError(f"{option} {path} does not exist; name a folder or zip of images")


def _is_image(name: str) -> bool:
    return PurePath(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _opened(file: Path) -> Image.Image:
    return _unpacked_bytes(file.read_bytes())


def _unpacked(archive: zipfile.ZipFile, name: str) -> Image.Image:
    return _unpacked_bytes(archive.read(name))


def _unpacked_bytes(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture
