"""The training program: its runs, its options, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import degrade
import restore
from degrade.command_line import UsageError, parse
from experiments import train
from experiments.data.datasets import Datasets
from experiments.data.drawn import DrawnFaces
from experiments.evaluation.evaluator import Evaluator
from experiments.evaluation.metrics import measure
from experiments.evaluation.restoration import RestorationEvaluator
from experiments.run.model import ModelSource, load_model
from experiments.run.presets import DEMO, PRESETS
from experiments.train import Config
from restore import ResidualCNNConfig
from samplers import load_prior
from tests.photographs import photographs
from tests.trainings import TINY_NETWORK

TRAINING = ["--batch-size", "4", "--steps", "4", "--ema-start", "0", "--log-every", "2", "--save-every", "2"]
TINY = [*TINY_NETWORK, *TRAINING, "--eval-images", "4", "--device", "cpu"]
CPU = torch.device("cpu")
FACES = Datasets("drawn", DrawnFaces(16), DrawnFaces(16), 3)


def run(*arguments):
    train.main([*TINY, *map(str, arguments)])


def config(*arguments):
    presets = {"demo": DEMO, **PRESETS}
    return parse(Config, presets, [*map(str, arguments)], "train.py", "")[0]


def test_a_run_on_gray_digits_leaves_everything_it_promises(tmp_path, capsys):
    for part, n in (("train", 6), ("test", 3)):
        (tmp_path / "set" / part).mkdir(parents=True)
        for i in range(n):
            Image.linear_gradient("L").resize((12, 12)).rotate(30 * i).save(tmp_path / "set" / part / f"{i}.png")
    out = tmp_path / "out"
    run("--data", tmp_path / "set", "--resize", "pad", "--degradation-args", "T=3", "--out", out, "--preview-every", 2)
    assert sorted(p.name for p in out.glob("*.png")) == ["forward.png", "learning_curve.png", "restored.png"]
    assert sorted(p.name for p in (out / "samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    report = (out / "report.html").read_text()
    for text in ("Degradation", "Restoration", "Trajectory", "Restored from severity 3", "Configuration", "sha256"):
        assert text in report
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(out / "report.html")
    measured = json.loads((out / "metrics.json").read_text())
    assert (measured["evaluation"]["images"], measured["severity"], measured["steps"]) == (3, 3, 3)
    rows = {"degraded", "linear inverse", "direct", "algorithm1", "algorithm2"}
    assert set(measured["evaluation"]["rows"]) == rows
    assert "3 unseen images, restored from severity 3" in said
    specification = restore.read_checkpoint_config(restore.latest(out / "model"))
    assert (specification.network.arguments["in_channels"], specification.data.images) == (1, 6)
    assert specification.data.sha256 in report
    assert len(specification.data.sha256) == 64
    R = restore.load(out / "model")
    assert R.degradation == degrade.make("blur", T=3, sigmas="cifar10", kernel_size=11)
    assert R(torch.zeros(1, 1, 16, 16), torch.tensor([2])).isfinite().all()


def test_a_run_resumed_equals_one_in_a_piece_and_knows_its_data(tmp_path):
    faces = photographs(tmp_path / "faces", n=9, size=20)
    run("--data", faces, "--out", tmp_path / "whole", "--degradation-args", "T=3")
    stop = restore.Trainer.run

    def stopped(training, data):
        for record in stop(training, data):
            yield record
            if record.step == 2:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore.Trainer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("--data", faces, "--out", tmp_path / "parts", "--degradation-args", "T=3")
    run("--data", faces, "--out", tmp_path / "parts", "--degradation-args", "T=3", "--resume")
    whole, parts = (restore.load(tmp_path / name / "model").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert (tmp_path / "whole" / "metrics.json").read_text() == (tmp_path / "parts" / "metrics.json").read_text()

    (faces / "0.png").unlink()
    with pytest.raises(UsageError, match="--resume"):
        run("--data", faces, "--out", tmp_path / "parts", "--resume", "--steps", 6)
    with pytest.raises(UsageError, match="this run was started with"):
        run("--data", faces, "--out", tmp_path / "parts", "--resume", "--degradation-args", "T=5")


@degrade.register("fade_of_test_train")
class Fade(degrade.Degradation):
    """A plugin's degradation."""

    T: degrade.NumLevels = 3
    floor: float = 0.0

    def apply(self, x0, t, z):
        return x0 * (1 - (1 - self.floor) * t / self.T).view(-1, 1, 1, 1)


