"""The paper's tables: published numbers, how patterns are decided, and tasks that are cut, continued, not repeated."""

from __future__ import annotations

import json

import pytest
import torch

from degrade import expand_level
from degrade.command_line import run_main
from experiments import tables
from experiments.data.images import InMemoryImages
from experiments.evaluation.evaluator import Evaluator
from experiments.evaluation.patterns import PATTERNS, decide, decide_all
from experiments.evaluation.published import PUBLISHED, ThisProtocol, protocol_differences
from experiments.evaluation.reproduction import (
    Measurement,
    inverse_evaluation,
    levels_evaluation,
    load_measurement,
    save_measurement,
    unseen_images,
)
from experiments.run.loop import GracefulStop
from experiments.run.presets import PRESETS
from experiments.run.tasks import LEVELS, TASKS, task_config
from restore import latest
from tests.cases import images

FEW = ["--steps", "4", "--images", "6", "--sample-steps", "3", "--device", "cpu"]


def make(out, *words):
    return run_main(tables.main, "tables.py", [*FEW, "--out", str(out), *map(str, words)])


def evaluated(rows, baseline, n=40, metrics=("rmse", "ssim")):
    """Return the evaluation of images whose errors have given standard deviations; a pair alternates over images."""
    x0 = images(n, 3, 12, 12)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0), dtype=x0.dtype)
    sizes = {row: torch.tensor([*torch.tensor(error).view(-1).tolist() * n][:n]) for row, error in rows.items()}
    sets = {row: x0 + size.view(-1, 1, 1, 1) * noise for row, size in sizes.items()}
    return Evaluator(metrics).evaluate(sets, truth=x0, reference=x0, baseline=baseline)


def pattern(name):
    return next(one for one in PATTERNS if one.name == name)


def test_published_numbers_belong_to_tasks_and_their_rows():
    assert set(PUBLISHED) < set(TASKS)
    assert set(PRESETS) - {"generation-mask", "generation-pixelate", "photo-noise", "photo-blur"} < set(TASKS)
    for task, rows in PUBLISHED.items():
        assert task.startswith("generation") or set(rows) == {"degraded", "direct", "algorithm2"}
    # The publication's own pattern holds in its numbers where they are confirmed.
    for rows in PUBLISHED.values():
        if "direct" in rows and rows["direct"].confirmed:
            assert rows["algorithm2"].fid < rows["direct"].fid
            assert rows["algorithm2"].ssim < rows["direct"].ssim


def test_only_what_differs_from_the_published_protocol_is_named():
    same = ThisProtocol("cifar10", 32, 10_000, "inception", "float32", "float32", 700_000, 64, "UNet of DDPM", 50)
    differs = lambda task, T=50: " ".join(protocol_differences(task, same, T))  # noqa: E731
    assert "data" not in differs("cifar10-blur")
    assert differs("cifar10-inpaint").count("published") == differs("cifar10-blur").count("published") + 2
    assert "input: float32; published: 8bit" in differs("cifar10-inpaint")
    assert "input" not in differs("generation-noise")
    assert "sampling: 50 steps; published: 200 steps" in differs("cifar10-snow", T=200)


def test_the_blur_of_all_numbers_of_levels_ends_in_the_same_image():
    x0 = images(2, 3, 16, 16)
    ends = []
    for T in LEVELS:
        task = task_config(f"levels-{T}", "tiny", {"data": "drawn"})
        D = task.make_degradation()
        assert (D.T, task.sample_steps) == (T, None)
        ends.append(D(x0, expand_level(T, x0), None))
    assert all(torch.allclose(x_T, ends[0], rtol=0, atol=1e-12) for x_T in ends)
    assert len({task_config(f"levels-{T}", "small", {}).steps for T in LEVELS}) == 1  # equal training


@pytest.mark.parametrize(
    ("errors", "outcome"), [((0.1, 0.3), "refuted"), ((0.3, 0.1), "confirmed"), (((0.1, 0.3), (0.3, 0.1)), "undecided")]
)
def test_paired_differences_decide_a_pattern(errors, outcome):
    one_shot = pattern("one shot, distortion")  # algorithm2 is worse than direct
    evaluation = evaluated(dict(zip(("algorithm2", "direct"), errors)), "direct")
    found = decide(one_shot, {"a": [evaluation]})
    assert found.outcome == outcome
    assert [(one.metric, one.outcome) for one in found.evidence] == [("rmse", outcome), ("ssim", outcome)]
    assert all((one.interval[0] <= 0 <= one.interval[1]) == (outcome == "undecided") for one in found.evidence)
    assert decide(pattern("Algorithm 2"), {"a": [evaluation]}).evidence == ()  # another baseline


