"""The configuration of a checkpoint: everything that rebuilds a trained restorer except its tensors.

It is the JSON file `model.json`. Network, degradation and prior are written as a registered name and JSON arguments.
The file contains no code: the program that reads it looks the names up in its own registries.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from torch import nn

from degrade.frozen import frozen
from degrade.serializable import Serializable
from restore.checkpoint.integrity import CorruptCheckpointError
from restore.choices import Predict
from restore.inverse_input import InverseInput
from restore.nets.registry import network_arguments
from restore.restorer import Restorer
from restore.train_config import TrainConfig
from restore.value_range import ValueRange

__all__ = [
    "FORMAT",
    "MODEL",
    "CheckpointConfig",
    "ComponentConfig",
    "DatasetInfo",
    "describe",
    "dump",
    "network_of",
    "read_checkpoint_config",
    "unwrapped",
]

FORMAT = 3  # raised when a reader of today could not read a file of tomorrow
MODEL = "model.json"


def _json(value: Any) -> Any:
    """Return a value as it will be read back from JSON: what JSON cannot hold is refused when it is given."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from None


@frozen
class ComponentConfig:
    """A registered object, such as a degradation, a network or a prior, by its name and arguments.

    Args:
        name: the name under which the class is registered.
        arguments: the arguments that rebuild the object, as JSON values; tuples become lists.

    Raises:
        ValueError: for arguments that JSON cannot hold, such as a tensor.

    >>> ComponentConfig("standard_normal", {"shape": (3, 8, 8)}).arguments
    {'shape': [3, 8, 8]}
    """

    name: str
    arguments: Annotated[dict[str, Any], BeforeValidator(_json)] = Field(default_factory=dict)

    @classmethod
    def of(cls, named: Serializable) -> ComponentConfig:
        """Return the config of an object.

        Raises:
            ValueError: if its class is not registered: another one, or none, would be rebuilt from the config.
        """
        if not named.registered:
            instead = f"a file would rebuild {named.name!r} in its place" if named.name else "no file can rebuild it"
            raise ValueError(
                f"the class {type(named).__name__} is not registered, so {instead}; register it under a name of its"
                " own, as with @degrade.register('...')"
            )
        return cls(named.name, named.arguments)


@frozen
class DatasetInfo:
    """The data set that a restorer was trained on.

    Args:
        name: name of the data set, such as `cifar10`, or the name of the folder or file that holds it.
        images: number of training images; None for a source that draws new images without end.
        sha256: SHA-256 of the training images, in hexadecimal digits; None if it was not computed.
        value_range: the two pixel values that are mapped to -1 and 1; None for 8-bit pictures (0 and 255).
        classes: class names; the condition `label` is an index into them. Empty for data without labels.
        own_resolution: whether images are windows of pictures at the pictures' own resolution; otherwise pictures are
            scaled to the size of the images.

    >>> str(DatasetInfo("faces.zip", images=10))
    'faces.zip, 10 images'
    >>> str(DatasetInfo("fields", images=10, value_range=ValueRange(200.0, 320.0)))
    'fields, 10 images, values 200..320'
    """

    name: str
    images: int | None = None
    sha256: str | None = None
    value_range: ValueRange | None = None
    classes: tuple[str, ...] = ()
    own_resolution: bool = False

    def matches(self, other: DatasetInfo) -> bool:
        """Return whether both are the same data in the same units: by fingerprints if both have one, else by name.

        >>> DatasetInfo("faces.zip", 10, "ab").matches(DatasetInfo("/elsewhere/faces.zip", 10, "ab"))
        True
        >>> DatasetInfo("faces.zip", 10).matches(DatasetInfo("faces.zip", 11, "ab"))
        False
        """
        if (self.value_range or ValueRange()) != (other.value_range or ValueRange()):
            return False
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return (self.name, self.images) == (other.name, other.images)

    def __str__(self) -> str:
        count = "" if self.images is None else f", {self.images} images"
        values = f", values {self.value_range.low:g}..{self.value_range.high:g}" if self.value_range else ""
        return f"{self.name}{count}{values}" + (f", sha256 {self.sha256[:12]}" if self.sha256 else "")


