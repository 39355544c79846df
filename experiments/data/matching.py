"""Two folders or zips of a data set whose pictures belong together by name (`degrade.pairing`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from degrade.pairing import pair_names, picture_names
from experiments.data.listing import Listing, Picture

__all__ = ["matched"]


def matched(first: tuple[Path, Listing], second: tuple[Path, Listing], option: str) -> Listing:
    """Return the pictures of `first` that have a partner in `second`; each opens as a tuple (picture, partner).

    Args:
        first: path and content of a folder or zip, which gives names and order.
        second: path and content of the other.
        option: the option that named them, for messages.

    Raises:
        UsageError: if no name is in both.
    """
    listings = first[1], second[1]
    names = picture_names(*([picture.parts for picture in listing.pictures] for listing in listings))
    own, others = (_named(listing, some) for listing, some in zip(listings, names))
    both = pair_names(option, (first[0], own), (second[0], others))
    pictures = [_pair(own[name], others[name]) for name in both]
    return first[1]._replace(pictures=pictures)


def _pair(picture: Picture, partner: Picture) -> Picture:
    (name, read), (_, read_partner) = picture.entry, partner.entry
    return Picture(picture.parts, (name, partial(_both, read, read_partner)))


def _both(read: Callable[[], Any], read_partner: Callable[[], Any]) -> tuple[Any, Any]:
    return read(), read_partner()


def _named(listing: Listing, names: Sequence[str]) -> dict[str, Picture]:
    """Return the pictures by their names; of several of one name the first."""
    found: dict[str, Picture] = {}
    for name, picture in zip(names, listing.pictures):
        if found.setdefault(name, picture) is not picture:
            listing.leave_out("images of the same name", "/".join(picture.parts))
    return found
