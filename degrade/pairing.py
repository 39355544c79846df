"""Pictures of two folders or zips that belong together by name.

The name of a picture is its path in the folder or zip without the suffix: `clean/faces/7.png` and
`degraded.zip/faces/7.jpg` are a pair. If no two paths agree, the folders that hold all pictures of a set are no part of
their names. Pictures without a partner are left out; they are counted and named on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from degrade.options import UsageError

__all__ = ["pair_names", "picture_names"]

SHOWN = 10  # names in a line


def picture_names(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the names of the pictures of two sets from their paths, each of them the folders and the file.

    >>> picture_names([("clean", "1.png"), ("clean", "2.png")], [("noisy", "1.jpg")])
    (['1', '2'], ['1'])
    >>> picture_names([("a", "1.png")], [("a", "1.png"), ("b", "1.png")])
    (['a/1'], ['a/1', 'b/1'])
    """
    own, others = _names(first, 0), _names(second, 0)
    if set(own) & set(others):
        return own, others
    return _names(first, _shared_depth(first)), _names(second, _shared_depth(second))


def _names(paths: Sequence[Sequence[str]], depth: int) -> list[str]:
    return [str(PurePosixPath(*path[depth:]).with_suffix("")) for path in paths]


def _shared_depth(paths: Sequence[Sequence[str]]) -> int:
    """Return how many folders from the top hold all pictures."""
    folders = [tuple(path[:-1]) for path in paths]
    first, last = min(folders, default=()), max(folders, default=())
    depth = 0
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth


def pair_names(option: str, first: tuple[Path, Collection[str]], second: tuple[Path, Collection[str]]) -> list[str]:
    """Return the names that are in both collections, in the order of the first; print how many are in one only.

    Args:
        option: the option that named the folders, for messages.
        first: path and names of the pictures of a folder or zip.
        second: path and names of those of the other.

    Raises:
        UsageError: if no name is in both.
    """
    both = [name for name in first[1] if name in second[1]]
    if not both:
        own, other = (min(names, default="no picture") for _, names in (first, second))
        raise UsageError(
            f"{option} {first[0]} {second[0]}: no name is in both (the first has {own}, the second {other}); pairs have"
            " the same path without the suffix"
        )
    for (path, names), (_, others) in ((first, second), (second, first)):
        alone = [name for name in names if name not in others]
        if alone:
            shown = ", ".join(alone[:SHOWN]) + (", ..." if len(alone) > SHOWN else "")
            text = f"left out {len(alone)} of {len(names)} images without a partner of the same name: {shown}"
            print(f"{option} {path}: {text}", file=sys.stderr)
    return both
