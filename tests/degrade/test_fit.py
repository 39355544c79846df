"""Fitting a degradation to pairs: estimates, how often intervals hold the truth, and what is refused."""

from __future__ import annotations

import json
import math
import shlex
import zipfile

import pytest
import torch

import degrade
from degrade import Degradation, FittingOptions, NumLevels, fit_degradation
from degrade.__main__ import main
from degrade.demo_image import demo_image
from degrade.functional.quantization import quantize_8bit
from degrade.image_io import to_pil_image
from tests.cases import partners

CLEAN = demo_image(64).unfold(1, 24, 8).unfold(2, 24, 8).flatten(1, 2).transpose(0, 1)[::3].contiguous()
AT_6 = FittingOptions(severity=6)
BLUR = {"T": 10, "sigmas": "constant", "kernel_size": 9}


def degraded(D, t, noise=0.0, seed=0, x0=CLEAN):
    generator = torch.Generator().manual_seed(seed)
    y = D(x0, torch.full((len(x0),), t), D.draw(x0, generator))
    return y + noise * torch.randn(y.shape, generator=generator)


def holds(value, truth):
    return value.low <= truth <= value.high


@pytest.mark.parametrize(("m", "runs", "enough"), [(1, 10, 8), (8, 20, 16)])
def test_intervals_hold_the_truth_as_often_as_they_say(m, runs, enough):
    D, noise = degrade.make("blur", **{**BLUR, "sigmas": "constant:sigma=0.7"}), 0.3
    x0, hits = CLEAN[-m:, :, :16, :16], torch.zeros(3)
    widths: list[int] = []
    for seed in range(runs):
        y = degraded(D, 6, noise, seed, x0)
        at_level = fit_degradation("blur", x0, y, D.arguments)
        width = fit_degradation("blur", x0, y, BLUR, {"sigmas.sigma": (0.1, 5.0)}, AT_6)
        found = holds(at_level.severity, 6), holds(at_level.noise, noise), holds(width.arguments["sigmas.sigma"], 0.7)
        hits += torch.tensor(found)
        widths += [at_level.severity.high - at_level.severity.low]
    assert hits.min() >= enough  # fewer have a probability below 1 % where 95 % hold it
    assert sum(widths) / runs < 9


def test_exact_pairs_give_the_parameters_to_rounding():
    D = degrade.make("blur", **{**BLUR, "sigmas": "constant:sigma=0.7"})
    both = fit_degradation("blur", CLEAN, degraded(D, 6), BLUR, {"sigmas.sigma": (0.1, 5.0)})
    assert both.severity == (6, 6, 6)
    assert both.degradation.sigmas.sigma == pytest.approx(0.7, abs=1e-6)
    assert both.noise.value < 1e-6 < 0.05 < both.difference


def test_two_arguments_are_fitted_together():
    truth = degrade.make("inpaint", T=20, sigmas="incremental:step=0.3,offset=2")
    bounds = {"sigmas.step": (0.05, 2.0), "sigmas.offset": (0.5, 10.0)}
    found = fit_degradation(
        "inpaint", CLEAN, degraded(truth, 9, 0.02), {"T": 20}, bounds, options=FittingOptions(severity=9)
    )
    assert holds(found.arguments["sigmas.step"], 0.3)
    assert holds(found.arguments["sigmas.offset"], 2.0)
    assert found.arguments["sigmas.offset"].high - found.arguments["sigmas.offset"].low < 1.0


def test_a_severity_that_an_argument_can_replace_has_a_wide_interval():
    D = degrade.make("blur", **{**BLUR, "sigmas": "constant:sigma=0.7"})
    both = fit_degradation("blur", CLEAN, degraded(D, 6, 0.05), BLUR, {"sigmas.sigma": (0.1, 5.0)})
    alone = fit_degradation(
        "blur", CLEAN, degraded(D, 6, 0.05), BLUR, {"sigmas.sigma": (0.1, 5.0)}, options=FittingOptions(severity=6)
    )
    assert holds(both.severity, 6)
    assert holds(both.arguments["sigmas.sigma"], 0.7)
    width, known = (
        found.arguments["sigmas.sigma"].high - found.arguments["sigmas.sigma"].low for found in (both, alone)
    )
    assert width > 5 * known


@pytest.mark.parametrize("t", [3, 40])
def test_gaussian_noise_is_fitted_by_its_likelihood_also_from_a_file(t):
    D = degrade.make("gaussian_noise", T=100)
    y = degraded(D, t)
    for seen in (y, quantize_8bit(y)):  # which is cut off at the ends, too
        found = fit_degradation("gaussian_noise", CLEAN, seen, {"T": 100})
        assert abs(found.severity.value - t) <= 1
        assert holds(found.severity, t)
        b_t = float(D.coefficients(torch.tensor([t]), CLEAN)[1])
        assert found.noise.low - 1e-6 <= b_t <= found.noise.high + 1e-6


def test_another_kind_of_degradation_fits_worse():
    y = degraded(degrade.make("decolor", T=20), 9, 0.01)
    right, wrong = (fit_degradation(name, CLEAN, y) for name in ("decolor", "blur"))
    assert right.severity.value == 9
    assert wrong.noise.low > 3 * right.noise.high
    assert right.log_likelihood > wrong.log_likelihood + 1


