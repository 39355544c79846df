"""A trained model with its data: what programs need that restore, generate or compare with it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from degrade import get
from degrade.command_line import UsageError, validated
from degrade.files import read_json_object
from experiments.data.datasets import Datasets, load_data, load_examples
from experiments.data.options import ExampleOptions
from experiments.run.presets import PRESETS
from restore import CheckpointConfig, Restorer, latest, load
from restore.checkpoint.config import read_checkpoint_config
from restore.checkpoint.validation import is_model

__all__ = ["Model", "ModelSource", "load_model"]


class ModelSource(NamedTuple):
    """Where to find a model and its data.

    Args:
        model: the folder of a run or of its checkpoints, or the name of a shipped model; the value of --model.
        data: images, as `--data` of train.py; None for those of the run.
        other: images that `interpolation` turns into; None for those of the run.
        seed: seed of the split of data, where the run does not say it.
    """

    model: str | None
    data: str | None = None
    other: str | None = None
    seed: int = 0


class Model(NamedTuple):
    """A trained restorer, what is known about it, and where it was trained."""

    R: Restorer
    specification: CheckpointConfig
    folder: Path
    data: Datasets | None
    other: Datasets | None


def load_model(source: ModelSource, device: torch.device) -> Model:
    """Return the model and the data it was trained on, as far as they are there.

    Args:
        source: the settings that say where the data are.
        device: device of the model and the data.

    Raises:
        UsageError: if there is no model, or it needs data that are not named.
    """
    if source.model is None:
        raise UsageError("--model is missing; name a model, or the folder of a run, such as runs/train-001")
    try:
        checkpoint = latest(source.model)
        specification = read_checkpoint_config(checkpoint)
        live = "source" in {field.name for field in dataclasses.fields(get(specification.degradation.name))}
        # latest() finds checkpoints in a run/model, a run or itself: a run is the folder around `model`.
        run = checkpoint.parent.parent if checkpoint.parent.name == "model" else checkpoint.parent
        if is_model(checkpoint):  # results are written beside those of runs, not into the installed package
            run, stored = Path("runs") / checkpoint.name, _reading(checkpoint.name, specification)
        else:
            stored = read_json_object(run / "config.json")
        data = _data(source.data, stored.get("data"), "--data", stored, specification, source.seed, device)
        other = data.partners if data else None
        if live and other is None:
            usual = stored.get("partner_data") or ("drawn-animals" if stored.get("data") == "drawn" else None)
            other = _data(source.other, usual, "--partner-data", stored, specification, source.seed, device)
            if other is None:
                raise UsageError("this model starts from images of another set; name them with --partner-data")
        runtime = {"source": other.validation} if other else {}
        return Model(load(source.model, device, **runtime), specification, run, data, other)
    except (OSError, ValueError) as error:
        raise UsageError(f"--model {source.model}: {error}") from None


def _reading(name: str, specification: CheckpointConfig) -> dict[str, Any]:
    """Return the options by which a model without a run reads pictures: those of the preset of its name, if any."""
    options = {key: value for key, value in PRESETS.get(name, {}).items() if key in ExampleOptions.model_fields}
    options.pop("data", None)
    own_resolution = specification.data is not None and specification.data.own_resolution
    return ({"resize": "none"} if own_resolution else {}) | options


def _data(
    asked: str | None,
    usual: str | None,
    option: str,
    stored: dict[str, Any],
    specification: CheckpointConfig,
    seed: int,
    device: torch.device,
) -> Datasets | None:
    """Return the data asked for, or those the run is said to have used if they are still there."""
    name = asked or usual
    if name is None:
        return None
    network = specification.network.arguments
    values = {key: stored[key] for key in ExampleOptions.model_fields if key in stored}
    channels = network.get("out_channels") or network.get("in_channels")
    values |= {} if channels is None else {"channels": str(channels)}
    options = validated(ExampleOptions, {**values, "data": name, "download": False})
    size, seed = network.get("image_size", stored.get("size")), stored.get("seed", seed)
    if size is None:
        raise UsageError(
            f"the size of the images for {specification.network.name} is unknown; give its configuration a field"
            " image_size"
        )
    try:
        if option != "--data":
            return load_data(options, size, seed, device, name, option)
        return load_examples(options.model_copy(update={"pairs": None}) if asked else options, size, seed, device)
    except UsageError as error:
        if asked:
            raise
        print(f"going without the images of the run: {error}", file=sys.stderr)
        return None
