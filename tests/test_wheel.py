"""The wheel: installed alone, its commands and the programs of the README run in an empty folder, without the programs
of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore import TrainConfig, Trainer, export_model, model_names, save
from samplers.applications.restore_image import restore_image
from tests.photographs import photo
from tests.restorers import trained
from tests.test_readme import PROGRAMS

ROOT = Path(__file__).parents[1]
INSTALLED = [program for program in PROGRAMS if "experiments" not in program]


def pip(*arguments, cwd):
    command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the wheel is installed to, built from a copy: a build leaves files where it runs."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("degrade", "restore", "samplers"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    export_model(trained(), source / "restore/models/tiny-blur", "# Restores blur", training=TrainConfig(steps=1))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", ".", "--no-build-isolation", "--no-index", "--wheel-dir", "dist", cwd=source)
    (wheel,) = (source / "dist").glob("*.whl")
    pip("install", "--no-index", "--target", str(target), str(wheel), cwd=source)
    assert not (target / "experiments").exists()
    # The editable install of the repository must not help out.
    (target / "experiments.py").write_text("raise ImportError('the programs are not in the wheel')\n")
    return target


@pytest.fixture
def run(site, tmp_path, monkeypatch):
    """Run a command in an empty folder with the wheel first on the path; return what it prints."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


MODULES = """
import runpy, sys
import degrade, restore, samplers
print(degrade.__file__, restore.__file__, samplers.__file__)
for program in sys.argv[1:]:
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})
for package in ("degrade", "restore", "samplers"):
    sys.argv = [package, "list"]
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code
"""


def test_the_packages_run_the_programs_of_the_readme_and_list_what_they_hold(run, site):
    assert INSTALLED
    files, *said = run(sys.executable, "-W", "error", "-c", MODULES, *INSTALLED).splitlines()
    assert files.count(str(site)) == 3
    for name in ("gaussian_noise", "vignette", "tiny-blur", "algorithm2"):
        assert any(line.startswith(f"{name} ") for line in said)


def test_the_console_command_restores_a_folder(run, site):
    training = Trainer(trained().train(), TrainConfig(steps=1, batch_size=2))
    save("run", training)
    Path("album").mkdir()
    photo("RGB").save("album/photo.png")
    options = ["--model", "run", "--severity", "5", "--device", "cpu", "--out", "out"]
    said = run(str(site / "bin" / "degrade-restore"), "folder", "album", *options)
    assert said == "1 restored, 0 skipped, 0 failed: out\n"
    with Image.open("out/photo.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(restore_image(training.ema, photo("RGB"), 5).image))


def test_the_console_command_restores_with_a_model_that_comes_with_the_wheel(run, site):
    command = str(site / "bin" / "degrade-restore")
    photo("RGB").save("photo.png")
    out = run(command, "image", "photo.png", "--model", "tiny-blur", "--severity", "5", "--device", "cpu")
    assert Path(out.splitlines()[-1]).is_file()
    assert ["tiny-blur", "Restores", "blur"] in [line.split() for line in run(command, "models").splitlines()]
    assert "degradation:   blur " in run(command, "info", "tiny-blur")


def test_every_model_of_the_wheel_is_whole(run):
    program = "import restore; print([restore.latest(name).name for name in restore.model_names()])"
    assert run(sys.executable, "-c", program) == f"{sorted([*model_names(), 'tiny-blur'])}\n"
