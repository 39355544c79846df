"""Measure how well a classifier recognizes what a diffusion model generates, beside real images.

    python experiments/recognize.py --model runs/ddpm-001 --download
    python experiments/recognize.py --model runs/ddpm-001 --data mnist.zip --guidance-scales 1,1.5,2,3 --images 500

For each set of images the program measures the fraction that the classifier recognizes (one class with a probability
above --confidence), the number of images of each class, and the Fréchet distance to held-out images on the features of
the classifier; and for the model the bound in bits per dimension. The sets are samples by ancestral sampling with one
step per level, samples by DDIM with --sample-steps, training images, and the held-out images themselves. A model with
classes generates equally many images of each class, at every one of --guidance-scales.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import UsageError, explicit_values, run_main, validated
from experiments.data.options import LabelOptions
from experiments.run.folder import write_json
from experiments.run.presets import LABELED_DIGITS
from samplers.commands.options import Count, DeviceOptions

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.data.datasets import Datasets
    from experiments.evaluation.feature_networks import StoredClassifier
    from restore import BaseRestorer

__all__ = ["Config", "main"]

PROGRAM = "recognize.py"


class RecognitionOptions(LabelOptions):
    """Measurement."""

    model: str | None = Field(None, description="name of a diffusion model, or folder of a run of ddpm.py")
    out: str | None = Field(None, description="JSON file of the results (default: recognition.json in the run)")
    size: Count = Field(32, description="side of the images in pixels")
    features: str = Field("mnist_classifier", description="the classifier: mnist_classifier, or classifier:folder=...")
    confidence: float = Field(0.9, gt=0, lt=1, description="probability above which an image counts as recognized")
    images: int = Field(1000, ge=2, description="number of samples by DDIM, and of training images")
    ancestral_images: int = Field(
        1000, ge=0, description="number of samples by ancestral sampling with one step per level; 0 for none"
    )
    sample_steps: Count = Field(50, description="steps of DDIM")
    batch_size: Count = Field(100, description="images in one forward pass")
    guidance_scales: tuple[float, ...] = Field(
        (1.0, 2.0), description="guidance scales to compare, for a model with classes"
    )
    bound_images: int = Field(32, ge=0, description="number of held-out images for the bound; 0 for no bound")
    bound_times: Count | None = Field(
        None, description="number of random severities at which the bound is measured (default: all)"
    )


class Config(RecognitionOptions, DeviceOptions):
    """Everything."""


def sample_sets(
    config: Config, R: BaseRestorer, data: Datasets, classes: Sequence[str]
) -> Iterator[tuple[str, Tensor, list[str] | None]]:
    """Yield names of sets, images (n, C, H, W) of them, and the class that each image should be of if one was asked.

    Args:
        config: settings.
        R: the model.
        data: the held-out images give the shape of the samples.
        classes: the classes of the model.
    """
    from experiments.evaluation.diffusion import Classes, DiffusionEvaluator

    guided = [Classes(tuple(classes), scale) for scale in config.guidance_scales] if classes else []
    for known in (None, *guided):
        study = DiffusionEvaluator(R, data.validation, config.seed, config.batch_size, config.sample_steps, known)
        ancestral, ddim = next(iter(study.samplers)), list(study.samplers)[-1]
        suffix = f", guidance scale {known.guidance_scale:g}" if known else ""
        for name, n in ((ddim, config.images), *([] if known else [(ancestral, config.ancestral_images)])):
            if n:
                yield name + suffix, study.generated(name, n), study.asked(n)


def read_classifier(text: str) -> StoredClassifier:
    """Return the classifier that --features names.

    Raises:
        UsageError: if there is none of this name, or it is no classifier.
    """
    from experiments.evaluation.feature_networks import StoredClassifier, make_feature_network

    try:
        features = make_feature_network(text)
    except (ValueError, OSError) as error:
        raise UsageError(f"--features {text}: {error}") from None
    if not isinstance(features, StoredClassifier):
        raise UsageError(f"--features {text} names no classes; give mnist_classifier, or classifier:folder=...")
    return features


def main(argv: Sequence[str]) -> None:
    """Sample, measure, write."""
    config = validated(Config, {**LABELED_DIGITS, **explicit_values(Config, argv, PROGRAM, __doc__ or "")})
    from degrade.random import seeded_generator
    from experiments.data.datasets import load_labeled
    from experiments.evaluation.diffusion import DiffusionEvaluator
    from experiments.evaluation.recognition import RecognitionEvaluator, recognition_table
    from experiments.run.environment import describe_environment
    from restore import latest, load, read_checkpoint_config

    if config.model is None:
        raise UsageError("--model is missing; name a diffusion model, or the folder of a run, such as runs/ddpm-001")
    device, features = config.torch_device(), read_classifier(config.features)
    try:
        folder = latest(config.model)
        R, known = load(config.model, device), read_checkpoint_config(folder)
    except (OSError, ValueError) as error:
        raise UsageError(f"--model {config.model}: {error}") from None
    if not (R.degradation.additive and R.degradation.gaussian):
        raise UsageError(f"--model {config.model} undoes {R.degradation.name}; name a model of gaussian_noise")
    classes = known.data.classes if known.data else ()
    missing = sorted(set(classes) - set(features.trained().classes))
    if missing:
        raise UsageError(f"--features {config.features} does not know {missing[0]}, a class of the model")
    out = Path(config.out) if config.out else Path(config.model) / "recognition.json"
    if not out.parent.is_dir():
        raise UsageError(f"--out {out} cannot be written; name a file in a folder that exists")
    data = load_labeled(config, config.size, config.seed, device)
    study = DiffusionEvaluator(R, data.validation, config.seed, config.batch_size, config.sample_steps)
    unseen = study.images(config.images, "unseen")
    if len(unseen) < 2:
        raise UsageError(f"--data {config.data} has {len(unseen)} held-out images; a distance needs two or more")
    evaluator = RecognitionEvaluator(features, unseen, config.confidence, config.batch_size)
    seen = data.training(config.images, seeded_generator(device, config.seed, "training images"))
    sets = {"held-out images": evaluator.measure(unseen), "training images": evaluator.measure(seen)}
    for name, x, asked in sample_sets(config, R, data, classes):
        sets[name] = evaluator.measure(x, asked)
    measured: dict[str, Any] = {
        **{"model": config.model, "trained_steps": known.step, "data": str(data.spec), "features": features.name},
        **{"confidence": config.confidence, "sets": sets, "environment": describe_environment(device)},
    }
    if config.bound_images:
        measured["bits_per_dim"] = study.bound(config.bound_images, config.bound_times)
    write_json(out, measured)
    print(f"{recognition_table(sets, features.name, config.confidence)}\n{out}")


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
