"""Images on disk that are larger than memory: one array (N, M, M, C) in a file, and an index beside it.

    images.bin      the images one after the other, without a header: uint8, float16 or float32, little-endian
    index.json      shape, type, value range, and for each image its name and, if the set knows it, its label
    blocks.jsonl    a line {"block": b, "crc": ...} for each block of BLOCK images that is complete on disk

A program that is stopped leaves a store that lacks blocks: it is *torn*. Reading refuses it, naming how many are
missing; writing it again with the same arguments writes those alone. A picture that cannot be used is left out of the
index, and its place in the file stays empty.

Images are read with `os.preadv` into memory of their own, not through a mapping, so that the pages of the file are not
counted among those of the process. `images.bin` can still be mapped: `numpy.memmap(path, dtype, "r", shape=shape)`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from degrade.frozen import frozen
from experiments.data.images import WindowedImages
from restore.value_range import ValueRange

__all__ = ["BLOCK", "ReadableStore", "Store", "StoreIndex", "StoredImages", "is_store"]

BLOCK = 256  # images in a block
IMAGES, INDEX, BLOCKS = "images.bin", "index.json", "blocks.jsonl"
WORKERS = 4  # threads that read
AHEAD = 8  # batches that are kept at most


@frozen
class StoreIndex:
    """What a store holds.

    Args:
        shape: (N, M, M, C) of the file; N counts the places of pictures that could not be used, too.
        dtype: type of the values.
        names: name of each picture; empty for a store without names.
        labels: labels of each picture, of a set that knows them; else empty, since folders and files tell them by the
            name.
        root: the folder, zip or set that the names begin with.
        source: description of the data, compared when a store is completed.
        value_range: the values that become -1 and 1; None for 8-bit pictures.
        format: format of the store.
    """

    shape: tuple[int, int, int, int]
    dtype: Literal["uint8", "float16", "float32"] = "uint8"
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    root: str = ""
    source: str = ""
    value_range: ValueRange | None = None
    format: Annotated[int, Field(ge=1, le=1)] = 1

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.shape[0] // BLOCK)

    @property
    def image_bytes(self) -> int:
        """The bytes of one image."""
        return int(np.prod(self.shape[1:])) * np.dtype(self.dtype).itemsize


_INDEX = TypeAdapter(StoreIndex)


def is_store(path: Path) -> bool:
    """Return whether a folder is a store, complete or torn."""
    return (path / INDEX).is_file()


def write_index(folder: Path, index: StoreIndex) -> None:
    """Write the index, and the file of images at its full size, without content yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{INDEX}.new").write_bytes(_INDEX.dump_json(index))
    (folder / f"{INDEX}.new").replace(folder / INDEX)
    with (folder / IMAGES).open("ab") as file:
        file.truncate(index.shape[0] * index.image_bytes)


def read_index(folder: Path) -> StoreIndex:
    """Return the index of a store.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    try:
        return _INDEX.validate_json((folder / INDEX).read_bytes())
    except OSError as error:
        raise ValueError(f"{folder} is no store of images: {INDEX} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise ValueError(f"{folder} is no store of images: {INDEX}: {error.errors()[0]['msg']}") from None


def finished_blocks(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what is noted of each complete block, by number; a line that was cut off counts as missing."""
    found: dict[int, dict[str, Any]] = {}
    if (folder / BLOCKS).exists():
        for line in (folder / BLOCKS).read_bytes().splitlines():
            try:
                note = json.loads(line)
                found[int(note["block"])] = note
            except (ValueError, KeyError, TypeError):
                continue
    return found