def test_tasks_that_contradict_each_other_leave_a_pattern_undecided():
    good, bad = (evaluated({"algorithm2": a, "direct": b}, "direct") for a, b in ((0.3, 0.1), (0.1, 0.3)))
    one_shot = pattern("one shot, distortion")
    found = decide(one_shot, {"a": [good], "b": [bad]})
    assert (found.outcome, found.count("confirmed"), found.count("refuted")) == ("undecided", 2, 2)
    assert decide(one_shot, {"a": [good], "b": [good]}).outcome == "confirmed"


def test_a_distance_without_an_interval_decides_nothing():
    # 40 images are fewer than the 192 dimensions of thumbnails.
    evaluation = evaluated({"algorithm2": 0.1, "direct": 0.5}, "direct", metrics=("frechet_distance",))
    found = decide(pattern("iterating, distance of sets"), {"a": [evaluation]})
    assert [(one.outcome, one.interval) for one in found.evidence] == [("undecided", None)]


def test_levels_are_compared_with_the_smallest_t_on_the_same_images():
    evaluator, x0 = Evaluator(["rmse"]), images(12, 3, 12, 12)
    measured = {
        T: Measurement({"algorithm2": evaluator.observe(x0 + 1 / T, x0)}, evaluator.reference(x0), {})
        for T in (20, 5, 50)
    }
    over = levels_evaluation(measured, evaluator)
    assert (list(over.rows), over.baseline) == (["T = 5", "T = 20", "T = 50"], "T = 5")
    assert decide(pattern("number of levels"), {"levels": [over]}).outcome == "confirmed"


def test_sight_of_the_inverse_is_decided_by_one_prediction_on_the_same_images():
    evaluator, x0 = Evaluator(["rmse"]), images(12, 3, 12, 12)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0), dtype=x0.dtype)
    without, seen = (
        Measurement({"direct": evaluator.observe(x0 + size * noise, x0)}, evaluator.reference(x0), {})
        for size in (0.2, 0.1)
    )
    found = inverse_evaluation(without, seen, evaluator)
    assert list(found.rows) == ["without inverse", "with inverse"]
    assert decide(pattern("sight of the inverse"), {"a": [found]}).outcome == "confirmed"
    assert (
        decide(pattern("sight of the inverse"), {"a": [inverse_evaluation(seen, without, evaluator)]}).outcome
        == "refuted"
    )
    # The two differ in the sight of the inverse alone.
    plain, other = (task_config(name, "small", {}) for name in ("cifar10-blur", "cifar10-blur-inverse"))
    assert plain.model_copy(update={"inverse_input": True}) == other
    assert other.quantize_input


def test_measurements_are_stored_in_their_order(tmp_path):
    rows = {name: {"rmse": torch.rand(3, 1), "features": torch.rand(3, 2)} for name in ("linear inverse", "a", "T = 5")}
    measured = Measurement(
        rows, {"features": torch.rand(4, 2)}, {"z": torch.rand(2, 3, 4, 4), "b": torch.rand(2, 3, 4, 4)}
    )
    save_measurement(tmp_path / "m.safetensors", measured)
    loaded = load_measurement(tmp_path / "m.safetensors")
    assert (list(loaded.rows), list(loaded.pictures)) == (["linear inverse", "a", "T = 5"], ["z", "b"])
    assert torch.equal(loaded.rows["a"]["features"], rows["a"]["features"])
    assert torch.equal(loaded.reference["features"], measured.reference["features"])


def test_every_unseen_image_is_measured_once():
    held_out = InMemoryImages(
        torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 4, 4).contiguous(), 4, False
    )
    found = unseen_images(held_out, 9, 0, torch.device("cpu"))
    assert (len(found), len(set(found[:, 0, 0, 0].tolist()))) == (5, 5)


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory):
    """Two tasks of the tiny tables with a handful of steps."""
    out = tmp_path_factory.mktemp("tables")
    assert make(out, "--tasks", "mnist-pixelate,mnist-pixelate-inverse,generation-noise") == 0
    return out


