"""Classifiers in folders without executable content, by path or by the name of an included one.

classifier.json      the configuration, the names of the classes, and how it was trained
weights.safetensors  the weights in float16
checksums.json       size and SHA-256 of these two files
card.md              data and license, command, seed, time, accuracy, limits
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from degrade.registry import build
from experiments.evaluation.classifiers.network import ClassifierConfig, ClassifierNet
from restore.checkpoint.integrity import verify, write

__all__ = ["TrainedClassifier", "accuracy", "classifier_names", "load_classifier", "save_classifier"]

HERE = Path(__file__).parent
CONFIG, WEIGHTS, CARD = "classifier.json", "weights.safetensors", "card.md"


class TrainedClassifier(NamedTuple):
    """A network in evaluation mode, the names of its classes, and JSON values that say how it was trained."""

    net: ClassifierNet
    classes: tuple[str, ...]
    training: dict[str, Any]


def classifier_names() -> tuple[str, ...]:
    """Return the names of the included classifiers, in alphabetical order.

    >>> "mnist" in classifier_names()
    True
    """
    return tuple(sorted(file.parent.name for file in HERE.glob(f"*/{CONFIG}")))


def save_classifier(folder: Path, classifier: TrainedClassifier, card: str) -> None:
    """Write a classifier, its weights in float16.

    Args:
        folder: folder of the files, created if missing.
        classifier: the classifier.
        card: the text of `card.md`.
    """
    config = {
        "network": dataclasses.asdict(classifier.net.config),
        "classes": list(classifier.classes),
        "training": classifier.training,
    }
    weights = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in classifier.net.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, allow_nan=False) + "\n"
    write(folder, [(CONFIG, text.encode()), (WEIGHTS, to_safetensors(weights))])
    (folder / CARD).write_text(card.rstrip("\n") + "\n", encoding="utf-8")


def load_classifier(source: str | Path) -> TrainedClassifier:
    """Return a classifier in float32 on the CPU.

    Args:
        source: the name of an included one, or a folder that `save_classifier` wrote.

    Raises:
        FileNotFoundError: if there is neither.
        CorruptCheckpointError: if a file is damaged.

    >>> load_classifier("mnist").classes[:3]
    ('0', '1', '2')
    """
    folder = HERE / source if str(source) in classifier_names() else Path(source)
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(
            f"{source} is no classifier; name one of {', '.join(classifier_names())}, or a folder that"
            " experiments/classifier.py wrote"
        )
    verify(folder, (CONFIG, WEIGHTS))
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    net = ClassifierNet(build(ClassifierConfig, **config["network"]))
    weights = from_safetensors((folder / WEIGHTS).read_bytes())
    net.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in weights.items()})
    return TrainedClassifier(net.eval().requires_grad_(False), tuple(config["classes"]), config["training"])


def accuracy(net: ClassifierNet, x: torch.Tensor, label: torch.Tensor, batch_size: int = 500) -> float:
    """Return the fraction of images whose most likely class is their label.

    Args:
        net: the classifier, in evaluation mode.
        x: (n, C, H, W) images.
        label: (n,) their classes.
        batch_size: images in one forward pass.
    """
    with torch.inference_mode():
        found = torch.cat([net(part).logits.argmax(1) for part in torch.split(x, batch_size)])
    return float((found == label).double().mean())