@frozen
class CheckpointConfig:
    """The content of `model.json`; see `describe`, which makes it from a restorer.

    Args:
        step: number of optimizer steps that were taken, at least 0.
        network: name and arguments of the network.
        degradation: name and arguments of the degradation that the restorer undoes.
        prediction_type: meaning of the network's output: `x0`, `eps` or `v`.
        clip_sample: whether x0_hat is clamped to [-1, 1].
        training: the training configuration.
        prior: distribution over x_T from which trajectories start; None if none was fitted.
        data: the data set of the training; None if it is not known.
        inverse_input: settings of the linear inverse that the network sees beside x_t; None for a network that sees x_t
            alone.
        normalization: formula that maps a value v of an 8-bit image, 0..255, to [-1, 1].
        versions: versions of Python and of the packages that wrote the file, by name.
        format: format number of the checkpoint; a reader refuses every other number.
    """

    step: Annotated[int, Field(ge=0)]
    network: ComponentConfig
    degradation: ComponentConfig
    prediction_type: Predict
    clip_sample: bool
    training: TrainConfig
    prior: ComponentConfig | None = None
    data: DatasetInfo | None = None
    inverse_input: InverseInput | None = None
    normalization: Literal["v / 127.5 - 1"] = "v / 127.5 - 1"
    versions: dict[str, str] = Field(default_factory=dict)
    format: Literal[3] = 3


_CONFIG = TypeAdapter(CheckpointConfig)


def network_of(restorer: Restorer) -> ComponentConfig:
    """Return name and arguments of a restorer's network.

    Raises:
        TypeError: if its class is not registered.
    """
    net = unwrapped(restorer)
    arguments = network_arguments(net)
    return ComponentConfig(str(net.name), arguments)


def unwrapped(restorer: Restorer) -> nn.Module:
    """Return a restorer's network; of one that `torch.compile` has wrapped, the module inside."""
    net: nn.Module = getattr(restorer.net, "_orig_mod", restorer.net)
    return net


def describe(
    restorer: Restorer,
    training: TrainConfig,
    step: int,
    prior: ComponentConfig | None = None,
    data: DatasetInfo | None = None,
) -> CheckpointConfig:
    """Return the configuration of a trained restorer.

    Args:
        restorer: the restorer.
        training: the training configuration.
        step: number of optimizer steps that were taken.
        prior: distribution over x_T from which its trajectories start, if it is known.
        data: the data set, if it is known.

    Raises:
        TypeError: if its network is not registered.
    """
    return CheckpointConfig(
        step=step,
        network=network_of(restorer),
        degradation=ComponentConfig.of(restorer.degradation),
        prediction_type=restorer.prediction_type,
        clip_sample=restorer.clip_sample,
        training=training,
        prior=prior,
        data=data,
        inverse_input=restorer.inverse_input,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "degrade-restore": _version("degrade-restore"),
        },
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # run from its source


def dump(config: CheckpointConfig) -> bytes:
    """Return the content of `model.json`."""
    return _CONFIG.dump_json(config, indent=2) + b"\n"


def read_checkpoint_config(checkpoint: str | Path) -> CheckpointConfig:
    """Return what the `model.json` of a checkpoint says.

    Raises:
        ValueError: if it says something else than a config of this format.
    """
    path = Path(checkpoint) / MODEL
    try:
        return _CONFIG.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CorruptCheckpointError(f"{MODEL} is missing, so this library did not write it") from None
    except OSError as error:
        raise CorruptCheckpointError(f"{MODEL} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        faults = error.errors()
    for fault in faults:  # another format explains every other fault
        if fault["loc"] == ("format",):
            raise CorruptCheckpointError(
                f"{MODEL}: format: {fault['input']!r} is not {FORMAT}, the one this library reads"
            )
    where = ".".join(map(str, faults[0]["loc"])) or "the file"
    raise CorruptCheckpointError(f"{MODEL}: {where}: {faults[0]['msg']}")
