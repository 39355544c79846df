"""The patterns that the publication reports, and three questions of ours, each decided by paired differences.

A claim says what the difference of one row to another one should be in one metric: `better` or `worse`. The 95 %
interval of the difference on the same images decides it: confirmed, refuted, or undecided where the interval contains 0
or cannot be computed. A pattern is confirmed if some claims are confirmed and none is refuted, refuted if some are
refuted and none is confirmed, and undecided otherwise. Claims are not corrected for their number: of 20 differences
that are 0, one is decided by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from experiments.evaluation.evaluator import Difference, Evaluation

__all__ = ["PATTERNS", "Evidence", "Outcome", "Pattern", "PatternResult", "decide", "decide_all"]

Outcome = Literal["confirmed", "refuted", "undecided"]
Expected = Literal["better", "worse"]


class Pattern(NamedTuple):
    """A statement about rows of evaluations.

    Args:
        name: a short name.
        statement: the claim, in words.
        row: the row that is looked at; None for every row beside the baseline.
        baseline: the row it is compared with; evaluations with another baseline are left out. It may end with `*`.
        metrics: names of metrics, without the features.
        expected: sign that the difference should have.
    """

    name: str
    statement: str
    row: str | None
    baseline: str
    metrics: tuple[str, ...]
    expected: Expected


SETS = ("frechet_distance", "kernel_distance")
PATTERNS = (
    Pattern(
        "iterating, distance of sets",
        "Iterating has the lower Fréchet distance than one prediction",
        *("algorithm2", "direct", ("frechet_distance",), "better"),
    ),
    Pattern(
        "one shot, distortion",
        "One prediction has the better SSIM and RMSE than iterating",
        *("algorithm2", "direct", ("ssim", "rmse"), "worse"),
    ),
    Pattern(
        "Algorithm 2",
        "Algorithm 2 is better than Algorithm 1",
        *("algorithm2", "algorithm1", ("frechet_distance", "ssim", "rmse"), "better"),
    ),
    Pattern("jitter", "Jitter of the starting points helps generation", *("jitter 0.002", "jitter 0", SETS, "better")),
    Pattern(
        "estimated z",
        "Estimating z at every step is better than keeping it fixed",
        *("estimated z", "fixed z", SETS, "better"),
    ),
    Pattern(
        "network",
        "The network is better than the linear inverse of the degradation",
        *("linear inverse", "direct", ("frechet_distance", "ssim", "rmse"), "worse"),
    ),
    Pattern(
        "sight of the inverse",
        "A network that sees the linear inverse of its input restores better, after as many steps",
        *("with inverse", "without inverse", ("frechet_distance", "ssim", "rmse"), "better"),
    ),
    Pattern(
        "number of levels",
        "More severity levels T restore better at equal training",
        *(None, "T = *", ("frechet_distance", "ssim", "rmse"), "better"),
    ),
)


class Evidence(NamedTuple):
    """One claim: the difference `row` - `baseline` in one metric, and what it says about the pattern."""

    task: str
    metric: str
    row: str
    baseline: str
    value: float | None
    interval: tuple[float, float] | None
    outcome: Outcome


class PatternResult(NamedTuple):
    """A pattern with its evidence."""

    pattern: Pattern
    outcome: Outcome
    evidence: tuple[Evidence, ...]

    def count(self, outcome: Outcome) -> int:
        """Return the number of claims with an outcome."""
        return sum(one.outcome == outcome for one in self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        described = {"name": self.pattern.name, "statement": self.pattern.statement, "outcome": self.outcome}
        return {**described, "evidence": [one._asdict() for one in self.evidence]}


def decide_all(evaluations: Mapping[str, Sequence[Evaluation]]) -> list[PatternResult]:
    """Return every pattern with its outcome.

    Args:
        evaluations: name of the task -> its evaluations, each with a baseline.
    """
    return [decide(pattern, evaluations) for pattern in PATTERNS]


def decide(pattern: Pattern, evaluations: Mapping[str, Sequence[Evaluation]]) -> PatternResult:
    """Return one pattern with its outcome over all tasks that have the two rows and the metric."""
    evidence = [
        _evidence(pattern, task, column.key, row, evaluation)
        for task, found in evaluations.items()
        for evaluation in found
        if _matches(evaluation.baseline, pattern.baseline)
        for column in evaluation.columns
        if column.key.startswith(pattern.metrics)
        for row in evaluation.differences
        if pattern.row in (None, row)
    ]
    outcomes = {one.outcome for one in evidence}
    overall: Outcome = "undecided"
    if "confirmed" in outcomes and "refuted" not in outcomes:
        overall = "confirmed"
    elif "refuted" in outcomes and "confirmed" not in outcomes:
        overall = "refuted"
    return PatternResult(pattern, overall, tuple(evidence))


def _matches(baseline: str | None, wanted: str) -> bool:
    if baseline is None:
        return False
    return baseline.startswith(wanted[:-1]) if wanted.endswith("*") else baseline == wanted


def _evidence(pattern: Pattern, task: str, metric: str, row: str, evaluation: Evaluation) -> Evidence:
    baseline = evaluation.baseline or ""
    difference: Difference | None = evaluation.differences[row].get(metric)
    if difference is None:
        return Evidence(task, metric, row, baseline, None, None, "undecided")
    outcome: Outcome = "undecided"
    if difference.verdict != "undecided":
        outcome = "confirmed" if difference.verdict == pattern.expected else "refuted"
    interval = None if difference.interval is None else tuple(difference.interval)
    return Evidence(task, metric, row, baseline, difference.value, interval, outcome)  # type: ignore[arg-type]