def test_a_task_is_trained_measured_and_described(excerpt):
    written = json.loads((excerpt / "tables.json").read_text())
    keys = [f"{name}, {p}" for name in ("mnist-pixelate", "mnist-pixelate-inverse") for p in ("8bit", "float32")]
    assert list(written["tasks"]) == [*keys, "generation-noise"]
    task, exact, _, _, generation = written["tasks"].values()
    assert (task["protocol"]["input_precision"], exact["protocol"]["input_precision"]) == ("8bit", "float32")
    assert task["evaluations"][0]["rows"]["degraded"] != exact["evaluations"][0]["rows"]["degraded"]
    assert [list(table["rows"]) for table in written["compared"].values()] == [["without inverse", "with inverse"]] * 2
    assert list(task["evaluations"][0]["rows"]) == ["degraded", "linear inverse", "direct", "algorithm1", "algorithm2"]
    assert [evaluation["baseline"] for evaluation in task["evaluations"]] == ["direct", "algorithm1"]
    assert list(generation["evaluations"][0]["rows"]) == ["fixed z", "estimated z"]
    assert (task["data"]["name"], task["data"]["images"], len(task["data"]["sha256"])) == ("drawn", 6, 64)
    assert "data: drawn at 16 pixels; published: mnist at 32 pixels" in task["protocol_differences"]
    assert (written["configuration"]["seed"], "torch" in written["environment"]["versions"]) == (0, True)
    measured = load_measurement(excerpt / "tasks" / "mnist-pixelate" / "8bit.safetensors")
    assert {len(rows["rmse"]) for rows in measured.rows.values()} == {6}
    assert measured.pictures["truth"].shape == (6, 1, 16, 16)  # digits are gray, and so are faces in their place
    differences = task["evaluations"][0]["differences"]["algorithm2"]["rmse"]["value"]
    claims = {p["name"]: p for p in written["patterns"]}["one shot, distortion"]["evidence"]
    assert differences in [claim["value"] for claim in claims]


def test_the_page_holds_tables_patterns_and_pictures(excerpt):
    html = (excerpt / "tables.html").read_text()
    for part in ("(4.33)", "23.11", "are not confirmed by a second source", "data-divider"):
        assert part in html
    for one in PATTERNS:
        assert one.statement in html


def test_finished_tasks_are_not_repeated(excerpt, capsys, monkeypatch):
    before = (excerpt / "tables.json").read_text()
    monkeypatch.setattr("experiments.run.task_results.train", None)  # would fail if it were called
    assert make(excerpt, "--tasks", "mnist-pixelate") == 0
    said = capsys.readouterr()
    assert "mnist-pixelate: finished before" in said.err
    assert "Patterns, by paired differences" in said.out
    after = json.loads((excerpt / "tables.json").read_text())
    assert after["tasks"] == json.loads(before)["tasks"]


def test_a_training_that_is_cut_goes_on_and_measures_the_same(excerpt, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(GracefulStop, "__enter__", lambda self: setattr(self, "asked", True) or self)
        patch.setattr(GracefulStop, "__exit__", lambda self, *error: None)
        assert make(tmp_path, "--tasks", "mnist-pixelate") == 130
    home = tmp_path / "tasks" / "mnist-pixelate"
    assert latest(home / "run" / "model").name.endswith("1")
    assert not (home / "measured.json").exists()
    with monkeypatch.context() as patch:  # and again, in the evaluation

        def cut(*args):
            raise KeyboardInterrupt

        patch.setattr("experiments.run.task_results.measure_restoration", cut)
        assert make(tmp_path, "--tasks", "mnist-pixelate") == 130
    capsys.readouterr()
    assert make(tmp_path, "--tasks", "mnist-pixelate") == 0
    assert "continuing after step 4" in capsys.readouterr().err
    one, other = (
        json.loads((out / "tasks" / "mnist-pixelate" / "measured.json").read_text()) for out in (excerpt, tmp_path)
    )
    assert one["measured"] == other["measured"]
    assert one["data"] == other["data"]


def test_tasks_without_their_images_are_left_out_and_named(excerpt, tmp_path, capsys):
    nowhere = str(tmp_path / "nowhere")
    assert make(tmp_path / "a", "--tasks", "cifar10-blur", "--data", f"cifar10={nowhere}") == 2
    said = capsys.readouterr().err
    assert "no task has its data" in said
    assert nowhere in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tasks cifar10-blurr", "--tasks cifar10-blurr: choose from restoration, inverse, generation, levels"),
        ("--data imagenet=drawn", "--data imagenet=drawn: name one of mnist, cifar10, celeba"),
        ("--scale large", "--scale large"),
        ("--features vgg", "no feature network is called 'vgg'"),
        ("--features inception", "inception has no weights at"),
        ("--seed 1", "--seed 1: {0} holds results with 0; name another folder with --out"),
        ("--images 1", "--images 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(excerpt, words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    out = excerpt if "--seed" in words else tmp_path / "out"
    assert make(out, *words.split()) == 2
    said = capsys.readouterr().err
    assert message.format(excerpt) in said
    assert said.count("\n") == 1


def test_patterns_without_evidence_are_not_measured(excerpt):
    assert all(found.outcome == "undecided" and not found.evidence for found in decide_all({}))
