"""Metrics by name. To add one, derive a class from `PairedMetric` or `SetMetric` and register it here.

A metric turns every image into a row of numbers (`observe`) and the rows of a set into one number (`compute`). So
images are measured in batches of any size, by any number of processes, and intervals come from the rows alone.

    PairedMetric   an image against its truth: rmse, psnr, ssim, lpips
    SetMetric      a set against a reference set, on the rows of a feature network: frechet_distance, kernel_distance,
                   precision, recall, class_score
    others         centered_correlation (to the start of a trajectory), pairwise_rmse (within one set)

Images (B, C, H, W) come in [-1, 1] and are measured in [0, 1] after clipping, as by Bansal et al. (2022).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from degrade.registry import Registry
from degrade.serializable import Serializable
from experiments.evaluation.feature_networks import FeatureNetwork, to_unit
from experiments.evaluation.intervals import Interval, bootstrap, bootstrap_difference, jackknife

__all__ = [
    "METRICS",
    "Metric",
    "PairedMetric",
    "SetMetric",
    "check_finite",
    "check_pairs",
    "make_metric",
    "measure",
    "metric_names",
]

Needs = Literal["truth", "reference", "features", "logits", "start"]
INCEPTION_NAMES = {"frechet_distance": "FID", "kernel_distance": "KID", "class_score": "IS"}


class Metric(Serializable):
    """One number about a set of images.

    Class attributes:
        higher_is_better: None where neither direction is better.
        needs: inputs beside the images; a metric whose inputs are missing is left out.
        minimum_size: smallest side in pixels of images that it can measure; of smaller ones it is left out.
    """

    higher_is_better: ClassVar[bool | None] = None
    needs: ClassVar[frozenset[Needs]] = frozenset()
    title: ClassVar[str] = ""
    minimum_size: ClassVar[int] = 1

    def column(self, features: FeatureNetwork | None = None) -> str:
        """Return the key under which values are stored, with the name of the features if they take part."""
        return f"{self.name}_{features.name}" if features and self.needs & {"features", "logits"} else self.name

    def heading(self, features: FeatureNetwork | None = None) -> str:
        """Return what tables and plots call it; only Inception's numbers are called FID, KID and IS."""
        if not (features and self.needs & {"features", "logits"}):
            return self.title
        if features.name == "inception" and self.name in INCEPTION_NAMES:
            return INCEPTION_NAMES[self.name]
        return f"{self.title} ({features.name})"

    def observe(self, x: Tensor, other: Tensor | None) -> Tensor:
        """Return one row (B, K) of numbers for each image x; `other` is its truth or its start, where it needs one."""
        raise NotImplementedError(f"{type(self).__name__} does not define observe(x, other)")

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the value of the metric, from rows (n, K) and, where it needs them, those of a reference set."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute(rows, reference)")

    def interval(self, rows: Tensor, reference: Tensor | None = None, seed: int = 0) -> Interval | None:
        """Return the 95 % interval of the value in the population, or None where there is none."""
        return self.difference_interval(rows, None, reference, seed)

    def difference_interval(
        self, rows: Tensor, baseline: Tensor | None, reference: Tensor | None = None, seed: int = 0
    ) -> Interval | None:
        """Return the 95 % interval of value(rows) - value(baseline), both of the same images."""

        def difference(keep: Any) -> float:
            kept = None if reference is None else keep(reference)
            minuend = self.compute(keep(rows), kept)
            return minuend if baseline is None else minuend - self.compute(keep(baseline), kept)

        smallest = min(len(v) for v in (rows, baseline, reference) if v is not None)
        return jackknife(difference, smallest, seed)


class PairedMetric(Metric):
    """One number for each image and its truth; the set's number is their mean, or what `reduce` makes of them."""

    needs = frozenset({"truth"})

    def per_image(self, x: Tensor, truth: Tensor) -> Tensor:
        """Return (B,) numbers of images x and their truths, both (B, C, H, W) in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} does not define per_image(x, truth)")

    def reduce(self, values: Tensor) -> Tensor:
        """Return the value (...) of the set, from (..., n) numbers of its images."""
        return values.mean(-1)

    def observe(self, x: Tensor, other: Tensor | None) -> Tensor:
        """Return the numbers as rows (B, 1)."""
        assert other is not None
        check_pairs(x, other)
        return self.per_image(to_unit(x), to_unit(other)).view(-1, 1)

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the reduced rows (n, 1)."""
        return float(self.reduce(rows[:, 0].double()))

    def difference_interval(
        self, rows: Tensor, baseline: Tensor | None, reference: Tensor | None = None, seed: int = 0
    ) -> Interval | None:
        """Return the bootstrap interval."""
        if baseline is None:
            return bootstrap(rows[:, 0], self.reduce, seed)
        return bootstrap_difference(rows[:, 0], baseline[:, 0], self.reduce, seed)


class SetMetric(Metric):
    """One number of the feature rows of a set, most often beside those of a reference set."""

    needs = frozenset({"features", "reference"})


METRICS = Registry(Metric, "metric", "evaluation.metrics")
make_metric = METRICS.make
metric_names = METRICS.names


def measure(name: str, x: Tensor, other: Tensor | None = None) -> float:
    """Return one metric of images x (B, C, H, W) in [-1, 1] against their truths or starts.

    Raises:
        ValueError: for an unknown metric, one that needs features, or images that make no pairs or are not finite.

    >>> measure("rmse", torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    0.5
    """
    metric = make_metric(name)
    if metric.needs & {"features", "logits"}:
        raise ValueError(f"{name} needs a feature network; use an Evaluator")
    return metric.compute(metric.observe(x, other).cpu())


def check_pairs(x: Tensor, other: Tensor) -> None:
    """Raise ValueError unless two sets are finite and have one shape: images are compared in pairs."""
    if x.shape != other.shape:
        raise ValueError(f"images {tuple(x.shape)} and {tuple(other.shape)} make no pairs; give two sets of one shape")
    check_finite(x)
    check_finite(other)


def check_finite(x: Tensor) -> None:
    """Raise ValueError if an image holds NaN or infinity."""
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).flatten(1).any(1).sum())
        raise ValueError(f"{bad} of {len(x)} images are not finite; look for NaN or inf in what made them")