def test_a_plugin_and_a_mixture_train_like_the_built_in(tmp_path):
    run("--degradation", "fade_of_test_train", "--degradation-args", "floor=0.5", "T=2", "--out", tmp_path / "fade")
    assert restore.load(tmp_path / "fade" / "model").degradation == Fade(T=2, floor=0.5)
    run(
        "--degradation", "interpolation", "--degradation-args", "T=3", "schedule=rectified", "--out", tmp_path / "morph"
    )
    R = restore.load(tmp_path / "morph" / "model", source=DrawnFaces(16))
    assert (R.degradation.T, R.degradation.schedule.name) == (3, "rectified")


@pytest.mark.parametrize("name", degrade.names())
def test_every_registered_degradation_is_built_and_tried(name):
    D = train.degradation(config("--size", 16, "--degradation", name, "--degradation-args", "T=2"), FACES, CPU)
    assert (D.name, D.T) == (name, 2)


def test_with_an_oracle_every_trajectory_ends_at_the_truth_and_only_the_degraded_is_off():
    D = degrade.make("inpaint", T=6, sigmas="incremental:step=0.5", center="random")
    truth = {}

    def R(x_t, t):
        return truth["x0"][: len(x_t)]

    study = RestorationEvaluator(restore.FunctionRestorer(R, D), DrawnFaces(16), seed=0, batch=8, steps=3)
    x0, z, _ = study.images(5)
    truth["x0"] = x0
    rows = study.measure(5)["evaluation"]["rows"]
    expected = measure("rmse", D(x0, degrade.expand_level(6, x0), z), x0)
    assert rows.pop("degraded")["rmse"]["value"] == pytest.approx(expected)
    assert expected > 0.05
    assert rows.pop("linear inverse")["rmse"]["value"] <= expected  # no oracle
    for name, row in rows.items():
        assert row["rmse"]["value"] < 1e-6, name
        assert row["ssim"]["value"] == pytest.approx(1), name
        assert row["frechet_distance_thumbnail"]["value"] < 1e-6, name


@pytest.mark.parametrize("rounded", [False, True])
def test_a_network_that_sees_the_inverse_is_trained_from_the_command_line(rounded, tmp_path):
    options = ["--quantize-input"] if rounded else []
    run("--degradation-args", "T=3", "--inverse-input", "--inverse-noise", 0.01, *options, "--out", tmp_path / "out")
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert measured["input_precision"] == ("8bit" if rounded else "float32")
    R = restore.load(tmp_path / "out")
    assert R.inverse_input == restore.InverseInput(noise=0.01)
    assert (R.net.config.in_channels, R.net.config.out_channels, R.image_channels) == (6, 3, 3)
    model = load_model(ModelSource(str(tmp_path / "out")), CPU)
    assert model.data.channels == 3
    with pytest.raises(UsageError, match=r"--inverse-noise 0\.1: this run was started with 0\.01"):
        run("--resume", "--out", tmp_path / "out", "--inverse-noise", 0.1)


