"""Integrity: files are written together with their checksums, which are compared when the files are read.

    checksums.json    {"ema.safetensors": {"bytes": 1234, "sha256": "..."}, ...}

Contents are hashed in memory before they are written, and the list of checksums is compared byte for byte, so a change
of any bit of any file is found. This detects accidents: who changes a file on purpose can change its checksum, too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from degrade.files import replace_file
from degrade.frozen import frozen

__all__ = [
    "CHECKSUMS",
    "Checksum",
    "CorruptCheckpointError",
    "File",
    "add",
    "fsync_dir",
    "hash_tensors",
    "listed",
    "verify",
    "write",
]

CHECKSUMS = "checksums.json"
File = tuple[str, bytes | memoryview]  # name and content


class CorruptCheckpointError(ValueError):
    """What is read is not what this library wrote; the message names the file and says in what way."""


@frozen
class Checksum:
    """The size of a file and the SHA-256 of what is in it, in hexadecimal digits."""

    bytes: int
    sha256: str


_LIST = TypeAdapter(dict[str, Checksum])


def _text(checksums: Mapping[str, Checksum]) -> bytes:
    return _LIST.dump_json(dict(checksums), indent=2) + b"\n"


def write(folder: Path, files: Iterable[File]) -> None:
    """Write files and the list of their checksums into `folder`, all of it on disk when this returns.

    Args:
        folder: exists.
        files: (name, content), taken one at a time.

    Raises:
        OSError: if the disk is full or cannot be written.
    """
    checksums = {}
    for name, content in files:
        checksums[name] = Checksum(len(content), hashlib.sha256(content).hexdigest())
        _write(folder / name, content)
    _write(folder / CHECKSUMS, _text(checksums))
    fsync_dir(folder)


def add(folder: Path, name: str, content: bytes) -> None:
    """Write one more file into a folder that `write` wrote, or another content of one, with its checksum.

    Raises:
        CorruptCheckpointError: if the list of checksums cannot be read.
        OSError: if the disk is full or cannot be written.
    """
    checksums = _read_list(folder / CHECKSUMS)
    checksums[name] = Checksum(len(content), hashlib.sha256(content).hexdigest())
    replace_file(folder / name, content)
    replace_file(folder / CHECKSUMS, _text(checksums))


def listed(folder: Path, name: str) -> bool:
    """Return whether a file is among those that were written into a folder."""
    return name in _read_list(folder / CHECKSUMS)


def _write(path: Path, content: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def fsync_dir(folder: Path) -> None:
    """Wait until the names in `folder` are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_tensors(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hexadecimal digits, of a text and of tensors by name: names and values, in their order.

    >>> hash_tensors("a", {"x": torch.zeros(2)}) == hash_tensors("b", {"x": torch.zeros(2)})
    False
    """
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def verify(folder: Path, names: Iterable[str], contents: bool = True) -> None:
    """Return if the files `names` in `folder` are what was written.

    Args:
        folder: written by `write`.
        names: names of the files that must be there; other files are ignored.
        contents: whether every byte is read; otherwise only sizes are compared.

    Raises:
        CorruptCheckpointError: naming the first file that is missing, has another size, another checksum, or cannot be
            read.
    """
    checksums = _read_list(folder / CHECKSUMS)
    for name in names:
        if name not in checksums:
            raise CorruptCheckpointError(f"{CHECKSUMS} does not list {name}")
        try:
            found = (folder / name).stat().st_size
            if found != checksums[name].bytes:
                raise CorruptCheckpointError(f"{name} has {found} bytes and was written with {checksums[name].bytes}")
            if contents:
                with (folder / name).open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != checksums[name].sha256:
                        raise CorruptCheckpointError(f"{name} is not what was written: its SHA-256 is another")
        except FileNotFoundError:
            raise CorruptCheckpointError(f"{name} is missing") from None
        except OSError as error:
            raise CorruptCheckpointError(f"{name} cannot be read: {error.strerror}") from None


def _read_list(path: Path) -> dict[str, Checksum]:
    try:
        found = path.read_bytes()
        checksums = _LIST.validate_json(found)
    except FileNotFoundError:
        raise CorruptCheckpointError(f"{path.name} is missing") from None
    except OSError as error:
        raise CorruptCheckpointError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValidationError:
        raise CorruptCheckpointError(f"{path.name} is no list of checksums") from None
    if found != _text(checksums):
        raise CorruptCheckpointError(f"{path.name} is not what was written")
    return checksums
