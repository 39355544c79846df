"""Images of stores with what belongs to them: a label, and a second image from a second store.

The index of a store has the name of each picture, and its label where the set that it was made of knows one; so
`--labels` reads folders and CSV files as for the pictures themselves. Images of two stores belong together by name, as
pictures of two folders do (`experiments.data.matching`): the second one lies in further channels.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from degrade.command_line import UsageError
from experiments.data.decoding import Entry
from experiments.data.listing import Listing, Picture
from experiments.data.matching import matched
from experiments.data.store import Store, is_store

__all__ = ["StorePair", "open_stores"]


class StorePair:
    """Images of two stores, of which those with the same number belong together; read as those of one store.

    Args:
        first: gives C channels.
        second: gives C more, of the same size, type and value range.
        numbers: (N, 2) int64, the number of each image in the first and in the second store.

    Raises:
        ValueError: if the images of the two differ in kind.
    """

    def __init__(self, first: Store, second: Store, numbers: Tensor) -> None:
        kinds = [(*store.index.shape[1:], store.index.dtype, store.index.value_range) for store in (first, second)]
        if kinds[0] != kinds[1]:
            shown = " and ".join(f"{' x '.join(map(str, kind[:3]))} {kind[3]}" for kind in kinds)
            raise ValueError(
                f"{first.folder} and {second.folder} hold {shown}; write both with the same --size, --oversize,"
                " --channels, --dtype and --value-range"
            )
        self.first, self.second, self.numbers = first, second, numbers
        M, _, C = first.index.shape[1:]
        self.index = dataclasses.replace(first.index, shape=(len(numbers), M, M, 2 * C), names=(), labels=())

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.numbers)

    def read(self, index: Tensor, pinned: bool = False) -> Tensor:
        """Return images (n, M, M, 2 C), in the type of the stores; arguments as `Store.read`."""
        parts = (store.read(self.numbers[index, i]) for i, store in enumerate((self.first, self.second)))
        images = torch.cat(list(parts), -1)
        return images.pin_memory() if pinned else images

    @property
    def sha256(self) -> str:
        """The fingerprint of the images and of what belongs together."""
        digest = hashlib.sha256(f"{self.first.sha256} {self.second.sha256}".encode())
        digest.update(self.numbers.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Numbered:
    """Opens as the number of an image in its store, and knows its label if the store has one."""

    number: int
    label: str = ""

    def __call__(self) -> int:
        return self.number


def open_stores(path: Path, second: Path | None, option: str) -> tuple[Store | StorePair, list[Entry], str]:
    """Return a store or a pair of stores, for each image its name and what knows its label, and the root of the names.

    Args:
        path: path of the store.
        second: path of the store of second images; None for images alone.
        option: the option that named the path, for messages.

    Raises:
        UsageError: if one of the two is no store, or no name is in both.
        ValueError: if a store is torn, or the two hold images of different kinds.
    """
    if second is not None and not is_store(second):
        raise UsageError(f"{option} {path} is a store and {second} is none; write both with store.py")
    store = Store(path)
    own = _entries(store)
    if second is None:
        return store, own, store.index.root
    partners = Store(second)
    both = matched((path, _listing(own)), (second, _listing(_entries(partners))), option).pictures
    numbers = torch.tensor([picture.entry[1]() for picture in both])
    return StorePair(store, partners, numbers), [own[i] for i in numbers[:, 0].tolist()], store.index.root


def _entries(store: Store) -> list[Entry]:
    names, labels = store.index.names, store.index.labels
    places = store.places.tolist()
    return [
        (names[place] if names else str(place), _Numbered(i, labels[place] if labels else ""))
        for i, place in enumerate(places)
    ]


def _listing(entries: Sequence[Entry]) -> Listing:
    return Listing([Picture(PurePosixPath(entry[0]).parts, entry) for entry in entries], {})
