"""`python -m restore`: look at trained models, and export them, without writing a program.

    python -m restore list
    python -m restore info NAME_OR_FOLDER
    python -m restore export NAME_OR_FOLDER --format onnx --out model.onnx

The exit code is 0, or 2 for an error of the user, which one line on standard error explains.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from degrade.command_line import CliPositionalArg, Command, IntList, run_commands

if TYPE_CHECKING:
    from restore.checkpoint.config import CheckpointConfig, ComponentConfig

__all__ = ["ExportModel", "ListModels", "ModelInfo", "main"]


class ListModels(Command):
    """Print the name of every model that comes with the package, and what it restores."""

    def run(self) -> None:
        """Print each name with its degradation, its size, and the heading of its card."""
        from restore import latest, model_names, read_checkpoint_config

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
        from restore import latest, read_checkpoint_config
        from restore.checkpoint.validation import is_model

        folder = latest(self.model)
        for name, value in facts(folder, read_checkpoint_config(folder)):
            print(f"{name + ':':<15}{value}")
        if is_model(folder):
            print(f"\n{_card(folder)}", end="")


class ExportModel(Command):
    """Write a model as an ONNX file or as a program of torch.export, which run without this library.

    The inputs are x_t (N, C, H, W) float32 in [-1, 1], the severities t (N,) int64 in 1..T, and the conditions that
    the network takes, by name; the output is x0_hat (N, C, H, W) float32. The format onnx needs the extra `onnx`.
    """

    model: CliPositionalArg[str] = Field(description="name of a model, or the folder of a run or a checkpoint")
    format: Literal["onnx", "pt2"] = Field("onnx", description="onnx, or pt2 for a program of torch.export")
    out: str | None = Field(None, description="file that is written (default: the name of the model, and the format)")
    image_size: IntList = Field((), description="height,width in pixels of all images; none for any size")

    def run(self) -> None:
        """Write the file, print its path and the shape of its input."""
        import torch

        from restore import export_onnx, export_program, load

        R = load(self.model)
        out = Path(self.out or f"{Path(self.model).resolve().name}.{self.format}")
        if len(self.image_size) not in (0, 2):
            raise ValueError(f"--image-size {self.image_size}: give two numbers, height,width, or none for any size")
        size = (self.image_size[0], self.image_size[1]) if self.image_size else None
        if self.format == "onnx":
            export_onnx(R, out, image_size=size)
        else:
            torch.export.save(export_program(R, image_size=size), out)
        sides = f"{size[0]} x {size[1]}" if size else f"sides that divide by {R.size_divisor}"
        print(f"{out}: x_t (N, {R.image_channels}, H, W), {sides}, and t (N,) in 1..{R.degradation.T}")


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
    from safetensors import safe_open

    from restore.checkpoint.validation import WEIGHTS

    with safe_open(folder / WEIGHTS, "pt") as tensors:
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


def _component(component: ComponentConfig) -> str:
    arguments = " ".join(f"{key}={_spelled(value)}" for key, value in component.arguments.items())
    return f"{component.name} {arguments}".rstrip()


def _without_defaults(network: ComponentConfig) -> ComponentConfig:
    """Return the specification of a network with only those of its arguments that differ from the default."""
    import torch

    from restore.checkpoint.config import ComponentConfig
    from restore.nets.registry import make_network, network_arguments

    with torch.device("meta"):
        usual = network_arguments(make_network(network.name))
    changed = {key: value for key, value in network.arguments.items() if value != usual.get(key)}
    return ComponentConfig(network.name, changed)


def _spelled(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _card(folder: Path) -> str:
    from restore.checkpoint.validation import CARD

    return (folder / CARD).read_text(encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> main(["info", "no-model"])
    2
    """
    commands: dict[str, type[Command]] = {"list": ListModels, "info": ModelInfo, "export": ExportModel}
    return run_commands(commands, "python -m restore", "List, describe and export trained models.", argv)


if __name__ == "__main__":
    sys.exit(main())
