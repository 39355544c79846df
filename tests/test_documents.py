"""What README, CONTRIBUTING and the list of results name exists, and every file of results is listed."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "experiments/results/README.md"]
PATH = re.compile(r"(?<![\w/.-])(?:degrade|restore|samplers|experiments|tests)/[\w./-]*[\w/]")
PLACEHOLDER = "NAME"  # of a file that the reader is going to write


def missing_paths(text: str) -> list[str]:
    """Paths of the repository that a text names and that do not exist."""
    return [path for path in PATH.findall(text) if PLACEHOLDER not in path and not (ROOT / path).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_named_exists(document):
    text = (ROOT / document).read_text()
    assert PATH.search(text)
    assert missing_paths(text) == []


def test_a_path_that_does_not_exist_is_found():
    assert missing_paths("see `tests/test_wheel.py`, tests/no_such_file.py and [x](samplers/none/)") == [
        "tests/no_such_file.py",
        "samplers/none/",
    ]


def test_every_file_of_results_is_listed():
    listed = re.findall(r"`([\w.<>-]+)`", (RESULTS / "README.md").read_text())
    patterns = [re.sub(r"<\w+>", "*", name) for name in listed]
    files = [file.name for file in RESULTS.iterdir() if file.name != "README.md"]
    assert [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []
