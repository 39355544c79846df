"""`python -m restore`: look at trained models without writing a program.

    python -m restore list
    python -m restore info NAME_OR_FOLDER

The exit code is 0, or 2 for an error of the user, which one line on standard error explains.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from pydantic import Field
from safetensors import safe_open

from degrade.command_line import CliPositionalArg, Command, run_commands
from restore.checkpoint.api import latest
from restore.checkpoint.config import CheckpointConfig, ComponentConfig, read_checkpoint_config
from restore.checkpoint.validation import CARD, WEIGHTS, is_model
from restore.models.catalog import model_names
from restore.nets.registry import make_network, network_arguments

__all__ = ["ListModels", "ModelInfo", "main"]


class ListModels(Command):
    """Print the name of every model that comes with the package, and what it restores."""

    def run(self) -> None:
        """Print each name with its degradation, its size, and the heading of its card."""
        names = model_names()
        if not names:
            print("no models come with this installation")
        for name in names:
            folder = latest(name)
            config = read_checkpoint_config(folder)
            millions = num_parameters(folder) / 1e6
            print(f"{name:<{max(map(len, names)) + 2}}{_card(folder).partition(chr(10))[0].removeprefix('# ')}")
            print(f"{'':<{max(map(len, names)) + 2}}{config.degradation.name}, {millions:.2f} million parameters")


class ModelInfo(Command):
    """Print what is known about a model: degradation, network, training, and its card with the measured quality."""

    model: CliPositionalArg[str] = Field(description="name of a model, or the folder of a run or a checkpoint")

    def run(self) -> None:
        """Print one line for each part of the configuration, and the card if there is one."""
        folder = latest(self.model)
        for name, value in facts(folder, read_checkpoint_config(folder)):
            print(f"{name + ':':<15}{value}")
        if is_model(folder):
            print(f"\n{_card(folder)}", end="")


def facts(folder: Path, config: CheckpointConfig) -> Iterator[tuple[str, str]]:
    """Yield the facts about a checkpoint or a model as (name, text)."""
    training = config.training
    yield "folder", str(folder)
    yield "degradation", _component(config.degradation)
    yield "network", _component(_without_defaults(config.network))
    yield "parameters", f"{num_parameters(folder):,}"
    yield "predicts", config.prediction_type + (", clipped to [-1, 1]" if config.clip_sample else "")
    if config.inverse_input:
        yield "sees", f"x_t and its linear inverse, {config.inverse_input}"
    yield "training", f"{config.step:,} steps of {training.batch_size} images, {training.optimizer}, {training.loss}"
    yield "data", str(config.data or "not recorded")
    yield "prior", _component(config.prior) if config.prior else "none"
    yield "written by", ", ".join(f"{name} {version}" for name, version in config.versions.items())


def num_parameters(folder: Path) -> int:
    """Return the number of weights in the file of a checkpoint or a model, of which only the header is read."""
    with safe_open(folder / WEIGHTS, "pt") as tensors:
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


def _component(component: ComponentConfig) -> str:
    arguments = " ".join(f"{key}={_spelled(value)}" for key, value in component.arguments.items())
    return f"{component.name} {arguments}".rstrip()


def _without_defaults(network: ComponentConfig) -> ComponentConfig:
    """Return the specification of a network with only those of its arguments that differ from the default."""
    with torch.device("meta"):
        usual = network_arguments(make_network(network.name))
    changed = {key: value for key, value in network.arguments.items() if value != usual.get(key)}
    return ComponentConfig(network.name, changed)


def _spelled(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _card(folder: Path) -> str:
    return (folder / CARD).read_text(encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> main(["info", "no-model"])
    2
    """
    commands: dict[str, type[Command]] = {"list": ListModels, "info": ModelInfo}
    return run_commands(commands, "python -m restore", "List and describe trained models.", argv)


if __name__ == "__main__":
    sys.exit(main())
