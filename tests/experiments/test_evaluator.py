"""The evaluator: invariances, intervals at their rate, differences, the cache of reference features, and tables."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.evaluation.accumulate import Accumulator, process_share, reference_rows
from experiments.evaluation.distances import frechet_distance, gaussian_distance, kernel_distance
from experiments.evaluation.evaluator import Column, Evaluation, Evaluator, Value
from experiments.evaluation.feature_networks import FunctionFeatures, choose_features, make_feature_network
from experiments.evaluation.intervals import Interval, bootstrap, bootstrap_difference, jackknife, verdict
from experiments.evaluation.metrics import make_metric
from experiments.evaluation.tables import render_evaluation, render_table
from experiments.report.content import evaluation_table
from restore.distributed import SingleProcess
from tests.cases import images

ALL = ["rmse", "psnr", "ssim", "frechet_distance", "kernel_distance", "precision", "recall", "pairwise_rmse"]
COLORS = FunctionFeatures(lambda x: x.double().mean((2, 3)), "mean_color")


@pytest.fixture(scope="module")
def sets():
    x0 = images(24, 3, 16, 16)
    return x0, {"near": 0.9 * x0, "far": 0.5 * x0 + 0.2 * images(24, 3, 16, 16, seed=1)}


def values(evaluation):
    return {(name, key): value.value for name, row in evaluation.rows.items() for key, value in row.items()}


def test_numbers_do_not_depend_on_batch_size_or_order(sets):
    x0, made = sets
    expected = values(Evaluator(ALL, COLORS, batch_size=24).evaluate(made, x0, x0))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = {name: x[order] for name, x in made.items()}
    for found in (
        values(Evaluator(ALL, COLORS, batch_size=5).evaluate(made, x0, x0)),
        values(Evaluator(ALL, COLORS, batch_size=7).evaluate(shuffled, x0[order], x0.flip(0))),
    ):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert len(expected) == 2 * len(ALL)


class Rank(SingleProcess):
    def __init__(self, rank, world_size):
        self.rank, self.world_size = rank, world_size


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 6, 23])
def test_the_shares_of_processes_are_the_batches_of_one(n, world_size):
    shares = [process_share(n, 4, Rank(rank, world_size)) for rank in range(world_size)]
    assert [part for share in shares for part in share] == process_share(n, 4, SingleProcess())
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_numbers_do_not_depend_on_the_number_of_processes(sets, monkeypatch):
    x0, made = sets
    metrics = [make_metric(name) for name in ALL]
    parts = []
    for rank in range(2):
        accumulator = Accumulator(metrics, COLORS, Rank(rank, 2))
        for part in process_share(24, 5, accumulator.processes):
            accumulator.add(made["far"][part], x0[part])
        parts.append(accumulator._parts)

    def gather(into, value):
        into[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    together = accumulator.rows()
    alone = Evaluator(ALL, COLORS, batch_size=5).observe(made["far"], x0)
    assert together.keys() == alone.keys()
    assert all(torch.equal(together[key], alone[key]) for key in alone)


def covered(interval, truth):
    return interval.low <= truth <= interval.high


def normal(n, d=1, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_intervals_of_means_cover_the_truth_at_their_rate():
    skewed = [normal(80, seed=i)[:, 0].square() for i in range(100)]  # E = 1
    assert 90 <= sum(covered(bootstrap(x, seed=i), 1.0) for i, x in enumerate(skewed)) <= 97
    rmse = make_metric("rmse")
    hits = sum(covered(rmse.interval(x.view(-1, 1), seed=i), 1.0) for i, x in enumerate(skewed))
    assert 90 <= hits <= 97


def test_intervals_of_differences_cover_the_truth_at_their_rate_and_are_narrower_than_unpaired_ones():
    hits, widths = 0, []
    for i in range(100):
        hard = 3 * normal(60, seed=1000 + i)[:, 0]
        a, b = hard + normal(60, seed=i)[:, 0], hard + normal(60, seed=500 + i)[:, 0] + 0.5
        interval = bootstrap_difference(a, b, seed=i)
        hits += covered(interval, -0.5)
        widths.append((interval.high - interval.low) / (bootstrap(a, seed=i).high - bootstrap(a, seed=i).low))
    assert 90 <= hits <= 97
    assert sum(widths) / 100 < 0.6


def test_intervals_of_frechet_distances_cover_that_of_the_gaussians_at_their_rate():
    eye, shift = torch.eye(3, dtype=torch.float64), torch.full((3,), 0.6, dtype=torch.float64)
    truth = gaussian_distance(0 * shift, eye, shift, 2.25 * eye)
    metric, hits, above = make_metric("frechet_distance"), 0, 0
    for i in range(100):
        x, y = normal(120, 3, seed=i), 1.5 * normal(120, 3, seed=200 + i) + 0.6
        hits += covered(metric.interval(x, y, i), truth)
        above += frechet_distance(x, y) > truth
    assert 90 <= hits <= 97
    assert above > 55  # the estimate itself is biased upwards


def expected_kernel(p, q):
    """E ((x . y) / D + 1)^3 of independent x ~ N(p, I) and y ~ N(q, I), by the moments of x . y given x."""
    D, pq, pp, qq = len(p), float(p @ q), float(p @ p), float(q @ q)
    second = pq**2 + pp + qq + D
    third = pq**3 + 3 * pq * qq + 3 * pq * (pp + D + 2)
    return third / D**3 + 3 * second / D**2 + 3 * pq / D + 1


def test_intervals_of_kernel_distances_cover_the_truth_at_their_rate():
    zero, shift = torch.zeros(8, dtype=torch.float64), torch.full((8,), 0.6, dtype=torch.float64)
    truth = expected_kernel(zero, zero) + expected_kernel(shift, shift) - 2 * expected_kernel(zero, shift)
    metric, found, hits = make_metric("kernel_distance"), [], 0
    for i in range(100):
        x, y = normal(150, 8, seed=i), normal(150, 8, seed=300 + i) + shift
        hits += covered(metric.interval(x, y, i), truth)
        found.append(kernel_distance(x, y).value)
    assert sum(found) / 100 == pytest.approx(truth, rel=0.05)
    assert 90 <= hits <= 97


def test_a_difference_of_set_distances_is_measured_on_the_same_groups():
    metric, reference = make_metric("frechet_distance"), normal(200, 2, seed=3)
    a = normal(200, 2, seed=4)
    same = metric.difference_interval(a, a.clone(), reference)
    assert same.low == same.high == 0
    worse = metric.difference_interval(a, a + 1.0, reference)
    assert verdict(worse, metric.higher_is_better) == "better"
    assert worse.low < -2 < worse.high
    with pytest.raises(ValueError, match="2 images are too few for an interval; give at least 3"):
        jackknife(lambda keep: 0.0, 2)


def test_verdicts_follow_the_direction_of_the_metric(sets):
    x0, made = sets
    evaluation = Evaluator(["rmse", "psnr", "ssim", "pairwise_rmse"]).evaluate(made, truth=x0, baseline="far")
    found = {key: difference.verdict for key, difference in evaluation.differences["near"].items()}
    assert found == {"rmse": "better", "psnr": "better", "ssim": "better", "pairwise_rmse": "undecided"}
    assert evaluation.differences["near"]["rmse"].value < 0 < evaluation.differences["near"]["psnr"].value
    assert verdict(Interval(0.1, 0.2), None) == "undecided"
    with pytest.raises(ValueError, match="baseline 'nothing' is none of the sets; choose from near, far"):
        Evaluator(["rmse"]).evaluate(made, truth=x0, baseline="nothing")


def test_columns_follow_from_what_is_given_and_missing_values_are_explained(sets):
    x0, made = sets
    evaluator = Evaluator(["rmse", "frechet_distance", "centered_correlation", "class_score", "pairwise_rmse"], COLORS)
    keys = lambda evaluation: [column.key for column in evaluation.columns]  # noqa: E731
    assert keys(evaluator.evaluate(made)) == ["pairwise_rmse"]
    assert keys(evaluator.evaluate(made, truth=x0)) == ["rmse", "pairwise_rmse"]
    assert keys(evaluator.evaluate(made, reference=x0)) == ["frechet_distance_mean_color", "pairwise_rmse"]
    assert "centered_correlation" in keys(evaluator.evaluate(made, start=x0))
    one = evaluator.evaluate({"one": x0[:1]}, reference=x0)
    assert one.rows["one"]["frechet_distance_mean_color"].value is None
    assert "1 samples are too few for a covariance" in one.notes[0]
    with pytest.raises(KeyError, match="could not be computed"):
        one.value("one", "frechet_distance_mean_color")


def test_sets_of_different_sizes_and_non_finite_images_are_refused(sets):
    x0, made = sets
    with pytest.raises(ValueError, match=r"images \(24, 3, 16, 16\) and truths \(3, 3, 16, 16\) make no pairs"):
        Evaluator(["rmse"]).evaluate(made, truth=x0[:3])
    with pytest.raises(ValueError, match="1 of 24 images are not finite"):
        Evaluator(["frechet_distance"]).evaluate({"a": torch.cat([x0[:23], x0[:1] * math.inf])}, reference=x0)


def test_features_of_a_reference_set_are_kept_under_their_fingerprint(sets, tmp_path, monkeypatch):
    x0, _ = sets
    network = make_feature_network("thumbnail")
    first = reference_rows(network, x0, 5, tmp_path)
    monkeypatch.setattr(type(network), "forward", lambda self, x: pytest.fail("it is in the cache"))
    assert torch.equal(reference_rows(network, x0, 7, tmp_path)["features"], first["features"])
    monkeypatch.undo()
    reference_rows(network, x0 * 0.5, 5, tmp_path)  # other images
    reference_rows(make_feature_network("thumbnail", size=4), x0, 5, tmp_path)  # another network
    assert len(list(tmp_path.iterdir())) == 3


def test_the_table_is_plain_text_where_there_is_no_terminal(sets):
    x0, made = sets
    evaluation = Evaluator(["rmse", "frechet_distance"], COLORS).evaluate(made, x0, x0, baseline="far")
    lines = render_evaluation(evaluation, "24 images:", {"steps": {"near": "10"}}).splitlines()
    assert lines[0] == "24 images:"
    assert lines[1].split() == ["steps", "RMSE", "Fréchet", "distance", "(mean_color)"]
    assert lines[2].split()[:2] == ["near", "10"]
    assert lines[3].split()[0] == "far"
    assert "+ better, - worse than far" in lines[-2]
    assert lines[-1] == "Features: mean_color."
    assert all(ord(c) < 0x2500 and c != "\x1b" for line in lines for c in line)
    assert "\x1b[" in render_table(["a"], [["b"]], color=True)
    json = evaluation.to_dict()
    assert json["features"] == "mean_color"
    assert json["differences"]["near"]["rmse"]["verdict"] == "better"


@pytest.mark.parametrize(("value", "outside"), [(2.0, False), (3.5, True), (None, False)])
def test_a_table_says_why_a_distance_may_lie_outside_of_its_interval(value, outside):
    column = Column("frechet_distance", "Fréchet distance", False)
    row = {"made": {"frechet_distance": Value(value, Interval(1, 3))}}
    evaluation = Evaluation(24, None, (column,), row, None, {}, ())
    for note in (render_evaluation(evaluation), evaluation_table("24 images", evaluation).note):
        assert "half the width" in note
        assert ("few images make a distance too large" in note) == outside


def test_features_are_chosen_by_color_size_and_what_is_installed(monkeypatch):
    chosen = [choose_features(*shape) for shape in ((3, 32), (3, 31), (1, 32), (5, 64))]
    assert chosen == ["efficientnet_lite0", "thumbnail", "thumbnail", "thumbnail"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_features(3, 32) == "thumbnail"
