"""Packages that only some features need: imported when they are used, and asked for by name when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]


def require(module: str, user: str, extra: str = "experiments") -> Any:
    """Return the imported `module` of an optional package.

    Args:
        module: its dotted name.
        user: name of the part that needs it, for the message.
        extra: the extra of this package that installs it.

    Raises:
        ImportError: naming the extra, if the package is not installed.

    >>> require("no_such_package", "jpeg")
    Traceback (most recent call last):
    ImportError: jpeg needs no_such_package: pip install 'degrade-restore[experiments]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{user} needs {package}: pip install 'degrade-restore[{extra}]'") from error
