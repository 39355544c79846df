"""What lies in a folder or a zip: the pictures, each of them once, and what is left out, by name and number.

* A picture is a file whose suffix belongs to a format that is read here (`experiments.data.formats`).
* Links to folders and files are followed. A folder or file that several ways lead to is taken once, under its own
  path if it lies in the searched folder; so a link that leads back to a folder above it ends there.
* Files and folders whose name begins with a dot are left out, and the folder `__MACOSX` that macOS adds to a zip.
* Of entries of a zip with one name the last counts, as when it is unpacked. Entries named with backslashes, as some
  Windows programs write them, lie in folders like all others.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from degrade.command_line import UsageError
from experiments.data.decoding import Entry
from experiments.data.formats import ARRAYS, open_picture, open_values, readable_suffixes

__all__ = ["Listing", "Picture", "list_pictures"]

Read = Callable[[bytes, str], Any]  # (content of a file, its name) -> the picture


class Picture(NamedTuple):
    """A picture: the names of the folders that lead to it and its own, and what opens it."""

    parts: tuple[str, ...]
    entry: Entry


class Listing(NamedTuple):
    """The pictures of a folder or zip in the order of their names, and per reason the names of what is left out.

    Args:
        pictures: each once.
        left_out: names by reason.
        values: whether files are read as values of any type, with the formats of arrays, or as pictures of 8 bits.
    """

    pictures: list[Picture]
    left_out: dict[str, list[str]]
    values: bool = False

    @property
    def read(self) -> Read:
        """What reads the content of a file."""
        return open_values if self.values else open_picture

    @property
    def suffixes(self) -> frozenset[str]:
        """The suffixes of files that are read."""
        return readable_suffixes() | ARRAYS if self.values else readable_suffixes()

    def remarks(self) -> Iterator[str]:
        """Yield one line for each reason to leave something out, with the number and the first of the names."""
        for reason, names in sorted(self.left_out.items()):
            yield f"left out {len(names)} {reason} (such as {min(names)})"

    def leave_out(self, reason: str, name: str) -> None:
        """Note that `name` is left out."""
        self.left_out.setdefault(reason, []).append(name)


def list_pictures(path: Path, option: str, values: bool = False) -> Listing:
    """Return what lies in a folder (searched recursively) or a zip.

    Args:
        path: path of the folder or zip.
        option: the option that named the path, for messages.
        values: whether files are read as values of any type.

    Raises:
        UsageError: if the path is neither.
    """
    listing = Listing([], {}, values)
    if path.is_dir():
        _search(path, listing)
    elif zipfile.is_zipfile(path):
        _read_index(path, listing)
    elif path.exists():
        raise UsageError(f"{option} {path} is neither a folder nor a zip; name a folder or zip of images")
    else:
        raise UsageError(f"{option} {path} does not exist; name a folder or zip of images")
    listing.pictures.sort(key=lambda picture: "/".join(picture.parts))
    return listing


def _search(root: Path, listing: Listing) -> None:
    """List the files under a folder: what lies there first, then what its links lead to."""
    seen: set[str] = set()  # real paths
    links = _search_real(root, (), listing, seen)
    while links:
        parts = links.pop(0)
        shown = root.joinpath(*parts)
        target = os.path.realpath(shown)
        if target in seen:
            listing.leave_out("links to what is used already", "/".join(parts))
        elif os.path.isdir(target):
            links += _search_real(root, parts, listing, seen)
        elif os.path.isfile(target):
            seen.add(target)
            _take(listing, parts, (str(shown), partial(_opened, shown, listing.read)))
        else:
            listing.leave_out("links that lead nowhere", "/".join(parts))


def _search_real(root: Path, start: tuple[str, ...], listing: Listing, seen: set[str]) -> list[tuple[str, ...]]:
    """List the files under the folder `start` of `root` without following links; return the links."""
    links, waiting = [], [(start, os.path.realpath(root.joinpath(*start)))]
    while waiting:
        above, folder = waiting.pop()
        if folder in seen:  # a link has led here
            listing.leave_out("folders that a link has led to", "/".join(above))
            continue
        seen.add(folder)
        try:
            files = sorted(os.scandir(folder), key=lambda file: file.name)
        except OSError as error:
            listing.leave_out(f"folders that cannot be read ({error.strerror})", "/".join(above) or ".")
            continue
        for file in files:
            parts = (*above, file.name)
            if file.name.startswith("."):
                if file.is_dir() or _is_picture(file.name, listing):
                    listing.leave_out("hidden files or folders", "/".join(parts))
            elif file.is_symlink():
                links.append(parts)
            elif file.is_dir():
                waiting.append((parts, file.path))
            elif file.is_file() and file.path not in seen:
                seen.add(file.path)
                shown = root.joinpath(*parts)
                _take(listing, parts, (str(shown), partial(_opened, shown, listing.read)))
    return links


def _read_index(path: Path, listing: Listing) -> None:
    """List the entries of a zip."""
    archive = zipfile.ZipFile(path)
    last: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        parts = tuple(part for part in PurePosixPath(name).parts if part != ".")
        if name.endswith("/") or not parts:
            continue
        if any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in parts):
            listing.leave_out("hidden files or folders", name)
            continue
        if parts in last:
            listing.leave_out("earlier entries of the same name", name)
        last[parts] = info
    for parts, info in last.items():
        _take(listing, parts, (f"{path}/{'/'.join(parts)}", partial(_unpacked, archive, info, listing.read)))


def _take(listing: Listing, parts: tuple[str, ...], entry: Entry) -> None:
    if _is_picture(parts[-1], listing):
        listing.pictures.append(Picture(parts, entry))
    else:
        suffix = PurePosixPath(parts[-1]).suffix.lower()
        kind = f"{suffix} files" if suffix else "files without a suffix"
        why = "are read with --value-range alone" if suffix in ARRAYS else "Pillow does not read here"
        listing.leave_out(f"{kind}, which {why}", "/".join(parts))


def _is_picture(name: str, listing: Listing) -> bool:
    return PurePosixPath(name).suffix.lower() in listing.suffixes


def _opened(file: Path, read: Read) -> Any:
    return read(file.read_bytes(), file.name)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, read: Read) -> Any:
    return read(archive.read(info), info.filename)
