"""Train a small classifier of images, for distances over its features and for how well it recognizes samples.

    python experiments/classifier.py --download                                   MNIST: minutes on a CPU
    python experiments/classifier.py --data cifar10 --resize crop --flip --width 32 --epochs 30 --download
    python experiments/classifier.py --data photos/ --resize crop --out runs/classifier-photos

The classes are those of --labels. The folder --out then holds the classifier and its card; every program that takes
--features takes it as `classifier:folder=runs/classifier`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import UsageError, explicit_values, run_main, validated
from experiments.data.options import LabelOptions
from experiments.run.options import make_component
from experiments.run.presets import LABELED_DIGITS
from samplers.commands.options import Count, DeviceOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from experiments.data.datasets import Datasets
    from experiments.evaluation.classifiers.network import ClassifierNet

__all__ = ["Config", "augment", "main", "train_classifier"]

PROGRAM = "classifier.py"


class ClassifierOptions(LabelOptions):
    """Classifier."""

    out: str = Field("runs/classifier", description="folder of the classifier; it must be new or empty")
    size: int = Field(32, ge=8, description="side of the images in pixels")
    width: Count = Field(16, description="channels of the first layer; the features are eight times as many")
    epochs: Count = Field(20, description="number of passes over the training images")
    batch_size: Count = Field(128, description="images per optimizer step")
    optimizer: str = Field("adamw:lr=0.003,weight_decay=0.05", description="name:argument=value,...")
    lr_schedule: str = Field("cosine:warmup=100", description="learning-rate schedule")
    max_shift: float = Field(
        0.06, ge=0, lt=1, description="largest shift of a training image, as a fraction of its side"
    )
    max_rotation: float = Field(10.0, ge=0, description="largest rotation of a training image in degrees")
    max_zoom: float = Field(0.1, ge=0, lt=1, description="largest relative change of the size of a training image")


class Config(ClassifierOptions, DeviceOptions):
    """Everything."""


def augment(x: Tensor, config: ClassifierOptions, generator: torch.Generator | None = None) -> Tensor:
    """Return images (B, C, H, W), each shifted, rotated and zoomed at random; edges are continued outward.

    Args:
        x: (B, C, H, W).
        config: settings.
        generator: source of randomness.
    """
    import torch
    from torch.nn import functional as F

    from degrade.random import rand

    angle, zoom, right, down = (2 * rand((4, len(x)), x, generator) - 1).unbind()
    angle, zoom = angle * torch.pi / 180 * config.max_rotation, 1 + zoom * config.max_zoom
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    shifts = 2 * config.max_shift * torch.stack([right, down], 1)
    maps = torch.cat([torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2), shifts[..., None]], 2)
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def train_classifier(config: Config, data: Datasets, device: torch.device) -> ClassifierNet:
    """Return a classifier of the classes of `data`, trained in bfloat16 where `device` computes in it.

    Args:
        config: the network and how it is trained.
        data: images with labels.
        device: the device to compute on.
    """
    import torch
    from torch.nn import functional as F
    from tqdm import tqdm

    from degrade.random import fork_seed, seeded_generator
    from experiments.data.examples import Examples
    from experiments.evaluation.classifiers.network import ClassifierConfig, ClassifierNet
    from restore.lr_schedules import LR_SCHEDULES
    from restore.optimizers import OPTIMIZERS
    from restore.precision import has_fast_bfloat16

    examples = data.training
    assert isinstance(examples, Examples)
    with fork_seed("cpu", config.seed, "weights"):
        net = ClassifierNet(ClassifierConfig(data.channels, len(data.classes), config.width, config.size))
    net = net.to(device).to(memory_format=torch.channels_last)
    optimizer_config = make_component(OPTIMIZERS, config.optimizer, "optimizer")
    schedule = make_component(LR_SCHEDULES, config.lr_schedule, "lr_schedule")
    optimizer = optimizer_config.build(list(net.parameters()))
    steps = config.epochs * max(1, len(examples) // config.batch_size)
    low = has_fast_bfloat16(device)
    generator, step = seeded_generator("cpu", config.seed, "augmentation"), 0
    for epoch in tqdm(range(config.epochs), "training", unit="epoch", disable=None):
        order = torch.randperm(len(examples), generator=seeded_generator("cpu", config.seed, "order", epoch))
        for index in torch.split(order, config.batch_size)[: steps // config.epochs]:
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr_at(optimizer_config.lr, step, steps)
            x, cond = examples.at(index, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                logits = net(augment(x, config, generator).contiguous(memory_format=torch.channels_last)).logits
            loss = F.cross_entropy(logits.float(), cond["label"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net.eval()


def card(config: Config, data: Datasets, facts: dict[str, Any]) -> str:
    """Return the card of a classifier in Markdown."""
    return f"""# Classifier of {len(data.classes)} classes, trained on {data.name}

| | |
|---|---|
| data | {data.spec} |
| network | {facts["parameters"]:,} parameters, {8 * config.width} features, images of {config.size} pixels |
| training | {config.epochs} epochs of {config.batch_size} images a step, {config.optimizer}, seed {config.seed} |
| time | {facts["processor_seconds"]:.0f} s of processor time on {facts["device"]} |
| accuracy | {facts["accuracy"]:.4f} of {facts["test_images"]:,} held-out images |

Classes: {", ".join(data.classes)}.
"""


def main(argv: Sequence[str]) -> None:
    """Train, measure, write."""
    config = validated(Config, {**LABELED_DIGITS, **explicit_values(Config, argv, PROGRAM, __doc__ or "")})
    import torch

    from experiments.data.datasets import load_labeled
    from experiments.data.examples import Examples
    from experiments.evaluation.classifiers.storage import TrainedClassifier, accuracy, save_classifier
    from experiments.run.environment import describe_environment
    from restore.lr_schedules import LR_SCHEDULES
    from restore.optimizers import OPTIMIZERS

    device, folder = config.torch_device(), Path(config.out)
    if config.labels is None:
        raise UsageError("--labels is none; a classifier needs them: folders, or a CSV of name,label")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--out {folder} is there and not empty; name a new folder")
    for registry, option in ((OPTIMIZERS, "optimizer"), (LR_SCHEDULES, "lr_schedule")):
        try:
            make_component(registry, getattr(config, option), option)
        except ValueError as error:
            raise UsageError(str(error)) from None
    data = load_labeled(config, config.size, config.seed, device)
    start = time.process_time()
    net = train_classifier(config, data, device)
    seconds = time.process_time() - start
    assert isinstance(data.validation, Examples)
    x, cond = data.validation.at(torch.arange(len(data.validation)))
    facts = {
        "accuracy": accuracy(net, x, cond["label"]),
        "test_images": len(x),
        "parameters": sum(p.numel() for p in net.parameters()),
        "processor_seconds": seconds,
        "device": describe_environment(device)["device"]["name"],
    }
    classifier = TrainedClassifier(net, data.classes, {"options": config.model_dump(), "data": str(data.spec), **facts})
    save_classifier(folder, classifier, card(config, data, facts))
    print(f"{facts['accuracy']:.4f} of {len(x)} held-out images recognized\n{folder}")


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
