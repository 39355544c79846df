"""The program that restores several degradations by one model: its numbers, its files, its refusals."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

import degrade
from degrade.command_line import UsageError
from degrade.demo_image import demo_image
from experiments import restorations
from restore import FunctionRestorer


@pytest.mark.parametrize("case", restorations.CASES, ids=lambda case: case.name)
def test_a_model_that_knows_the_answer_restores_it(case):
    x0 = demo_image(32)[None]
    R = FunctionRestorer(lambda x_t, t: x0.expand_as(x_t), degrade.make("gaussian_noise", T=20))
    made = dict(restorations.restorations(R, x0, case, 10, 0))
    assert list(made) == ["clean", "degraded", "linear inverse", "restored"]
    assert torch.equal(made["degraded"], degrade.quantize_8bit(made["degraded"]))
    # What is wrong is the rounding of the picture, which the answer is held to.
    psnr = {name: restorations._psnr(x, x0) for name, x in made.items() if name != "clean"}
    assert psnr["restored"] > psnr["degraded"] + 5, psnr


def test_the_picture_and_the_numbers_are_written(tmp_path, capsys):
    out = tmp_path / "found.png"
    restorations.main(["--size", "32", "--steps", "2", "--out", str(out), "--device", "cpu"])
    with Image.open(out) as picture:
        assert min(picture.size) > 120
    written = json.loads(out.with_suffix(".json").read_text())
    assert set(written["restored"]) == {case.name for case in restorations.CASES}
    values = [value for case in written["restored"].values() for value in case["psnr"].values()]
    assert all(math.isfinite(value) and 5 < value < 60 for value in values)
    assert f"{values[0]:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "faces-from-animals"], "needs a restorer of Gaussian noise"),
        (["--model", "no-model"], "no-model holds no checkpoint"),
        (["--rule", "prox"], "no rule is called 'prox'"),
        (["--sampler", "ddi"], "no sampler is called 'ddi'"),
        (["--image", "no-photo.jpg"], "no-photo.jpg"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        restorations.main([*arguments, "--size", "32", "--steps", "2", "--out", str(tmp_path / "found.png")])