class Store:
    """A complete store, opened for reading.

    Args:
        folder: folder of the store.

    Raises:
        ValueError: if it is no store, or a torn one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.index = read_index(self.folder)
        notes = finished_blocks(self.folder)
        missing = [b for b in range(self.index.blocks) if b not in notes]
        size = (self.folder / IMAGES).stat().st_size if (self.folder / IMAGES).exists() else 0
        if missing or size != self.index.shape[0] * self.index.image_bytes:
            raise ValueError(
                f"{folder} is torn: {len(missing)} of {self.index.blocks} blocks are missing; run store.py again with"
                " the same arguments, which writes those alone"
            )
        self.left_out = {int(i) for note in notes.values() for i in note.get("left_out", ())}
        used = np.ones(self.index.shape[0], bool)
        used[sorted(self.left_out)] = False
        self.places = np.flatnonzero(used)
        self.notes = notes
        self._file = os.open(self.folder / IMAGES, os.O_RDONLY)
        if hasattr(os, "posix_fadvise"):  # no reading ahead of what a random order does not ask for
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        """Return the number of images that can be used."""
        return len(self.places)

    def __del__(self) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, index: Tensor, pinned: bool = False) -> Tensor:
        """Return images (n, M, M, C), in the type of the store.

        Args:
            index: (n,) int64 numbers of images.
            pinned: whether they shall lie in pinned memory, from which a copy to a GPU does not make the host wait.

        Raises:
            OSError: if the file is shorter than it was.
        """
        _, M, _, C = self.index.shape
        images = torch.empty(len(index), M, M, C, dtype=getattr(torch, self.index.dtype), pin_memory=pinned)
        rows = images.view(len(index), -1).view(torch.uint8).numpy()
        for row, place in zip(rows, self.places[index.numpy()].tolist(), strict=True):
            if os.preadv(self._file, [row.data], place * self.index.image_bytes) != len(row):
                raise OSError(f"{self.folder / IMAGES} is cut off: image {place} cannot be read")
        return images

    def verify(self) -> list[int]:
        """Return the numbers of the blocks whose content is not what was written."""
        return [b for b, note in sorted(self.notes.items()) if note.get("crc") != self.checksum(b)]

    def checksum(self, block: int) -> int:
        """Return the CRC-32 of a block."""
        bytes_ = self.index.image_bytes
        count = min(BLOCK, self.index.shape[0] - block * BLOCK)
        return zlib.crc32(os.pread(self._file, count * bytes_, block * BLOCK * bytes_))

    @property
    def sha256(self) -> str:
        """The fingerprint of the images, from the checksums of the blocks."""
        digest = hashlib.sha256(f"{self.index.shape} {self.index.dtype}".encode())
        for block, note in sorted(self.notes.items()):
            digest.update(f"{block} {note.get('crc')} {note.get('left_out', [])}".encode())
        return digest.hexdigest()


class ReadableStore(Protocol):
    """Images that are read by number: a store, or two whose images belong together."""

    index: StoreIndex

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, index: Tensor, pinned: bool = False) -> Tensor:
        """Return images (n, M, M, C); see `Store.read`."""

    @property
    def sha256(self) -> str:
        """The fingerprint of the images."""


class StoredImages(WindowedImages):
    """Images of a store as windows; see `WindowedImages`.

    What training will ask for next is read ahead by threads (`prefetch`). An image depends on its number alone, so
    reading ahead changes no result.

    Args:
        store: store of the images.
        size: side S of the windows.
        flip: whether half of the windows are mirrored.
        device: device of the windows.
        part: (N,) int64 numbers of the images that are used; None for all.
        rotate: whether every window is turned by 0, 90, 180 or 270 degrees, at random.
    """

    def __init__(
        self,
        store: ReadableStore,
        size: int,
        flip: bool,
        device: torch.device,
        part: Tensor | None = None,
        rotate: bool = False,
    ) -> None:
        self.store = store
        self.part = torch.arange(len(store)) if part is None else part
        _, M, _, C = store.index.shape
        values = store.index.value_range or ValueRange()
        super().__init__((len(self.part), C, M, M), size, flip, device, values, rotate)
        self._pool = ThreadPoolExecutor(WORKERS, "read")
        self._ahead: OrderedDict[bytes, Future[Tensor]] = OrderedDict()

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the wanted images (n, C, M, M) on the device, and their places 0..n-1."""
        images = (self._ahead.pop(index.numpy().tobytes(), None) or self._submit(index)).result()
        images = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return images, torch.arange(len(index), device=self.device)

    def prefetch(self, index: Tensor) -> None:
        """Begin to read the images numbered `index` (n,); those that are not asked for soon are dropped."""
        key = index.numpy().tobytes()
        if key not in self._ahead:
            self._ahead[key] = self._submit(index)
            while len(self._ahead) > AHEAD:
                self._ahead.popitem(last=False)[1].cancel()

    def _submit(self, index: Tensor) -> Future[Tensor]:
        return self._pool.submit(self.store.read, self.part[index], self.device.type == "cuda")

    @property
    def sha256(self) -> str:
        """The fingerprint of the images and their order."""
        digest = hashlib.sha256(self.store.sha256.encode())
        digest.update(self.part.numpy().tobytes())
        return digest.hexdigest()
