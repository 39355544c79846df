"""What the README shows is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from experiments.data.drawn import DrawnAnimals, DrawnFaces
from tests.experiments.test_celeba_to_afhq import TINY
from tests.experiments.test_ddpm import TINY as TINY_DDPM
from tests.experiments.test_train import TINY as TINY_TRAIN
from tests.photographs import photographs

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]
# What would take minutes is made small; the command itself stays as it is.
SMALL = {
    "celeba_to_afhq.py": TINY,
    "compare.py": ["--images", "2", "--samplers", "algorithm2,heun"],
    "ddpm.py": TINY_DDPM,
    "gallery.py": ["--size", "32", "--count", "2"],
    "generate.py": ["--images", "2", "--fit-images", "8", "--sample-steps", "2"],
    "restorations.py": ["--size", "32", "--steps", "2"],
    "tables.py": ["--tasks", "mnist-pixelate", "--steps", "2", "--images", "4", "--sample-steps", "2"],
    "train.py": TINY_TRAIN,
}


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.split("\n")[0] for program in PROGRAMS])
def test_programs_run_and_are_short(program, tmp_path):
    (tmp_path / "program.py").write_text(program)
    done = run([sys.executable, "-W", "error", "program.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in program.splitlines() if line.strip()]) <= 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a user would be who has a photograph, some faces and some animals."""
    here = tmp_path_factory.mktemp("here")
    (here / "experiments").symlink_to(ROOT / "experiments")
    shutil.make_archive(str(here / "faces"), "zip", photographs(here / "faces", drawn=DrawnFaces))
    photographs(here / "animals", drawn=DrawnAnimals)
    Image.linear_gradient("L").convert("RGB").save(here / "photo.jpg")
    for name in ("clean", "degraded"):
        (here / name).mkdir()
        shutil.copy(here / "photo.jpg", here / name / "photo.jpg")
    return here


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command, folder):
    words = shlex.split(command)
    if words[0] == "make":
        assert run([*words, "--dry-run"], ROOT).returncode == 0
        return
    if words[0] == "pytest":
        words = ["python", "-m", *words]
    if words[0] == "degrade-restore":
        words = ["python", "-c", "import sys; from samplers.console import main; sys.exit(main())", *words[1:]]
    assert words[0] == "python"
    small = SMALL.get(Path(words[1]).name, [])
    if "--resume" in words:
        small = ["--steps", "8"]
    if "--preset" in words:
        small = [*small, "--sample-steps", "10", "--micro-batch-size", "none"]
    done = run([sys.executable, *words[1:], *small], folder)
    assert done.returncode == 0, done.stderr


def test_pictures_are_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)
    assert pictures
    for picture in pictures:
        with Image.open(ROOT / picture) as image:
            assert min(image.size) > 120
