"""Optional packages: imported where they are needed, and named with their extra where they are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import degrade


def test_kornia_is_not_imported_before_it_is_needed():
    code = "import sys, degrade, degrade.__main__; degrade.names(); assert 'kornia' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "module"), [("jpeg", "kornia.enhance"), ("motion_blur", "kornia.filters")])
def test_without_kornia_the_extra_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name} needs kornia: pip install 'degrade-restore\[experiments\]'"):
        degrade.make(name)