class Lamp(Degradation):
    """A brightness z of its own for each image is added, and contrast goes."""

    T: NumLevels = 10
    affine = identifiable = True

    def draw(self, x0, generator=None):
        return torch.rand((len(x0),), generator=generator, dtype=x0.dtype) - 0.5

    def apply(self, x0, t, z):
        share = (t / self.T).view(-1, 1, 1, 1)
        return x0 + share * (z.view(-1, 1, 1, 1) - 0.5 * (x0 - x0.mean((1, 2, 3), keepdim=True)))

    def estimate(self, x_t, x0, t, z):
        return (x_t - x0).mean((1, 2, 3)) * self.T / t


def test_z_that_a_pair_tells_is_estimated(monkeypatch):
    monkeypatch.setattr(degrade.registry.DEGRADATIONS, "_classes", dict(degrade.registry.DEGRADATIONS._classes))
    degrade.register("lamp_example")(Lamp)
    D = degrade.make("lamp_example")
    assert fit_degradation("lamp_example", CLEAN, degraded(D, 7, 0.01)).severity == (7, 7, 7)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("snow", {}, "snow: what is random about it cannot be computed from a pair"),
        ("interpolation", {"arguments": {"source": partners(3, 24, 24)}}, "as many numbers as an image"),
        ("compose", {}, "fit the parts before the noise"),
        ("blur", {"bounds": {"sigmas.sigma": (0.0, 1.0)}}, "blur: sigmas = .*exponential: sigma"),
        ("blur", {"bounds": {"T.sigma": (1.0, 2.0)}}, "T.sigma cannot be fitted: T is 200"),
        ("pixelate", {"bounds": {"T": (1.0, 4.0)}}, "pixelate: T = 1.0"),
        ("decolor", {"bounds": {"factor": (1.0, 0.5)}}, r"bounds of factor are \[1.0, 0.5\]"),
        ("decolor", {"bounds": {"factor": (-1.0, 1.0)}}, "decolor: factor = -1.0"),
        ("blur", {"options": FittingOptions(severity=201)}, r"severity is 201; the levels of blur are 1..200"),
        ("blur", {"options": FittingOptions(margin=12)}, "margin is 12; it must be a number of pixels in 0..11"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused_in_one_line(name, how, message):
    with pytest.raises(ValueError, match=message) as error:
        fit_degradation(name, CLEAN, CLEAN, **how)
    assert "\n" not in str(error.value)


def test_pairs_must_be_pairs():
    for y, message in (
        (CLEAN[:2], "pairs have the same shape"),
        (CLEAN.byte(), "floating point"),
        (CLEAN * math.nan, "nan or infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_degradation("blur", CLEAN, y)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of clean pictures, of which one has no partner, and a zip of degraded ones."""
    root, picture = tmp_path_factory.mktemp("pairs"), demo_image(72)
    D = degrade.make("blur", **{**BLUR, "sigmas": "constant:sigma=0.7"})
    (root / "clean" / "deep").mkdir(parents=True)
    with zipfile.ZipFile(root / "degraded.zip", "w") as archive:
        for i in range(5):
            x0, name = picture[:, 6 * i : 6 * i + 40, 4 * i : 4 * i + 48 + i], f"deep/{i}"
            to_pil_image(x0).save(root / "clean" / f"{name}.png")
            if i:
                to_pil_image(D(x0[None], torch.tensor([7]))[0]).save(root / "y.png")
                archive.write(root / "y.png", f"degraded/{name}.png")  # another folder around all, as zips have
    return root


def test_the_command_prints_a_table_json_and_a_command_that_draws_it(pictures, capsys, tmp_path):
    words = ["fit", "blur", "--pairs", str(pictures / "clean"), str(pictures / "degraded.zip"), "T=10",
             "sigmas=constant", "kernel_size=9", "--crop", "40", "--fit", "sigmas.sigma=[0.1,5]",
             "--severity", "7"]  # fmt: skip
    assert main(words) == 0
    printed = capsys.readouterr()
    *lines, command, values = printed.out.strip().splitlines()
    found = json.loads(values)
    sigma = found["degradation"]["arguments"]["sigmas"]["arguments"]["sigma"]
    assert sigma == pytest.approx(0.7, abs=0.02)
    assert found["arguments"]["sigmas.sigma"]["low"] < 0.7 < found["arguments"]["sigmas.sigma"]["high"]
    assert found["images"] == 4
    assert any(line.startswith("sigmas.sigma") and f"{sigma:.5g}" in line for line in lines)
    assert "left out 1 of 5 images without a partner of the same name: 0" in printed.err
    shown = [*shlex.split(command)[3:], "--out", str(tmp_path / "fitted.png"), "--size", "16"]
    assert f'sigmas={{"name":"constant","arguments":{{"sigma":{sigma!r}}}}}' in shown
    assert main(shown) == 0
    assert (tmp_path / "fitted.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["blur", "--fit", "sigmas.rate=3"], "--fit sigmas.rate=3: give bounds, sigmas.rate=[low,high]"),
        (["blur"], "pictures have different sizes, 49 x 40 (1) and 50 x 40 (2); --crop takes"),
        (["blur", "--crop", "41"], "--crop 41: 1 is 49 x 40 pixels; take a smaller crop"),
        (["inpaint", "--crop", "32"], "inpaint depends on the place in the picture"),
        (["blur", "--crop", "32", "--margin", "16"], "margin is 16"),
    ],
)
def test_bad_input_is_one_line(words, message, pictures, capsys):
    assert main(["fit", *words, "--pairs", str(pictures / "clean"), str(pictures / "degraded.zip")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_pairs_without_a_common_name(pictures, tmp_path, capsys):
    assert main(["fit", "blur", "--pairs", str(pictures / "clean"), str(tmp_path)]) == 2
    assert "no name is in both (the first has 0, the second no picture)" in capsys.readouterr().err
