"""The comparison of samplers: rows and costs, what is the same measures the same, processes, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import degrade
from degrade.command_line import run_main
from degrade.functional.quantization import quantize_8bit
from experiments import compare
from experiments.evaluation.comparison import Comparison, ComparisonOptions, compatible_samplers
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.metrics import measure
from restore import FunctionRestorer, Restorer, TrainConfig, Trainer, UNet, UNetConfig, save
from samplers import spaced_timesteps
from tests.cases import images
from tests.oracles import imperfect

METRICS = ["rmse", "ssim", "frechet_distance"]
X0, DATA = images(7, 3, 16, 16), images(4, 3, 16, 16, seed=1)


def run(D, R=imperfect, restorers=None, batch=3, **options):
    options = ComparisonOptions(batch_size=batch, **{"steps": (1, 3, 4), "severities": 3} | options)
    comparison = Comparison(restorers or {"R": FunctionRestorer(R, D)}, X0, Evaluator(METRICS, batch_size=2), options)
    return comparison, comparison.run(DATA)


@pytest.fixture(scope="module")
def noise():
    D = degrade.make("gaussian_noise", T=12, schedule="cosine")
    samplers = ("algorithm1", "algorithm2", "heun", "ddpm", "repaint:repeats=3,sampler=ddim", "algorithm2-fixed")
    return run(D, samplers=samplers, start=9, input_precision="float32")


def values(compared, row):
    return {key: value["value"] for key, value in compared["evaluation"]["rows"][row].items()}


def test_every_sampler_is_measured_at_every_number_of_steps_and_its_calls_are_counted(noise):
    _, compared = noise
    steps = {"algorithm2": 1, "ddpm": 1, "repaint:repeats=3,sampler=ddim": 3}
    for sampler, calls in steps.items():
        rows = [row for row in compared["rows"].values() if row["sampler"] == sampler]
        assert [(row["steps"], row["nfe"]) for row in rows] == [(n, calls * n) for n in (1, 3, 4, 9)]
    # The last of Heun's steps is Euler's.
    assert [row["nfe"] for row in compared["rows"].values() if row["sampler"] == "heun"] == [1, 5, 7, 17]
    assert [compared["rows"][row]["nfe"] for row in ("degraded", "direct")] == [0, 1]


def test_the_linear_inverse_of_noise_is_the_posterior_mean_of_white_images(noise):
    """Nobody is told the noise, so it counts as the error of x_t: a s^2 x_t / (a^2 s^2 + b^2), s = 0.5."""
    comparison, compared = noise
    t = torch.full((7,), 9)
    x_9 = comparison.D(X0, t, comparison.z)
    a, b = comparison.D.coefficients(t, X0)
    expected = measure("rmse", a * 0.25 * x_9 / (a**2 * 0.25 + b**2), X0)
    assert values(compared, "linear inverse")["rmse"] == pytest.approx(expected, rel=1e-6)


def test_what_is_the_same_measures_the_same(noise):
    _, compared = noise
    assert values(compared, "algorithm1, 1") == values(compared, "direct")  # D(x0_hat, 0, z) = x0_hat
    for n in (3, 4, 9):  # Algorithm 1 equals Algorithm 2 where z is estimated and D is additive
        assert values(compared, f"algorithm1, {n}") == pytest.approx(values(compared, f"algorithm2, {n}"), rel=1e-6)
    same = compared["evaluation"]["differences"]["algorithm1, 1"]["rmse"]
    assert (same["value"], same["interval"], same["verdict"]) == (0, [0, 0], "undecided")


def test_numbers_are_those_of_the_images(noise):
    comparison, compared = noise
    x_9 = comparison.D(X0, torch.full((7,), 9), comparison.z)
    assert values(compared, "degraded")["rmse"] == pytest.approx(measure("rmse", x_9, X0), rel=1e-9)
    x0_hat = imperfect(x_9, torch.full((7,), 9))
    assert values(compared, "direct")["ssim"] == pytest.approx(measure("ssim", x0_hat, X0), rel=1e-6)
    along = compared["trajectory"]["algorithm2, 9"]
    assert (along["t"][0], along["s"][-1], len(along["x0_hat"])) == (9, 0, 9)
    assert along["x0_hat"][0] == pytest.approx(values(compared, "direct")["rmse"], rel=1e-9)
    severity = compared["severity"]
    assert severity["severities"] == spaced_timesteps(9, 3)[:-1][::-1]
    assert severity["rmse"]["direct"][-1] == pytest.approx(values(compared, "direct")["rmse"], rel=1e-9)


def test_no_number_depends_on_the_batch_size(noise):
    _, compared = noise
    samplers = ("algorithm1", "algorithm2", "heun", "ddpm", "repaint:repeats=3,sampler=ddim", "algorithm2-fixed")
    D = degrade.make("gaussian_noise", T=12, schedule="cosine")
    _, other = run(D, samplers=samplers, start=9, input_precision="float32", batch=7)
    for row in compared["rows"]:
        assert values(other, row) == pytest.approx(values(compared, row), rel=1e-9, abs=1e-12)


def test_an_oracle_is_exact_on_float32_input_and_every_way_is_better_than_the_degraded_image():
    D = degrade.make("blur", T=6, sigmas="constant:sigma=0.7", kernel_size=5)
    restorers = {"oracle": FunctionRestorer(lambda x_t, t: X0[: len(x_t)], D)}
    _, compared = run(D, restorers=restorers, batch=7, samplers=("algorithm1", "algorithm2"), input_precision="float32")
    for row in compared["rows"]:
        if row not in ("degraded", "linear inverse"):
            assert values(compared, row)["rmse"] < 1e-7
    assert compared["evaluation"]["differences"]["degraded"]["rmse"]["verdict"] == "worse"
    assert "±" not in json.dumps(compared)  # JSON values throughout
    assert Evaluation.from_dict(compared["evaluation"]).to_dict() == compared["evaluation"]


def test_degraded_images_are_rounded_to_8_bits_unless_told_otherwise():
    D = degrade.make("blur", T=6, sigmas="constant:sigma=0.7", kernel_size=5)
    seen = []

    def spy(x_t, t):
        seen.append(x_t)
        return x_t

    run(D, spy, samplers=("algorithm2",), severities=0)
    assert all(torch.equal(x, quantize_8bit(x)) for x in seen[:3])  # of `direct`
    seen.clear()
    _, compared = run(D, spy, samplers=("algorithm2",), severities=0, input_precision="float32")
    assert not any(torch.equal(x, quantize_8bit(x)) for x in seen[:3])
    assert (compared["input_precision"], compared["severity"]) == ("float32", {})


def test_the_linear_inverse_is_a_row_of_affine_degradations_and_depends_on_the_input_precision():
    D = degrade.make("blur", T=3, sigmas="constant:sigma=0.5", kernel_size=3)
    found = {}
    for precision in ("float32", "8bit"):
        _, compared = run(D, samplers=("algorithm2",), severities=0, input_precision=precision)
        found[precision] = values(compared, "linear inverse")["rmse"]
        assert found[precision] < values(compared, "degraded")["rmse"]
    assert found["float32"] < found["8bit"]


def test_direct_in_place_of_samplers_leaves_the_rows_without_a_sampler():
    _, compared = run(degrade.make("decolor", T=4), samplers=("direct",))
    assert list(compared["rows"]) == ["degraded", "linear inverse", "direct"]
    assert set(compared["severity"]["rmse"]) == set(compared["rows"])


def test_several_models_share_rows_that_do_not_depend_on_them():
    D = degrade.make("decolor", T=4)
    restorers = {"good": FunctionRestorer(imperfect, D), "bad": FunctionRestorer(lambda x, t: 0 * x, D)}
    _, compared = run(D, restorers=restorers, samplers=("algorithm2",), severities=0)
    assert {"degraded", "good: direct", "bad: direct", "good: algorithm2, 4"} < set(compared["rows"])
    assert compared["evaluation"]["baseline"] == "good: direct"
    assert compared["evaluation"]["differences"]["bad: direct"]["rmse"]["verdict"] == "worse"
    restorers["bad"] = FunctionRestorer(imperfect, degrade.make("decolor", T=5))
    with pytest.raises(ValueError, match="different degradations; compare models of one degradation"):
        run(D, restorers=restorers)


def test_all_samplers_that_suit_are_compared_by_default_with_fixed_z_where_there_is_one():
    noise = compatible_samplers(degrade.make("gaussian_noise"))
    blur = compatible_samplers(degrade.make("blur", T=3))
    assert {"algorithm1", "algorithm1-fixed", "algorithm2-fixed", "heun-fixed", "ddim", "ddpm", "indi"} <= set(noise)
    assert {"algorithm1", "algorithm2", "heun", "indi"} <= set(blur)
    assert not {"ddpm", "algorithm2-fixed"} & set(blur)


def test_equal_error_severities_are_measured():
    D = degrade.make("decolor", T=20)
    late = lambda x_t, t: x_t * (t.to(x_t) / 20).view(-1, 1, 1, 1) ** 8  # noqa: E731
    comparison = Comparison(
        {"R": FunctionRestorer(late, D)},
        X0,
        Evaluator(METRICS),
        ComparisonOptions(samplers=("algorithm2",), steps=(4,), spacing="equal-error"),
    )
    methods = [m for m in comparison.methods(comparison.restorers["R"], DATA) if m.steps == 4]
    assert [m.severities[0] for m in methods] == [20]
    assert methods[0].severities[1] > spaced_timesteps(20, 4)[1]


NETWORK = UNetConfig(
    image_size=16, model_channels=8, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), norm_groups=4
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run with an untrained model of a blur."""
    folder = tmp_path_factory.mktemp("run")
    D = degrade.make("blur", T=6, sigmas="constant:sigma=0.7", kernel_size=5)
    save(folder / "model", Trainer(Restorer(UNet(NETWORK), D), TrainConfig(steps=1, batch_size=2)))
    return folder


