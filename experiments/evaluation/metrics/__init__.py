"""Metrics by name; see `experiments.evaluation.metrics.base` for how to add one."""

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
