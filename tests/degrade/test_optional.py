"""Optional packages: imported where they are needed, and named with their extra where they are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import degrade


def test_kornia_is_not_imported_before_it_is_needed():
    code = "import sys, degrade, degrade.__main__; degrade.names(); assert 'kornia' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_kornia_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.filters", None)
    with pytest.raises(ImportError, match=r"motion_blur needs kornia: pip install 'degrade-restore\[experiments\]'"):
        degrade.make("motion_blur")
