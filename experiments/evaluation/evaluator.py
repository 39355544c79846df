"""One evaluator for restorations, translations, samples and comparisons: named sets of images in, a table out.

    evaluator = Evaluator(["rmse", "ssim", "frechet_distance"], features="thumbnail")
    evaluation = evaluator.evaluate({"direct": x, "algorithm2": y}, truth=x0, reference=x0, baseline="direct")
    print(render_evaluation(evaluation))

What a metric needs (a truth, a reference set, a start) decides whether it becomes a column: columns are not listed
anywhere. A value that cannot be computed, such as a covariance of one image, is left empty and a note says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from experiments.evaluation.accumulate import Accumulator, Rows, process_share, reference_rows
from experiments.evaluation.feature_networks import FeatureNetwork, make_feature_network
from experiments.evaluation.intervals import Interval, verdict
from experiments.evaluation.metrics.base import Metric, make_metric
from restore.distributed import SingleProcess

__all__ = ["Column", "Difference", "Evaluation", "Evaluator", "Value"]

METRICS = ("rmse", "psnr", "ssim", "frechet_distance", "kernel_distance")


class Value(NamedTuple):
    """A measured number (None where it cannot be computed) and its 95 % interval (None where there is none)."""

    value: float | None
    interval: Interval | None = None


class Difference(NamedTuple):
    """A number minus that of the baseline on the same images, its 95 % interval, and what that decides."""

    value: float
    interval: Interval | None
    verdict: str  # better, worse or undecided


class Column(NamedTuple):
    """One metric of a table: key in files, heading in tables, and which direction is better."""

    key: str
    heading: str
    higher_is_better: bool | None


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Args:
        images: number of images in each set.
        features: name of the feature network.
        columns: the metrics.
        rows: name of the set -> key of the column -> value.
        baseline: the set that differences are taken to, or None.
        differences: name of the set -> key of the column -> difference to the baseline.
        notes: why a value is missing.
    """

    images: int
    features: str | None
    columns: tuple[Column, ...]
    rows: dict[str, dict[str, Value]]
    baseline: str | None
    differences: dict[str, dict[str, Difference]]
    notes: tuple[str, ...]

    def value(self, row: str, column: str) -> float:
        """Return one number.

        Raises:
            KeyError: if there is no such row or column, or it could not be computed.
        """
        found = self.rows[row][column].value
        if found is None:
            raise KeyError(f"{column} of {row} could not be computed: {'; '.join(self.notes)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: every number with its interval."""
        return {
            "images": self.images,
            "features": self.features,
            "columns": [column._asdict() for column in self.columns],
            "rows": {name: {key: _plain(v) for key, v in row.items()} for name, row in self.rows.items()},
            "baseline": self.baseline,
            "differences": {name: {k: _plain(d) for k, d in row.items()} for name, row in self.differences.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_dict` described."""

        def read(kind: Callable[..., Any], table: Mapping[str, Any]) -> dict[str, Any]:
            def cell(value: Mapping[str, Any]) -> Any:
                interval = value["interval"]
                return kind(**{**value, "interval": None if interval is None else Interval(*interval)})

            return {name: {key: cell(value) for key, value in row.items()} for name, row in table.items()}

        columns = tuple(Column(**column) for column in values["columns"])
        rows, differences = read(Value, values["rows"]), read(Difference, values["differences"])
        known = {"columns": columns, "rows": rows, "differences": differences, "notes": tuple(values["notes"])}
        return cls(**{**values, **known})


def _plain(value: Value | Difference) -> dict[str, Any]:
    interval = None if value.interval is None else list(value.interval)
    return {**value._asdict(), "interval": interval}


class Evaluator:
    """Measures named sets of images.

    Args:
        metrics: names of registered metrics, or metric objects.
        features: name of a feature network, or an object; see `experiments.evaluation.feature_networks`.
        batch_size: images that are measured at a time; the numbers do not depend on it.
        seed: seed of the draws of the intervals.
        processes: processes that share the work; see `restore.distributed.init_distributed`.
        cache: folder in which features of reference sets are kept; None keeps none.

    Raises:
        ValueError: for an unknown metric or feature network.
        FileNotFoundError: if the weights of the feature network are not at hand.

    >>> import torch
    >>> x0 = torch.linspace(-1, 1, 4 * 3 * 16 * 16).view(4, 3, 16, 16)
    >>> evaluation = Evaluator(["rmse"]).evaluate({"half": x0 / 2, "all": x0}, truth=x0, baseline="half")
    >>> round(evaluation.value("all", "rmse"), 3), evaluation.differences["all"]["rmse"].verdict
    (0.0, 'better')
    """

    def __init__(
        self,
        metrics: Sequence[str | Metric] = METRICS,
        features: str | FeatureNetwork = "thumbnail",
        batch_size: int = 64,
        seed: int = 0,
        processes: SingleProcess = SingleProcess(),
        cache: str | Path | None = None,
    ) -> None:
        self.metrics = [make_metric(metric) if isinstance(metric, str) else metric for metric in metrics]
        self.features = make_feature_network(features) if isinstance(features, str) else features
        self.batch_size, self.seed, self.processes, self.cache = batch_size, seed, processes, cache

    def accumulator(self) -> Accumulator:
        """Return a new accumulator of the rows of one set."""
        return Accumulator(self.metrics, self.features, self.processes)

    def reference(self, images: Tensor) -> Rows:
        """Return the feature rows of a reference set (n, C, H, W), empty if no metric compares features."""
        if not any("reference" in metric.needs for metric in self.metrics):
            return {}
        return reference_rows(self.features, images, self.batch_size, self.cache)

    def observe(self, images: Tensor, truth: Tensor | None = None, start: Tensor | None = None) -> Rows:
        """Return the rows of images (n, C, H, W) that every process holds.

        Raises:
            ValueError: for images that are not finite, or of another shape than their truths or starts.
        """
        for name, other in (("truths", truth), ("starts", start)):
            if other is not None and other.shape != images.shape:
                found = f"images {tuple(images.shape)} and {name} {tuple(other.shape)}"
                raise ValueError(f"{found} make no pairs; give two sets of one shape")
        accumulator = self.accumulator()
        for part in process_share(len(images), self.batch_size, self.processes):
            accumulator.add(images[part], *(None if v is None else v[part] for v in (truth, start)))
        return accumulator.rows()

    def evaluate(
        self,
        sets: Mapping[str, Tensor],
        truth: Tensor | None = None,
        reference: Tensor | None = None,
        start: Tensor | None = None,
        baseline: str | None = None,
    ) -> Evaluation:
        """Measure sets of images.

        Args:
            sets: name -> (n, C, H, W) in [-1, 1].
            truth: (n, C, H, W) the clean image of each, for metrics that need a truth.
            reference: (m, C, H, W) the set that feature distances are taken to.
            start: (n, C, H, W) where trajectories started.
            baseline: name of the set that the others are compared with.

        Raises:
            ValueError: for images that are not finite or make no pairs, or an unknown baseline.
        """
        rows = {name: self.observe(images, truth, start) for name, images in sets.items()}
        return self.summarize(rows, {} if reference is None else self.reference(reference), baseline)

    def summarize(
        self, rows: Mapping[str, Rows], reference: Rows | None = None, baseline: str | None = None
    ) -> Evaluation:
        """Return the table of sets, from their rows as `observe` and accumulators return them.

        Raises:
            ValueError: for an unknown baseline.
        """
        if baseline is not None and baseline not in rows:
            raise ValueError(f"baseline {baseline!r} is none of the sets; choose from {', '.join(rows)}")
        reference, notes = reference or {}, []
        metrics = [metric for metric in self.metrics if self._applies(metric, rows, reference)]
        table: dict[str, dict[str, Value]] = {name: {} for name in rows}
        differences: dict[str, dict[str, Difference]] = {name: {} for name in rows if baseline not in (None, name)}
        for metric in metrics:
            key, against = metric.column(self.features), _against(metric, reference)
            for name, own in rows.items():
                if _key(metric) not in own:  # this set has no truth or start
                    continue
                try:
                    table[name][key] = self._measured(metric, own[_key(metric)], against)
                except ValueError as error:
                    table[name][key] = Value(None)
                    notes.append(f"{key} of {name}: {error}")
            for name in differences:
                a, b = (table[row].get(key, Value(None)).value for row in (name, baseline or ""))
                if a is not None and b is not None:
                    pair = (rows[name][_key(metric)], rows[baseline or ""][_key(metric)])
                    differences[name][key] = self._difference(metric, a - b, pair, against)
        counts = [len(next(iter(own.values()))) for own in rows.values() if own]
        features = self.features.name if any(m.needs & {"features", "logits"} for m in metrics) else None
        columns = tuple(Column(m.column(self.features), m.heading(self.features), m.higher_is_better) for m in metrics)
        return Evaluation(max(counts, default=0), features, columns, table, baseline, differences, tuple(notes))

    @staticmethod
    def _applies(metric: Metric, rows: Mapping[str, Rows], reference: Rows) -> bool:
        if "reference" in metric.needs and not reference:
            return False
        return any(_key(metric) in own for own in rows.values())

    def _measured(self, metric: Metric, rows: Tensor, reference: Tensor | None) -> Value:
        value = metric.compute(rows, reference)
        if not math.isfinite(value):
            raise ValueError(f"it is {value}, as the ratio of signal to noise is where an image equals its truth")
        try:
            interval = metric.interval(rows, reference, self.seed)
        except ValueError:  # too few images for an interval, though not for the value
            interval = None
        return Value(value, interval)

    def _difference(
        self, metric: Metric, value: float, pair: tuple[Tensor, Tensor], reference: Tensor | None
    ) -> Difference:
        try:
            interval = metric.difference_interval(pair[0], pair[1], reference, self.seed)
        except ValueError:
            interval = None
        decided = "undecided" if interval is None else verdict(interval, metric.higher_is_better)
        return Difference(value, interval, decided)


def _key(metric: Metric) -> str:
    if "logits" in metric.needs:
        return "logits"
    return "features" if "features" in metric.needs else metric.column()


def _against(metric: Metric, reference: Rows) -> Tensor | None:
    return reference[_key(metric)] if "reference" in metric.needs else None
