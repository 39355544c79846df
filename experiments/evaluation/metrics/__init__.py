"""Metrics by name; see `experiments.evaluation.metrics.base` for how to add one."""

import torch
from torch import Tensor

from experiments.evaluation.distances import frechet_distance
from experiments.evaluation.feature_networks import make_feature_network
from experiments.evaluation.metrics import paired, sets
from experiments.evaluation.metrics.base import (
    METRICS,
    Metric,
    PairedMetric,
    SetMetric,
    make_metric,
    measure,
    metric_names,
)

__all__ = [
    "METRICS",
    "Metric",
    "PairedMetric",
    "SetMetric",
    "make_metric",
    "measure",
    "metric_names",
    "paired",
    "sets",
]


def rmse(x: Tensor, truth: Tensor) -> float:
    """Return the metric `rmse`."""
    return measure("rmse", x, truth)


def ssim(x: Tensor, truth: Tensor) -> float:
    """Return the metric `ssim`."""
    return measure("ssim", x, truth)


def centered_correlation(x: Tensor, start: Tensor) -> float:
    """Return the metric `centered_correlation`."""
    return measure("centered_correlation", x, start)


def pairwise_rmse(x: Tensor, colors: bool = True) -> float:
    """Return the metric `pairwise_rmse`."""
    metric = make_metric("pairwise_rmse", colors=colors)
    return metric.compute(metric.observe(x, None))


def thumbnail_distance(x: Tensor, y: Tensor) -> float:
    """Return the Fréchet distance of thumbnails; a single image has covariance 0."""
    network = make_feature_network("thumbnail")
    a, b = (network(v if len(v) > 1 else torch.cat([v, v])).features for v in (x, y))
    return frechet_distance(a, b)
