"""Files that are there whole or not at all, and JSON files that may be missing or damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["read_json_object", "replace_file"]


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically, in place of an earlier one: under another name, synchronized to disk, then renamed.

    Args:
        path: the file; its folder is made if it does not exist.
        content: what is written.

    Raises:
        OSError: if it cannot be written; an earlier file is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is none that can be read.

    >>> read_json_object(Path("no-such-file.json"))
    {}
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
