"""Restoration networks and their registry. Every file of this folder is imported, and registers what it defines."""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
