"""What `--help` prints: an option without a description, or a default that is stated twice, helps nobody."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from degrade.__main__ import Check, List, Show
from degrade.command_line import Command, run_main
from degrade.fitting.command import FitDegradation
from restore.__main__ import ExportModel, ListModels, ModelInfo
from samplers.__main__ import ListSamplers
from samplers.commands.folder import RestoreFolder
from samplers.commands.generate import Generate
from samplers.commands.image import RestoreImage

COMMANDS = [Check, List, Show, FitDegradation, ExportModel, ListModels, ModelInfo, ListSamplers]
COMMANDS += [RestoreFolder, Generate, RestoreImage]
PROGRAMS = sorted(path.stem for path in (Path(__file__).parents[1] / "experiments").glob("[a-z]*.py"))


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal so wide that no description is broken."""
    monkeypatch.setenv("COLUMNS", "1000")


def help_of(program: str, capsys) -> str:
    with pytest.raises(SystemExit):
        run_main(importlib.import_module(f"experiments.{program}").main, program, ["--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_of_a_program_is_described_once(program, capsys):
    module = importlib.import_module(f"experiments.{program}")
    text = help_of(program, capsys)
    for name, field in module.Config.model_fields.items():
        assert field.description, name
        assert f"--{name.replace('_', '-')}" in text or name.upper() in text
        assert text.count(" ".join(field.description.split())) >= 1
    for rest in text.split("(default:")[1:]:
        assert not rest.partition(")")[2].startswith(" (default")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_option_of_a_command_is_described(command):
    assert issubclass(command, Command)
    assert command.__doc__.splitlines()[0].endswith(".")
    assert [name for name, field in command.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("program", ["celeba_to_afhq", "ddpm", "train"])
def test_help_lists_the_presets(program, capsys):
    module = importlib.import_module(f"experiments.{program}")
    text = help_of(program, capsys)
    assert f"Presets: {', '.join(['demo', *(name for name in module.PRESETS if name != 'demo')])}." in text
