"""An installed plugin is found by name, by Python and by the command line; a broken one only warns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "experiments" / "plugin_example"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the example was installed, from a copy and without a network."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    install = (sys.executable, "-m", "pip", "install", *offline, "--target", folder / "site", folder / "source")
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def python(site, *words, folder=None):
    """Run Python in `folder` with the plugins of `site` installed."""
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, cwd=folder)


def test_it_is_found_by_its_entry_point_listed_and_drawn(site, tmp_path):
    code = """if True:
        import degrade, degrade.__main__
        D = degrade.make("swirl", T=3)
        print(type(D).__module__, "swirl" in degrade.names())
        degrade.__main__.main(["list"])
        degrade.__main__.main(["show", "swirl", "--out", "strip.png"])
    """
    run = python(site, "-W", "error", "-c", code, folder=tmp_path)
    assert run.stdout.startswith("swirl True\n"), run.stderr
    assert "\nswirl  " in run.stdout
    assert run.stdout.endswith("\nstrip.png\n")
    assert (tmp_path / "strip.png").exists()


def test_it_obeys_the_laws_on_the_command_line(site):
    run = python(site, "-m", "degrade", "check", "swirl", "turns=0.5")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(" holds ") == 11


def test_a_broken_plugin_only_warns(tmp_path):
    (tmp_path / "crooked.py").write_text("raise RuntimeError('out of order')\n")
    info = tmp_path / "crooked_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crooked-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[degrade.plugins]\ncrooked = crooked\n")
    run = python(tmp_path, "-m", "degrade", "list")
    assert run.returncode == 0
    assert "gaussian_noise" in run.stdout
    assert "plugin 'crooked' of crooked-plugin did not load: RuntimeError('out of order')" in run.stderr


def test_a_file_in_the_folder_of_operators_is_all_it_takes(tmp_path, monkeypatch):
    lines = (
        "from degrade import Degradation, NumLevels, register",
        "@register('dropped_in_for_test')",
        "class DroppedIn(Degradation):",
        "    T: NumLevels = 4",
    )
    (tmp_path / "dropped_in.py").write_text("\n".join(lines))
    code = "import sys, degrade.operators as o; o.__path__.append(sys.argv[1]); import importlib.util as u; "
    code += "s = u.find_spec('degrade.operators'); s.submodule_search_locations.append(sys.argv[1]); "
    code += "s.loader.exec_module(o); import degrade; assert degrade.make('dropped_in_for_test').T == 4"
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True)
