"""Metrics of a whole set: against a reference set, against the starts of trajectories, or within itself."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from degrade.frozen import frozen
from experiments.evaluation import distances
from experiments.evaluation.feature_networks import FeatureNetwork, to_unit
from experiments.evaluation.intervals import Interval
from experiments.evaluation.metrics.base import METRICS, Metric, SetMetric, check_finite, check_pairs

__all__ = [
    "CenteredCorrelation",
    "ClassScore",
    "FrechetDistance",
    "KernelDistance",
    "PairwiseRMSE",
    "Precision",
    "Recall",
]


@METRICS.register("frechet_distance")
class FrechetDistance(SetMetric):
    """Fréchet distance of the Gaussians fitted to two sets; biased upwards for small sets."""

    higher_is_better, title = False, "Fréchet distance"

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the distance."""
        assert reference is not None
        return distances.frechet_distance(rows, reference)

    def difference_interval(
        self, rows: Tensor, baseline: Tensor | None, reference: Tensor | None = None, seed: int = 0
    ) -> Interval | None:
        """Return the jackknife interval; None where the covariance is singular and the bias follows no law."""
        if len(rows) <= rows.shape[1]:
            return None
        return super().difference_interval(rows, baseline, reference, seed)


@METRICS.register("kernel_distance")
class KernelDistance(SetMetric):
    """Unbiased squared kernel distance (MMD^2) of two sets; the interval is that of its standard error."""

    higher_is_better, title = False, "Kernel distance"

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the distance."""
        assert reference is not None
        return distances.kernel_distance(rows, reference).value

    def interval(self, rows: Tensor, reference: Tensor | None = None, seed: int = 0) -> Interval | None:
        """Return the value plus and minus 1.96 standard errors."""
        assert reference is not None
        found = distances.kernel_distance(rows, reference)
        return Interval(found.value - 1.96 * found.standard_error, found.value + 1.96 * found.standard_error)


@frozen
class _Coverage(SetMetric):
    """Precision or recall, whichever its name says."""

    k: int = Field(3, ge=1)

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the share, in 0..1."""
        assert reference is not None
        return float(getattr(distances.precision_recall(rows, reference, self.k), self.name))


@METRICS.register("precision")
class Precision(_Coverage):
    """Share of the images that lie within the k-nearest-neighbor balls of the reference set.

    Args:
        k: number of the neighbor whose distance is the radius of a ball, at least 1.
    """

    higher_is_better, title = True, "Precision"


@METRICS.register("recall")
class Recall(_Coverage):
    """Share of the reference set that lies within the k-nearest-neighbor balls of the images.

    Args:
        k: number of the neighbor whose distance is the radius of a ball, at least 1.
    """

    higher_is_better, title = True, "Recall"


@METRICS.register("class_score")
class ClassScore(Metric):
    """exp(E KL(p(y | x) || p(y))) of a network's classes: high if single images are clear and the set is diverse.

    Args:
        splits: number of parts that are scored on their own and averaged; 10 in the publication.
    """

    higher_is_better, title, needs = True, "Class score", frozenset({"logits"})
    splits: int = Field(1, ge=1)

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the score of rows of logits."""
        return distances.class_score(rows, self.splits)


@METRICS.register("centered_correlation")
class CenteredCorrelation(Metric):
    """Mean correlation of each image with the start of its trajectory, both without their set's mean image.

    0 where a result has nothing to do with its start, 1 where it is its start.
    """

    title, needs = "Correlation to start", frozenset({"start"})

    def observe(self, x: Tensor, other: Tensor | None) -> Tensor:
        """Return the pixels of image and start, side by side."""
        assert other is not None
        check_pairs(x, other)
        return torch.cat([x.flatten(1), other.flatten(1)], dim=1)

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the mean correlation, in -1..1."""
        a, b = rows.cpu().double().chunk(2, dim=1)
        a, b = (F.normalize(v - v.mean(0), dim=1) for v in (a, b))
        return float((a * b).sum(1).mean())


@METRICS.register("pairwise_rmse")
class PairwiseRMSE(Metric):
    """Root of the mean squared difference between two images of a set, in [0, 1]: 0 when all are the same.

    Args:
        colors: whether mean colors count; without them only what is pictured does.
    """

    title = "Pairwise RMSE"
    colors: bool = True

    def column(self, features: FeatureNetwork | None = None) -> str:
        """Return the key, which says whether colors count."""
        return self.name if self.colors else f"{self.name}_without_colors"

    def heading(self, features: FeatureNetwork | None = None) -> str:
        """Return the title, which says whether colors count."""
        return self.title if self.colors else f"{self.title} without colors"

    def observe(self, x: Tensor, other: Tensor | None) -> Tensor:
        """Return the pixels, without their mean color if colors do not count."""
        check_finite(x)
        y = to_unit(x)
        return (y if self.colors else y - y.mean((2, 3), keepdim=True)).flatten(1)

    def compute(self, rows: Tensor, reference: Tensor | None = None) -> float:
        """Return the root of the mean squared difference of all pairs.

        Raises:
            ValueError: for a single image.
        """
        if len(rows) < 2:
            raise ValueError(f"the diversity of {len(rows)} images is not defined; give two or more")
        return float((2 * rows.cpu().double().var(0).mean()).sqrt())  # of pairs, E (a - b)^2 = 2 var
