"""Arguments as words: key=value, the value JSON where it can be read as JSON and text where not.

This is where the text of a command line becomes numbers: no argument is coerced later. Beside JSON's spelling of
numbers and constants, Python's is read: `.5`, `+1`, `True`, `False` and `None`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

__all__ = ["pairs"]

CONSTANTS = {"True": True, "False": False, "None": None}


def pairs(words: Iterable[str]) -> dict[str, Any]:
    """Return the arguments spelled key=value.

    Raises:
        ValueError: naming the first word that is none.

    >>> pairs(["T=50", "widths=[1, 2]", "center=random"])
    {'T': 50, 'widths': [1, 2], 'center': 'random'}
    >>> pairs(["std=.5", "to_mean=True", "name=1st", "k=3.0"])
    {'std': 0.5, 'to_mean': True, 'name': '1st', 'k': 3.0}
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"{word!r} is no option and no key=value")
        values[key] = _value(text)
    return values


def _value(text: str) -> Any:
    """Return what a text spells, or the text itself."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    with suppress(json.JSONDecodeError):
        return json.loads(text)
    if re.match(r"[+-]?\.?[0-9]", text):
        for number in (int, float):
            with suppress(ValueError):
                return number(text)
    return text