OPTIONS = "--data drawn --images 5 --batch 2 --samplers algorithm2,heun --steps 2,3 --severities 2 --device cpu"


def test_the_command_line_writes_numbers_and_plots(model, tmp_path, capsys):
    options = ["--model", str(model), "--out", str(tmp_path / "made"), *OPTIONS.split()]
    assert run_main(compare.main, "compare.py", options) == 0
    written = json.loads((tmp_path / "made" / "compare.json").read_text())
    rows = [row for row in written["rows"] if row != "linear inverse"]
    assert rows == ["degraded", "direct", *(f"{name}, {n}" for name in ("algorithm2", "heun") for n in (2, 3, 6))]
    assert degrade.make("blur", **written["degradation"]["arguments"]).T == 6
    assert written["configuration"]["seed"] == 0 and len(written["data"]["sha256"]) == 64  # noqa: PT018
    assert written["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    said = capsys.readouterr().out
    assert "5 unseen images, restored from severity 6, 8bit:" in said
    assert "Features: thumbnail." in said
    *plots, page = said.split()[-5:]
    assert Path(page).name == "compare.html"
    html = Path(page).read_text()
    assert all(part in html for part in ("data-slider", "data-divider", "Trajectory", written["data"]["sha256"]))
    assert [Path(plot).name for plot in plots] == [
        "differences.png",
        "perception_distortion.png",
        "trajectory_error.png",
        "severity_error.png",
    ]
    assert all(Path(plot).read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_one_prediction_alone_is_measured_and_has_a_page(model, tmp_path):
    words = ["--model", str(model), *OPTIONS.split(), "--samplers", "direct", "--out", str(tmp_path / "one")]
    assert run_main(compare.main, "compare.py", words) == 0
    written = json.loads((tmp_path / "one" / "compare.json").read_text())
    assert list(written["rows"]) == ["degraded", "linear inverse", "direct"]
    assert "Trajectory" in (tmp_path / "one" / "compare.html").read_text()


def test_two_processes_find_the_same_numbers(model, tmp_path):
    pytest.importorskip("accelerate")
    words = ["--model", str(model), *OPTIONS.split(), "--out"]
    assert run_main(compare.main, "compare.py", [*words, str(tmp_path / "one")]) == 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29571"]
    command = [*launcher, "experiments/compare.py", *words, str(tmp_path / "two")]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=240)
    one, two = (json.loads((tmp_path / name / "compare.json").read_text()) for name in ("one", "two"))
    assert [found["environment"]["device"]["processes"] for found in (one, two)] == [1, 2]
    for key in ("rows", "evaluation", "trajectory", "severity", "data"):
        assert one[key] == two[key]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--model is missing"),
        ("--model {0}/nowhere", "--model {0}/nowhere: "),
        ("--model {0}", "name some with --data"),
        ("--model {0} --data drawn --start 7", "start 7 is more than T = 6; choose 6 or less"),
        ("--model {0} --data drawn --samplers hoin", "no sampler is called 'hoin'"),
        ("--model {0} --data drawn --samplers ddpm", "needs Gaussian noise, which 'blur' is not"),
        ("--model {0} --data drawn --metrics simm", "no metric is called 'simm': did you mean 'ssim'"),
        ("--model {0} --data drawn --features vgg", "no feature network is called 'vgg'"),
        ("--model {0} --data drawn --features inception", "inception has no weights at"),
        ("--model {0} --data drawn --steps 0", "--steps"),
        ("--model {0} --data drawn --input-precision 16bit", "--input-precision 16bit"),
        ("--model {0} --data drawn --out {0}/model.txt/y", "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model, arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (model / "model.txt").touch()
    assert run_main(compare.main, "compare.py", ["--device", "cpu", *arguments.format(model).split()]) == 2
    said = capsys.readouterr().err
    assert message.format(model) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heun", ["heun"]),
        ("algorithm1,ddim:eta=0.5", ["algorithm1", "ddim:eta=0.5"]),
        ("repaint:repeats=2,sampler=ddim:eta=0.5, ddpm", ["repaint:repeats=2,sampler=ddim:eta=0.5", "ddpm"]),
    ],
)
def test_samplers_are_told_apart_from_their_arguments(text, names):
    assert list(compare.Config(samplers=text).samplers) == names
