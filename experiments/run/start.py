"""The start of every program that trains: from a command line to a configuration and the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from degrade.command_line import parse
from experiments.run.folder import choose_folder, stored_config
from experiments.run.options import TrainerOptions

__all__ = ["start_run"]

C = TypeVar("C", bound=TrainerOptions)


def start_run(
    model: type[C], presets: Mapping[str, Mapping[str, Any]], argv: Sequence[str], program: str, description: str
) -> tuple[C, Path]:
    """Return the configuration that a command line asks for, and the folder of its run.

    Args:
        model: the configuration.
        presets: values by name of the preset.
        argv: the command line without the program.
        program: the name of the program without `.py`.
        description: the text at the top of `--help`.

    Raises:
        UsageError: for anything that the user can correct.
    """
    config, explicit = parse(model, presets, argv, f"{program}.py", description)
    folder = choose_folder(config, program)
    if not config.resume:
        return _with_precision(config), folder
    if config.precision == "auto":  # the run stores what that meant
        explicit = {name: value for name, value in explicit.items() if name != "precision"}
    return stored_config(folder, model, explicit), folder


def _with_precision(config: C) -> C:
    """Return the configuration with the precision that `auto` means on its device.

    It is stored with the run, which then continues in that precision on any other machine.
    """
    if config.precision != "auto":
        return config
    from restore.precision import choose_precision

    return config.model_copy(update={"precision": choose_precision("auto", config.torch_device())})
