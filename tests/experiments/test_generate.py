"""Generating from a trained model, end to end, and what a user may get wrong."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from PIL import Image

import degrade
from degrade.command_line import UsageError, run_main
from experiments import generate
from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.evaluation.generation import GenerationEvaluator, prior_report
from experiments.evaluation.metrics import measure
from restore import Restorer, TrainConfig, Trainer, UNet, UNetConfig, save
from restore.optimizers import Adam
from samplers import (
    PRIORS,
    Algorithm2,
    DatasetPrior,
    DegradedData,
    FitOptions,
    UniformColor,
    fit_prior,
    spaced_timesteps,
)

SIZE = 8
faces = DrawnFaces(SIZE)
TO_MEAN = {"T": 4, "kernel_size": 5, "padding_mode": "circular", "mean_at_T": True}
NAMES = {"grid.png", "trajectories.png", "trajectories.gif", "starts.png", "metrics.json", "prior.json"}


def model(D):
    torch.manual_seed(0)
    net = UNet(
        UNetConfig(
            image_size=SIZE,
            model_channels=8,
            channel_mult=(1,),
            num_res_blocks=1,
            attention_resolutions=(),
            norm_groups=4,
        )
    )
    return Trainer(Restorer(net, D), TrainConfig(steps=3, batch_size=8, optimizer=Adam(lr=1e-3)))


def run(folder, D, prior=None, config=None):
    """A run folder with a model that was trained for three steps."""
    training = model(D)
    for _ in training.run(faces):
        pass
    save(folder / "model", training, prior=prior)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def blurred(tmp_path_factory):
    return run(tmp_path_factory.mktemp("blurred"), degrade.make("blur", **TO_MEAN), config={"data": "drawn", "seed": 0})


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    return run(tmp_path_factory.mktemp("colored"), degrade.make("mask_to_color", T=4, sigmas="incremental:step=2"))


def made(folder, *words):
    generate.main(["--model", str(folder), "--images", "4", "--fit-images", "60", "--device", "cpu", *map(str, words)])


def result(folder, name):
    return json.loads((folder / name).read_text())


def test_from_blur_with_a_fitted_color(blurred, capsys):
    made(blurred, "--sweep", "0,0.1")
    folder = blurred / "generate"
    assert {file.name for file in folder.iterdir()} == NAMES | {"sweep.png"}
    prior, metrics = result(folder, "prior.json"), result(folder, "metrics.json")
    assert (prior["name"], prior["arguments"]["k"], prior["arguments"]["jitter"]) == ("low_resolution", 1, 0.002)
    assert list(metrics["evaluation"]["rows"]) == ["jitter 0.002", "jitter 0", "jitter 0.1", "real images"]
    alike = metrics["diversity_from_one_start"]
    assert alike["0.0"] == 0 < 0.01 < alike["0.1"]
    assert metrics["prior_report"]["floor"] < 0.1
    with Image.open(folder / "grid.png") as grid, Image.open(folder / "trajectories.gif") as film:
        assert grid.size[0] > 2 * 96
        assert film.format == "GIF"
    printed = capsys.readouterr().out
    assert "pairwise RMSE from one start: 0.000 with jitter 0, " in printed
    assert "prior low_resolution:" in printed


def test_from_masks_to_a_color_without_any_images(colored, tmp_path):
    made(colored / "model", "--out", tmp_path / "here", "--sampler", "algorithm2-fixed", "--sample-steps", 2)
    assert result(tmp_path / "here", "prior.json")["name"] == "degraded_zero"
    metrics = result(tmp_path / "here", "metrics.json")
    assert metrics["prior_report"] is None
    assert "real images" not in metrics["evaluation"]["rows"]
    assert metrics["steps"] == 2


def test_from_another_set(tmp_path):
    D = degrade.make("interpolation", T=3, schedule="rectified", source=DrawnAnimals(SIZE))
    made(run(tmp_path, D, config={"data": "drawn", "partner_data": None}))
    assert result(tmp_path / "generate", "prior.json")["name"] == "degraded_zero"


@pytest.mark.parametrize("kind", ["degraded_data", "dataset"])
def test_a_saved_prior_is_used_and_given_its_images(tmp_path, kind):
    D = degrade.make("interpolation", T=3, schedule="rectified", source=DrawnAnimals(SIZE))
    prior = (
        DegradedData(D, faces, jitter=0.25)
        if kind == "degraded_data"
        else DatasetPrior(DrawnAnimals(SIZE), jitter=0.25)
    )
    made(run(tmp_path, D, prior, {"data": "drawn"}))
    assert result(tmp_path / "generate", "prior.json") == {"name": kind, "arguments": {"jitter": 0.25}}
    assert result(tmp_path / "generate", "metrics.json")["prior"]["jitter"] == 0.25


def test_a_saved_prior_gives_way_to_the_one_asked_for(tmp_path):
    D = degrade.make("blur", **TO_MEAN)
    saved = UniformColor(D, (3, SIZE, SIZE), (-0.5,) * 3, (0.5,) * 3)
    folder = run(tmp_path, D, saved, {"data": "drawn"})
    for words, name in (
        ((), "uniform_color"),
        (("--k", 2), "low_resolution"),
        (("--prior", "degraded_data"), "degraded_data"),
    ):
        made(folder, *words)
        assert result(folder / "generate", "prior.json")["name"] == name


def test_images_of_the_run_that_are_gone_are_done_without(tmp_path, capsys):
    folder = run(
        tmp_path,
        degrade.make("mask_to_color", T=3, sigmas="incremental:step=2"),
        config={"data": str(tmp_path / "gone.zip")},
    )
    made(folder)
    assert "going without the images of the run: --data" in capsys.readouterr().err
    assert "real images" not in result(folder / "generate", "metrics.json")["evaluation"]["rows"]


@pytest.fixture(scope="module")
def study():
    D = degrade.make("blur", **TO_MEAN)
    prior = fit_prior(D, faces, options=FitOptions(n=60))
    return GenerationEvaluator(model(D).restorer, Algorithm2(), prior, spaced_timesteps(4), seed=0, batch_size=3)


def test_pictures_and_numbers_are_of_the_same_images(study):
    """Image i does not depend on how many are asked for, and the trajectories end in it."""
    five, two, walk = study.images(5, 0.01), study.images(2, 0.01), study.states(2, 0.01)
    torch.testing.assert_close(five[:2], two, rtol=0, atol=1e-5)
    torch.testing.assert_close(walk[0], two, rtol=0, atol=1e-5)
    assert list(walk) == [4, 3, 2, 1, 0]


def test_images_from_one_start_differ_by_jitter_alone(study):
    assert measure("pairwise_rmse", study.siblings(4, 0.0)) < 1e-6
    small, large = (measure("pairwise_rmse", study.siblings(4, jitter)) for jitter in (0.01, 0.1))
    assert 0 < small < large
    assert measure("pairwise_rmse", study.images(4, 0.0)) > 0.01


def test_the_report_tells_a_good_prior_from_a_bad_one():
    D = degrade.make("blur", **TO_MEAN)
    good, bad = fit_prior(D, faces), UniformColor(D, (3, SIZE, SIZE), (-1.0,) * 3, (1.0,) * 3)
    reports = [prior_report(prior, D, faces, n=200) for prior in (good, bad)]
    assert reports[0]["floor"] == reports[1]["floor"] > 0
    assert reports[0]["frechet_distance_thumbnail"] < 5 * reports[0]["floor"] < reports[1]["frechet_distance_thumbnail"]
    assert reports[0]["draws"]["mean"] == pytest.approx(reports[0]["images"]["mean"], abs=0.05)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sampler", "algorithm3"], "--sampler algorithm3: no sampler is called 'algorithm3': did you mean"),
        (["--sampler", "ddpm"], "--sampler ddpm: .* needs Gaussian noise, which 'blur' is not"),
        (["--sample-steps", "9"], "--sample-steps 9 is more than T = 4; choose 4 or fewer"),
        (["--prior", "gmm"], "--prior gmm: no kind of prior is called 'gmm': choose from auto"),
        (
            ["--prior", "low_resolution", "--components", "60", "--fit-images", "90"],
            "--prior low_resolution: components = 60 of 3 numbers each",
        ),
        (["--k", "99"], "--prior auto: k = 99: thumbnails of images"),
        (["--data", "nowhere.zip"], "--data nowhere.zip does not exist"),
        (["--jitter", "-1"], "--jitter -1: input should be greater than or equal to 0"),
        (["--sweep", "0,x"], "--sweep x: input should be a valid number"),
        (["--images", "1"], "--images 1: input should be greater than or equal to 2"),
        (["--device", "cuda:99"], "--device cuda:99 is not there"),
    ],
)
def test_bad_input_ends_in_one_line(blurred, tmp_path, words, message):
    with pytest.raises(UsageError, match=message) as error:
        generate.main(["--model", str(blurred), "--out", str(tmp_path / "out"), *words])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_models_that_are_not_there_or_not_enough(colored, tmp_path, monkeypatch, capsys):
    with pytest.raises(UsageError, match="--model is missing; name a model, or the folder of a run"):
        generate.main([])
    with pytest.raises(UsageError, match=r"--model .*nowhere"):
        generate.main(["--model", str(tmp_path / "nowhere")])
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match=r"--out .*file cannot be written"):
        made(colored, "--out", file)
    blind = run(tmp_path / "blind", degrade.make("blur", **TO_MEAN))
    with pytest.raises(
        UsageError, match="blur leaves something of an image at T = 4; name images to fit the prior to with"
    ):
        made(blind)
    alone = run(tmp_path / "alone", degrade.make("interpolation", T=3, source=DrawnAnimals(SIZE)))
    with pytest.raises(UsageError, match="starts from images of another set; name them with --partner-data"):
        made(alone)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--images", "many"])
    assert run_main(generate.main, "generate.py") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_written_rebuilds_the_prior(blurred, tmp_path):
    made(blurred, "--out", tmp_path, "--jitter", "0.05", "--prior", "uniform_color")
    spec = result(tmp_path, "prior.json")
    D = degrade.make("blur", **TO_MEAN)
    prior = PRIORS.make(spec["name"], **spec["arguments"], D=D)
    assert prior == fit_prior(D, faces, "uniform_color", FitOptions(n=60, jitter=0.05))
