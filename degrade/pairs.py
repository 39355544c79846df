"""Arguments as words: key=value, the value JSON where it can be read as JSON and text where not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["pairs"]


def pairs(words: Iterable[str]) -> dict[str, Any]:
    """Return the arguments spelled key=value.

    Raises:
        ValueError: naming the first word that is none.

    >>> pairs(["T=50", "widths=[1, 2]", "center=random"])
    {'T': 50, 'widths': [1, 2], 'center': 'random'}
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"{word!r} is no option and no key=value")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values
