"""The catalog of shipped models: trained restorers that are loaded by name.

A model is a folder without executable content,

    model.json           the configuration, as in a checkpoint
    weights.safetensors  the averaged weights, in float16 or float32
    checksums.json       size and SHA-256 of these two files
    card.md              the model card: data and license, command, seed, time, quality, limits; its first heading is
                         the line that stands for the model in a list

in one of the folders of `SEARCH_PATH`, at first the one that comes with the package. The name of the folder is that of
the model.
"""

from __future__ import annotations

import difflib
from pathlib import Path

__all__ = ["SEARCH_PATH", "find_model", "model_names", "nearest_names"]

SEARCH_PATH = [Path(__file__).parent]
FILES = ("model.json", "card.md")


def model_names() -> tuple[str, ...]:
    """Return the names of the models that `restore.load` knows, in alphabetical order.

    >>> isinstance(model_names(), tuple)
    True
    """
    folders = (folder for place in SEARCH_PATH if place.is_dir() for folder in place.iterdir())
    return tuple(sorted({folder.name for folder in folders if all((folder / file).is_file() for file in FILES)}))


def find_model(name: str) -> Path | None:
    """Return the folder of the model with this name, None if there is none.

    >>> find_model("no-model") is None
    True
    """
    places = (place / name for place in SEARCH_PATH if name in model_names())
    return next((folder for folder in places if (folder / FILES[0]).is_file()), None)


def nearest_names(name: str) -> str:
    """Return a clause for a message: the names of models nearest to an unknown one, or all of them."""
    known = model_names()
    near = difflib.get_close_matches(name, known, n=2)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"models that come with the package: {', '.join(known) or 'none'}"
