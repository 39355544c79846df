"""Public names of a package that are imported at their first use.

`import degrade` then costs no import of torch, which takes longer than all else that a `--help` needs. The names are
listed as ordinary import statements in the package's stub, `__init__.pyi`, which type checkers read as well (SPEC 1 of
Scientific Python, "Lazy Loading of Submodules and Functions").
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["attach_stub"]


def attach_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` and `__all__` of a package: the names that its stub imports.

    Args:
        package: `__name__` of the package.
        file: its `__file__`; the stub lies beside it.

    >>> import degrade
    >>> degrade.Blur.__module__, degrade.functional.__name__
    ('degrade.operators.blur', 'degrade.functional')
    >>> degrade.blurr
    Traceback (most recent call last):
    AttributeError: module 'degrade' has no attribute 'blurr'
    """
    tree = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    origin = {alias.name: node.module or package for node in imports for alias in node.names}

    def load(name: str) -> Any:
        if name in origin:
            value = getattr(import_module(origin[name]), name)
        elif not name.startswith("__") and find_spec(f"{package}.{name}"):
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)  # the next use does not come here
        return value

    names = sorted(origin)
    return load, lambda: names, names
