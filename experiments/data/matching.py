"""Two folders or zips whose pictures belong together by name.

The name of a picture is its path in the folder or zip, without the suffix and without the folders that hold all
pictures: `clean/faces/7.png` and `degraded.zip/faces/7.jpg` are a pair. Pictures without a partner are left out; they
are counted and named on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from degrade.command_line import UsageError
from experiments.data.listing import Listing, Picture

__all__ = ["matched"]

SHOWN = 10  # names in a line


def matched(first: tuple[Path, Listing], second: tuple[Path, Listing], option: str) -> Listing:
    """Return the pictures of `first` that have a partner in `second`; each opens as a tuple (picture, partner).

    Args:
        first: path and content of a folder or zip, which gives names and order.
        second: path and content of the other.
        option: the option that named them, for messages.

    Raises:
        UsageError: if no name is in both.
    """
    own, others = (_named(listing) for _, listing in (first, second))
    both = [name for name in own if name in others]
    if not both:
        names = ", ".join(sorted(own)[:1]) or "no picture", ", ".join(sorted(others)[:1]) or "no picture"
        raise UsageError(
            f"{option} {first[0]} {second[0]}: no name is in both (the first has {names[0]}, the second {names[1]});"
            " pairs have the same path without the suffix"
        )
    for place, names_here, there in ((first[0], own, others), (second[0], others, own)):
        alone = [name for name in names_here if name not in there]
        if alone:
            shown = ", ".join(alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            text = f"left out {len(alone)} of {len(names_here)} images without a partner of the same name: {shown}"
            print(f"{option} {place}: {text}", file=sys.stderr)
    pictures = [_pair(own[name], others[name]) for name in both]
    return first[1]._replace(pictures=pictures)


def _pair(picture: Picture, partner: Picture) -> Picture:
    (name, read), (_, read_partner) = picture.entry, partner.entry
    return Picture(picture.parts, (name, partial(_both, read, read_partner)))


def _both(read: Callable[[], Any], read_partner: Callable[[], Any]) -> tuple[Any, Any]:
    return read(), read_partner()


def _shared_depth(folders: Sequence[tuple[str, ...]]) -> int:
    """Return how many folders from the top hold all pictures."""
    first, last = min(folders, default=()), max(folders, default=())
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth


def _named(listing: Listing) -> dict[str, Picture]:
    """Return the pictures by their names; of several of one name the first."""
    level = _shared_depth([picture.parts[:-1] for picture in listing.pictures])
    found: dict[str, Picture] = {}
    for picture in listing.pictures:
        name = str(PurePosixPath(*picture.parts[level:]).with_suffix(""))
        if found.setdefault(name, picture) is not picture:
            listing.leave_out("images of the same name", "/".join(picture.parts))
    return found