def test_a_degradation_without_a_known_inverse_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="'snow' is not affine; use inverse_input=None"):
        run("--degradation", "snow", "--degradation-args", "T=3", "--inverse-input", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_are_all_the_same_can_be_measured():
    same = torch.full((4, 3, 16, 16), 0.2) + 1e-8 * torch.randn(4, 3, 16, 16)
    found = Evaluator(["frechet_distance"]).evaluate({"same": same + 0.4}, reference=same)
    shifted = found.value("same", "frechet_distance_thumbnail")  # 192 numbers, each off by 0.2 of 1
    assert shifted == pytest.approx(192 * 0.2**2, rel=1e-4)


def test_a_prior_is_fitted_and_saved_with_the_model(tmp_path):
    arguments = ["T=4", "mean_at_T=true", "kernel_size=5"]
    run("--degradation-args", *arguments, "--prior", "auto", "--jitter", 0.002, "--out", tmp_path / "out")
    prior = load_prior(tmp_path / "out" / "model")
    assert (prior.name, prior.k, prior.jitter) == ("low_resolution", 1, 0.002)


def test_what_the_network_predicts_is_an_option(tmp_path):
    arguments = ["T=3", "schedule=linear_sigma:sigma_max=0.5"]
    noise = ["--degradation", "gaussian_noise", "--degradation-args", *arguments]
    run(*noise, "--prediction-type", "eps", "--out", tmp_path / "out")
    R = restore.load(tmp_path / "out")
    assert (R.prediction_type, R.degradation.schedule.sigma_max) == ("eps", 0.5)


def test_any_registered_network_trains_and_is_loaded(tmp_path):
    own = ["--network", "residual_cnn", "--network-args", "channels=4", "num_layers=1", "--out", str(tmp_path / "out")]
    few = ["--size", "16", "--eval-images", "4", "--device", "cpu", "--degradation-args", "T=3"]
    train.main([*few, *TRAINING, *own])
    R = restore.load(tmp_path / "out")
    assert R.net.config == ResidualCNNConfig(channels=4, num_layers=1, max_timestep=3, image_size=16)
    with pytest.raises(UsageError, match=r"^--network-args .*: this run was started with .*'channels': 4"):
        train.main([*own, "--resume", "--network-args", "channels=5"])
    assert config("--config", tmp_path / "out" / "config.json").network == "residual_cnn"


def test_arguments_of_the_unet_have_options_and_may_be_given_by_name():
    given = config("--model-channels", 16, "--network-args", "num_heads=2", "image_size=32")
    arguments = given.network_arguments(1, T=9)
    wanted = {"model_channels": 16, "num_heads": 2, "image_size": 32, "in_channels": 1}
    assert {name: arguments[name] for name in wanted} == wanted
    assert "max_timestep" not in arguments
    with pytest.raises(UsageError, match=r"^--network residual_cnn: ResidualCNNConfig: width = 2: "):
        config("--network", "residual_cnn", "--network-args", "width=2")


BAD = [
    ("--network unett", "--network unett: no network is called 'unett': did you mean 'unet'"),
    ("--network residual_cnn", "--model-channels is for --network unet; set arguments of residual_cnn by"),
    ("--data nowhere", "--data nowhere does not exist"),
    ("--degradation blurr", "no degradation is called 'blurr': did you mean 'blur'"),
    ("--prediction-type eps", "prediction_type 'eps' needs x_t = a_t x0 + b_t z, which 'blur' is not"),
    ("--prediction-type noise", "--prediction-type noise: input should be 'x0', 'eps' or 'v'"),
    ("--degradation-args T", "--degradation-args: 'T' is no option and no key=value"),
    ("--degradation-args kernel=3", "blur: it has no argument kernel; --degradation-args takes T, sigmas, kernel_size"),
    ("--degradation-args kernel_size=4", "blur: blur: kernel_size = 4: a kernel has a middle"),
    ("--degradation pixelate --degradation-args T=9", "--degradation pixelate: pixelate: x0 is 16 x 16, too small"),
    ("--degradation mask_to_color --degradation-args T=3 color=[0.5]", "mask_to_color"),
    ("--degradation interpolation --degradation-args source=1", "it has no argument source"),
    ("--degradation interpolation --partner-data nowhere", "--partner-data nowhere does not exist"),
    ("--degradation interpolation --data {0}/gray", "turns images into others; name those with --partner-data"),
    ("--degradation interpolation --data {0}/gray --partner-data {0}/color", "--partner-data {0}/color has 3 channels"),
    ("--data {0}/gray --channels 2", "--channels 2 needs --value-range LOW,HIGH; 8-bit pictures have 1 or 3"),
    ("--data {0}/gray --oversize 0.5", "--oversize 0.5: input should be greater than or equal to 1"),
    ("--data {0}/gray --resize squeeze", "--resize squeeze: input should be 'crop', 'pad' or 'none'"),
    ("--prior guess", "--prior guess: input should be"),
    (
        "--prior low_resolution --degradation inpaint --degradation-args T=3",
        "--prior low_resolution: inpaint leaves more",
    ),
    ("--preset mnist-blurr", "--preset mnist-blurr: choose from demo, mnist-blur"),
    ("--data {0}/small", "fewer than --size 16; --resize pad puts it in a black square"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    photographs(folder / "color", n=3, size=20)
    for name, size in (("gray", 20), ("small", 12)):
        (folder / name).mkdir()
        for i in range(3):
            Image.new("L", (size, size), i).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_ends_in_one_line_and_leaves_no_folder(arguments, message, pictures, tmp_path):
    with pytest.raises(UsageError) as error:
        run("--out", tmp_path / "out", *arguments.format(pictures).split())
    assert message.format(pictures) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [["--quick"], ["--config", "small.json"]])
def test_quick_is_the_same_on_the_command_line_and_in_a_file(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.json").write_text('{"quick": true}')
    assert config("--preset", "mnist-blur").steps == 700_000
    small = config("--preset", "mnist-blur", *given)
    assert (small.steps, small.model_channels) == (2000, 32)
    assert config(*given).steps == DEMO["steps"]
