"""The main experiment as its users meet it: the whole run, interruption, photographs, and the shipped model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import restore
from degrade.command_line import UsageError, parse
from experiments import celeba_to_afhq
from experiments.celeba_to_afhq import Config
from experiments.data.drawn import DrawnAnimals
from restore import EMAConfig
from restore.losses import L1
from restore.models import catalog
from restore.optimizers import Adam
from tests.photographs import photographs
from tests.trainings import TINY_NETWORK

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "celeba_to_afhq.py"
TRAINING = ["--batch-size", "4", "--steps", "6", "--ema-start", "0", "--log-every", "2", "--save-every", "4"]
SMALL = [*TINY_NETWORK, *TRAINING, "--T", "10", "--eval-images", "4", "--device", "cpu"]
BRIEF = [*SMALL, "--sample-steps", "2"]
TINY = [*SMALL, "--from-scratch"]
CPU = torch.device("cpu")


def run(*arguments):
    celeba_to_afhq.main([*TINY, *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    run("--out", out)
    return out


def test_a_run_leaves_everything_it_promises(finished, capsys):
    names = {p.name for p in finished.iterdir()}
    pictures = {"forward.png", "reverse.png", "round_trip.gif", "learning_curve.png"}
    assert names == {"config.json", "log.jsonl", "metrics.json", "model", "report.html", *pictures}
    report = (finished / "report.html").read_text()
    for text in ("Degradation", "Restoration", "Trajectory", "Made from partners alone", "interpolation"):
        assert text in report
    for name in pictures:
        with Image.open(finished / name) as picture:
            assert min(picture.size) > 60
    with Image.open(finished / "round_trip.gif") as gif:
        assert gif.n_frames == 22  # there in 10 steps, back in 10, both ends each time
    assert json.loads((finished / "config.json").read_text())["seed"] == 0
    assert [json.loads(line)["step"] for line in (finished / "log.jsonl").read_text().splitlines()] == [2, 4, 6]


def test_the_measurements_are_those_of_the_samplers(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    rows = {
        name: {key: found["value"] for key, found in (row | metrics["made"]["rows"][name]).items()}
        for name, row in metrics["restored"]["rows"].items()
    }
    assert set(metrics["made"]["rows"]) == {*rows, "real images"}
    assert set(rows) == {"direct", "algorithm1", "algorithm1-fixed", "algorithm2", "algorithm2-fixed"}
    for key in ("rmse", "ssim", "frechet_distance_thumbnail", "centered_correlation"):
        # On a mixture the two algorithms agree when z is estimated, and differ when it is fixed.
        assert rows["algorithm1"][key] == pytest.approx(rows["algorithm2"][key], rel=1e-3, abs=1e-4)
    assert rows["algorithm1-fixed"]["rmse"] > 1.01 * rows["algorithm2-fixed"]["rmse"]


def test_the_model_of_a_run_loads(finished):
    R = restore.load(finished / "model")
    assert R.degradation.T == 10
    assert R(torch.zeros(1, 3, 16, 16), torch.tensor([5])).isfinite().all()


@pytest.mark.slow
def test_a_run_interrupted_and_resumed_equals_one_in_a_piece(finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    take_step = restore.Trainer._take_step

    def interrupted(training, data):
        if training.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(training, data)

    monkeypatch.setattr(restore.Trainer, "_take_step", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3, saved"):
        run("--out", out)
    run("--out", out, "--resume")
    whole, parts = (restore.load(folder / "model").state_dict() for folder in (finished, out))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert (finished / "metrics.json").read_text() == (out / "metrics.json").read_text()


def test_resuming_with_another_network_is_refused(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    with pytest.raises(UsageError, match="--model-channels 16: this run was started with 8"):
        run("--out", finished, "--resume", "--model-channels", 16)
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*")}


def stopped(folder, number):
    """Start a long run as a user would and send it a signal once it trains; return (exit code, what it said)."""
    command = [sys.executable, SCRIPT, *TINY, "--steps", "100000", "--out", folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_within_a_step_and_it_can_be_continued(number, tmp_path):
    out = tmp_path / "out"
    code, said = stopped(out, number)
    assert code == 130
    found = re.search(r"stopped after step (\d+), saved; continue with --resume --out (\S+)", said)
    assert found, said
    assert "Traceback" not in said
    step = int(found[1])
    assert restore.latest(out / "model").name == f"step-{step:08d}"
    run("--out", out, "--resume", "--steps", step + 2)
    assert restore.latest(out / "model").name == f"step-{step + 2:08d}"


def test_photographs_from_a_folder_and_a_zip(tmp_path, capsys):
    faces = photographs(tmp_path / "faces" / "deep" / "down").parents[1]
    animals = photographs(tmp_path / "animals", drawn=DrawnAnimals)
    archive = shutil.make_archive(str(tmp_path / "animals"), "zip", animals)
    run("--celeba", faces, "--afhq", archive, "--out", tmp_path / "out", "--restore", "afhq", "--coupling", "optimal")
    assert "Correlation to start" in capsys.readouterr().out
    assert (tmp_path / "out" / "reverse.png").is_file()


def test_values_come_from_preset_file_and_command_line_in_this_order(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"T": 50, "dropout": 0.5, "channel_mult": [1, 2, 2, 4]}))
    presets, argv = celeba_to_afhq.PRESETS, ["--preset", "paper", "--config", str(file), "--dropout", "0.25"]
    config, _ = parse(Config, presets, [*argv, "--sample-steps", "50"], "x", "")
    assert (config.size, config.T, config.dropout, config.channel_mult) == (128, 50, 0.25, (1, 2, 2, 4))
    assert config.max_grad_norm is None


def test_the_configuration_of_a_run_starts_another(finished, tmp_path):
    argv = ["--config", str(finished / "config.json"), "--out", str(tmp_path / "new")]
    config, _ = parse(Config, celeba_to_afhq.PRESETS, argv, "x", "")
    assert (config.resume, config.size, config.channel_mult) == (False, 16, (1, 2))
    assert {"out", "resume"}.isdisjoint(json.loads((finished / "config.json").read_text()))


@pytest.fixture
def installed(finished, tmp_path, monkeypatch):
    """The model of the demo, as a tiny network."""
    monkeypatch.setattr(catalog, "SEARCH_PATH", [tmp_path / "models"])
    R = restore.load(finished, source=DrawnAnimals(16))
    config = restore.TrainConfig(steps=6)
    restore.export_model(R, tmp_path / "models" / celeba_to_afhq.MODEL, "# Faces\n", training=config)
    return R


def parsed(*argv):
    return parse(Config, celeba_to_afhq.PRESETS, argv, "x", "")[0]


def test_the_demo_continues_the_shipped_model_and_leaves_its_weights_good(installed, tmp_path, capsys):
    celeba_to_afhq.main(
        [*SMALL, "--sample-steps", "2", "--steps", "1", "--eval-images", "2", "--out", str(tmp_path / "out")]
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["pretrained"], config["from_scratch"], config["ema_start"]) == (celeba_to_afhq.MODEL, False, 0)
    said = capsys.readouterr().out
    for words in (f"continued the model {celeba_to_afhq.MODEL}", "--from-scratch", "report.html: sliders"):
        assert words in said
    before, after = installed.state_dict(), restore.load(tmp_path / "out", source=DrawnAnimals(16)).state_dict()
    furthest = max(float((after[name] - before[name]).abs().max()) for name in before)
    # Adam moves a weight by at most the learning rate, and half precision rounds the rest.
    assert 0 < furthest < 1e-5 * 1.01 + 2**-11 * max(float(v.abs().max()) for v in before.values())


def test_what_the_shipped_model_is_not_for_is_trained_from_random_weights(installed):
    assert parsed().pretrained == celeba_to_afhq.MODEL
    assert parsed("--steps", "7").steps == 7
    for argv in (["--from-scratch"], ["--restore", "afhq"], ["--celeba", "a", "--afhq", "b"], ["--pretrained", "none"]):
        config = parsed(*argv)
        assert (config.pretrained, config.steps, config.ema_start) == (None, 800, 100)
    assert parsed("--preset", celeba_to_afhq.MODEL).pretrained is None
    config = parsed("--pretrained", "mine", "--celeba", "a", "--afhq", "b")
    assert (config.pretrained, config.ema_start) == ("mine", 0)


def test_without_the_shipped_model_a_line_says_so_and_training_is_from_random_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "SEARCH_PATH", [tmp_path])
    with pytest.warns(
        UserWarning, match=r"^the model faces-from-animals is not installed; training from random weight"
    ):
        assert parsed() == Config(**celeba_to_afhq.PRESETS["demo"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--T 11", "--pretrained faces-from-animals: .* is of another degradation: T=10, and this run asks for T=11;"),
        ("--pretrained {0}/nowhere", "--pretrained .*/nowhere: .* holds no checkpoint and is not the name of a model"),
    ],
)
def test_a_start_that_does_not_fit_is_one_line(arguments, message, installed, tmp_path):
    with pytest.raises(UsageError, match=f"{message}.*random weights: --pretrained none$"):
        celeba_to_afhq.main(
            [*SMALL, "--sample-steps", "2", *arguments.format(tmp_path).split(), "--out", str(tmp_path / "out")]
        )
    assert not (tmp_path / "out").exists()


def test_the_preset_of_the_shipped_model_is_its_recipe():
    config, training = (made := Config(**celeba_to_afhq.PRESETS[celeba_to_afhq.MODEL])), made.training(0)
    assert (config.size, config.patch_size, config.model_channels, config.channel_mult) == (64, 2, 48, (1, 2, 4))
    assert (training.steps, training.batch_size, training.optimizer) == (4600, 16, Adam(lr=6e-4))
    assert training.ema == EMAConfig(0.999, update_every=1, update_after=200)


def test_the_paper_preset_is_the_paper():
    config = Config(**celeba_to_afhq.PRESETS["paper"])
    training = config.training(0)
    assert (config.size, config.T, config.schedule, training.loss) == (128, 200, "cosine", L1())
    assert config.coupling == "independent"
    assert (training.optimizer, training.steps) == (Adam(lr=2e-5), 700_000)
    assert (training.batch_size, training.micro_batch_size) == (64, 32)
    assert training.ema == EMAConfig(0.995, update_every=10, update_after=2000)
    config.build_network(3, T=1)


@pytest.mark.slow
def test_runs_are_numbered_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in ("001", "002"):
        run("--steps", 1)
        assert (tmp_path / "runs" / f"celeba_to_afhq-{number}" / "metrics.json").is_file()
    run("--steps", 2, "--resume")
    assert restore.latest("runs/celeba_to_afhq-002/model").name == "step-00000002"
    monkeypatch.chdir(tmp_path / "runs")
    with pytest.raises(UsageError, match="there is no run"):
        run("--resume")


def test_celeba_is_fetched_by_torchvision(tmp_path, monkeypatch):
    called = []

    def offline(root, download, split):
        called.append((str(root), download, split))
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.CelebA", offline)
    with pytest.raises(UsageError, match=r"--celeba celeba: .*no CelebA in data \(no network\); fetch it by hand"):
        run("--download", "--afhq", tmp_path)
    assert called == [("data", True, "train")]
