"""The program that measures linear inverses: its numbers, computed here once more, and the file that it writes."""

from __future__ import annotations

import json

import pytest
import torch

import degrade
from degrade.command_line import UsageError
from degrade.constants import ROUNDING_NOISE
from experiments import linear_inverse
from restore import LinearInverse
from samplers import sample
from tests.photographs import photographs


def run(*arguments):
    linear_inverse.main([*map(str, arguments), "--device", "cpu"])


def rmse(x, x0):
    return float((x.clamp(-1, 1) - x0).double().square().mean().sqrt() / 2)


def test_the_file_holds_what_the_operators_give(tmp_path, capsys):
    out = tmp_path / "found.json"
    run("--data", photographs(tmp_path / "set", n=8, size=40), "--images", 3, "--out", out)
    written = json.loads(out.read_text(), parse_constant=pytest.fail)
    names = [(table["degradation"]["name"], table["input_precision"]) for table in written["tables"]]
    kinds = ("blur", "pixelate", "inpaint", "decolor", "gaussian_noise")
    assert sorted(names) == sorted((name, precision) for name in kinds for precision in ("8bit", "float32"))
    assert all(set(table["evaluation"]["rows"]) == {"degraded", "linear inverse"} for table in written["tables"])
    assert "decolor, severity 20 of 20, 8bit:" in capsys.readouterr().out
    assert (written["data"]["images"], written["environment"]["device"]["type"]) == (3, "cpu")


@pytest.mark.parametrize(("precision", "noise"), [("8bit", ROUNDING_NOISE), ("float32", 5e-6)])
def test_numbers_are_those_of_the_images(precision, noise):
    x0 = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    D, t = degrade.make("blur", T=3, sigmas="constant:sigma=1", kernel_size=7), torch.tensor([3, 3, 3])
    x_t = degrade.quantize_8bit(D(x0, t)) if precision == "8bit" else D(x0, t)
    found = linear_inverse.measure(D, 3, x0, seed=0)[precision]
    assert found.value("degraded", "rmse") == pytest.approx(rmse(x_t, x0), rel=1e-6)
    expected = rmse(D.invert(x_t, t, None, noise), x0)
    assert found.value("linear inverse", "rmse") == pytest.approx(expected, rel=1e-4)
    assert expected > 0.005


def test_trajectories_are_those_of_the_samplers_with_the_linear_inverse():
    x0 = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    D, t = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=7), torch.tensor([3, 3, 3])
    x_t = degrade.quantize_8bit(D(x0, t))
    found = linear_inverse.measure(D, 3, x0, seed=0, steps=(2, 9))["8bit"]
    assert list(found.rows)[2:] == [f"algorithm{i}, {n} steps" for n in (2, 3) for i in (1, 2)]
    ended = sample(LinearInverse(D), "algorithm2", x_t, steps=[3, 2, 1, 0])
    assert found.value("algorithm2, 3 steps", "rmse") == pytest.approx(rmse(ended, x0), rel=1e-4)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    faces = photographs(tmp_path / "set", n=8, size=40)
    with pytest.raises(UsageError, match="cannot be written"):
        run("--data", faces, "--images", 2, "--out", tmp_path)
