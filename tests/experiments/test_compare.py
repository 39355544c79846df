"""The comparison of samplers: what it counts, what it compares with, and what its command line says."""

from __future__ import annotations

import json
import sys

import pytest
import torch

import degrade
from degrade.command_line import run_main
from experiments import compare
from experiments.evaluation.comparison import Comparison, table
from restore import FunctionRestorer, Restorer, TrainConfig, Trainer, UNet, UNetConfig, save
from tests.cases import images
from tests.oracles import imperfect

NETWORK = UNetConfig(
    image_size=16, model_channels=8, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), norm_groups=4
)


@pytest.fixture(scope="module")
def measured():
    D = degrade.make("gaussian_noise", T=12, schedule="cosine")
    x0 = images(5, 3, 16, 16)
    z = D.draw(x0, torch.Generator().manual_seed(0))
    R = FunctionRestorer(imperfect, D)
    samplers = ["algorithm2", "heun", "ddpm", "repaint:repeats=3,sampler=ddim", "averaged_prediction:momentum=0"]
    return Comparison(D, R, x0, z, start=9, batch=2).run(samplers, [3, 4, 50], images(4, 3, 16, 16, seed=1))


def rows(measured, **wanted):
    return [row for row in measured["rows"] if all(row[key] == value for key, value in wanted.items())]


def test_calls_of_the_restorer_are_counted_for_each_image(measured):
    assert rows(measured, sampler="direct")[0]["nfe"] == 1
    for sampler, calls in {"algorithm2": 1, "ddpm": 1, "repaint:repeats=3,sampler=ddim": 3}.items():
        assert [row["nfe"] for row in rows(measured, sampler=sampler)] == [calls * n for n in (9, 3, 3, 4, 4)]
    # The last of Heun's steps is Euler's.
    assert [row["nfe"] for row in rows(measured, sampler="heun")] == [2 * n - 1 for n in (9, 3, 3, 4, 4)]


def test_it_starts_where_it_is_told_and_leaves_out_what_cannot_be(measured):
    assert len(measured["change"]) == 10
    assert {(spacing, n) for spacing, walks in measured["times"].items() for n in walks} == {
        (spacing, n) for spacing in ("even", "equal-error") for n in (3, 4)
    }
    for walks in measured["times"].values():
        assert all((times[0], times[-1], len(times)) == (9, 0, n + 1) for n, times in walks.items())


def test_what_is_the_same_measures_the_same(measured):
    """Averaging without momentum is its inner step, Algorithm 2; what adds noise has no whole walk to compare with."""
    for one, other in zip(
        rows(measured, sampler="algorithm2"), rows(measured, sampler="averaged_prediction:momentum=0")
    ):
        assert {**one, "sampler": ""} == {**other, "sampler": ""}
    assert {row["rmse_to_whole"] for row in rows(measured, sampler="ddpm")} == {None}
    assert {row["rmse_to_whole"] for row in rows(measured, sampler="repaint:repeats=3,sampler=ddim")} == {None}
    errors = [row["rmse_to_whole"] for row in rows(measured, sampler="algorithm2", spacing="even")]
    assert errors[0] > errors[1] > 0
    assert rows(measured, sampler="direct")[0]["rmse"] > 0


def test_the_table_has_every_row(measured):
    lines = list(table(measured))
    assert len(lines) == len(measured["rows"]) + 3
    assert [line.split()[0] for line in lines[2:-1]] == [row["sampler"] for row in measured["rows"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with an untrained model of a blur."""
    folder = tmp_path_factory.mktemp("run")
    D = degrade.make("blur", T=6, sigmas="constant", growth=0.7, kernel_size=5)
    save(folder / "model", Trainer(Restorer(UNet(NETWORK), D), TrainConfig(steps=1, batch_size=2)))
    return folder


def test_the_command_line_writes_numbers_and_curves(run, tmp_path, monkeypatch, capsys):
    options = ["--model", run, "--data", "drawn", "--out", tmp_path / "made", "--images", "3", "--batch", "2"]
    options += ["--samplers", "algorithm2 heun", "--steps", "2,3", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, options)])
    assert run_main(compare.main, "compare.py") == 0
    written = json.loads((tmp_path / "made" / "compare.json").read_text())
    assert [row["sampler"] for row in written["rows"]] == ["direct", *["algorithm2"] * 5, *["heun"] * 5]
    assert degrade.make("blur", **written["degradation"]["arguments"]).T == 6
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "made" / "compare.png")
    assert (tmp_path / "made" / "compare.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--model is missing"),
        ("--model {0}/nowhere", "--model {0}/nowhere: "),
        ("--model {0}", "name some with --data"),
        ("--model {0} --data drawn --start 7", "--start 7 is more than T = 6; choose 6 or less"),
        ("--model {0} --data drawn --steps 7,8", "--steps 7,8: name one of at most 6"),
        ("--model {0} --data drawn --samplers hoin", "--samplers hoin: no sampler is called 'hoin'"),
        ("--model {0} --data drawn --samplers ddpm", "--samplers ddpm: DDPM(variance='small') needs Gaussian noise"),
        ("--model {0} --data drawn --steps 0", "--steps 0: input should be greater than or equal to 1"),
        ("--model {0} --data drawn --out {0}/model/x/../../model.txt/y", "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, message, monkeypatch, capsys):
    (run / "model.txt").touch()
    monkeypatch.setattr(sys, "argv", ["compare.py", "--device", "cpu", *arguments.format(run).split()])
    assert run_main(compare.main, "compare.py") == 2
    said = capsys.readouterr().err
    assert message.format(run) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heun", ["heun"]),
        ("algorithm1,ddim:eta=0.5", ["algorithm1", "ddim:eta=0.5"]),
        ("repaint:repeats=2,step=ddim:eta=0.5, ddpm", ["repaint:repeats=2,step=ddim:eta=0.5", "ddpm"]),
    ],
)
def test_samplers_are_told_apart_from_their_arguments(text, names):
    assert list(compare.Config(samplers=text).samplers) == names
