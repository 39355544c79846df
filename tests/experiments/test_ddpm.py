"""The diffusion experiment: what it leaves behind, the published settings, and what a user gets wrong."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from PIL import Image

import degrade
import restore
from degrade.command_line import UsageError, parse
from experiments import ddpm
from experiments.data.drawn import DrawnFaces
from experiments.ddpm import Config
from experiments.evaluation.diffusion import DiffusionEvaluator
from restore import FunctionRestorer
from restore.losses import L2
from restore.lr_schedules import Constant
from samplers import load_prior
from samplers.applications.likelihood import bits_per_dim
from tests.oracles import GaussianMean
from tests.trainings import TINY_NETWORK

TRAINING = ["--batch-size", "4", "--steps", "4", "--ema-start", "0", "--log-every", "2", "--save-every", "2"]
TINY = [*TINY_NETWORK, *TRAINING, "--T", "6", "--samples", "5", "--bound-images", "3", "--device", "cpu"]


def run(*arguments):
    ddpm.main([*TINY, *map(str, arguments)])


def config(*arguments):
    return parse(Config, ddpm.PRESETS, [*map(str, arguments)], "ddpm.py", "")[0]


def test_a_run_leaves_samples_and_the_bound_term_by_term(tmp_path, capsys):
    out = tmp_path / "out"
    run("--out", out, "--preview-every", 4, "--sample-steps", 3)
    pictures = {"samples.png", "reverse.png", "learning_curve.png"}
    assert {p.name for p in out.glob("*.png")} == pictures
    assert [p.name for p in (out / "samples").iterdir()] == ["step-00000004.png"]
    for name in pictures:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 60
    measured = json.loads((out / "metrics.json").read_text())
    names = ["ancestral, small variance", "ancestral, large variance", "ancestral, 3 steps", "DDIM, 3 steps"]
    assert list(measured["evaluation"]["rows"]) == [*names, "unseen images"]
    bound = measured["bits_per_dim"]
    assert (bound["images"], bound["times"]) == (3, [2, 3, 4, 5, 6])
    for variance in ("small", "large"):
        row = bound[variance]
        assert row["total"] == pytest.approx(row["L_T"] + sum(row["L_t"]) + row["L_0"])
    assert bound["small"]["L_0"] == bound["large"]["L_0"]  # both take the variance of the step before
    assert "small variance" in capsys.readouterr().out
    R = restore.load(out / "model")
    assert (R.prediction_type, R.clip_sample, R.degradation) == ("eps", True, degrade.make("gaussian_noise", T=6))
    assert load_prior(out / "model").name == "standard_normal"


def study(steps=10, T=40, batch=2):
    """A study of drawn faces whose restorer knows the posterior mean for standard normal pixels."""
    D = degrade.make("gaussian_noise", T=T)
    n = 3 * 8 * 8
    exact = GaussianMean(D, torch.zeros(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64))

    def posterior_mean(x_t, t):
        return exact(x_t.double(), t).float()

    R = FunctionRestorer(posterior_mean, D)
    return DiffusionEvaluator(R, DrawnFaces(8), seed=0, batch=batch, steps=steps), R


def variance_of_samples(D, variance, eta, times):
    """Variance of samples of N(0, 1) data by the exact restorer x0_hat = a_t x_t, for which z = b_t x_t.

    A step is x_s = (a_s a_t + b_s b_t sqrt(1 - tau)) x_t + sigma eps with tau = eta^2 (1 - (a_t b_s / (a_s b_t))^2) and
    sigma = b_s sqrt(tau), or b_t sqrt(tau) for the large variance. The small variance is that of x_s if x0 were known,
    so it lacks Var[x0 | x_t] a_s^2 (1 - ...) and few levels give a variance below 1.
    """
    like, found = torch.zeros(1, 1, 1, 1, dtype=torch.float64), 1.0
    for t, s in itertools.pairwise(times):
        (a_t, b_t), (a_s, b_s) = (map(float, D.coefficients(torch.tensor([level]), like)) for level in (t, s))
        tau = eta**2 * (1 - (a_t * b_s / (a_s * b_t)) ** 2)
        sigma = (b_t if variance == "large" and s else b_s) * tau**0.5
        found = (a_s * a_t + b_s * b_t * (1 - tau) ** 0.5) ** 2 * found + sigma**2
    return found


def test_samples_by_the_exact_restorer_have_the_distribution_of_its_steps():
    one = study(T=20, batch=40)[0]
    made = one.samples(80)
    n = 80 * 3 * 8 * 8
    cases = {"ancestral, small": ("small", 1), "ancestral, large": ("large", 1)}
    cases |= {"ancestral, 10": ("small", 1), "DDIM, 10": ("small", 0)}
    for (name, x), (start, step) in zip(made.items(), cases.items()):
        assert name.startswith(start)
        spread = variance_of_samples(one.D, *step, one.samplers[name][1]) ** 0.5
        assert float(x.mean()) == pytest.approx(0, abs=4 * spread / n**0.5), name
        assert float(x.std()) == pytest.approx(spread, rel=4 / (2 * n) ** 0.5), name


def test_many_levels_give_the_variance_of_the_data():
    D = degrade.make("gaussian_noise", T=1000)
    for variance, eta in (("small", 1), ("large", 1), ("small", 0)):
        assert variance_of_samples(D, variance, eta, range(1000, -1, -1)) == pytest.approx(1, abs=0.01), (variance, eta)


def test_the_bound_of_a_study_is_the_mean_over_its_images():
    one, R = study()
    found = one.bound(4, 5)
    assert len(found["times"]) == 5
    assert all(2 <= t <= 40 for t in found["times"])
    x0 = one.images(4, "bound")
    whole = bits_per_dim(FunctionRestorer(R, one.D), x0, found["times"], "small", torch.Generator().manual_seed(1))
    assert found["small"]["L_T"] == pytest.approx(float(whole.L_T.mean()))
    # Another noise: the terms agree as far as four images tell.
    assert found["small"]["total"] == pytest.approx(float(whole.total.mean()), rel=0.05)
    assert one.bound(4, 5) == found


def test_the_way_back_is_shown_at_the_severities_of_the_tutorial(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "experiments.evaluation.strips.render_rows", lambda rows, scale: shown.extend(rows) or Image.new("L", (1, 1))
    )
    one, _ = study(T=1000)
    one.R = FunctionRestorer(lambda x_t, t: torch.zeros_like(x_t), one.D)
    one.plot_trajectories(tmp_path / "reverse.png", n=2)
    assert len(shown) == 2
    times = (999, 700, 550, 400, 300, 200, 100, 50, 15, 0)
    assert list(shown[0].captions) == [f"t = {t}" for t in times]
    # With a guess of 0 the state at severity t is noise of standard deviation b_t.
    b = one.D.schedule(1000)[1]
    for panel, t in zip(shown[0].panels, times):
        assert float(panel.std()) == pytest.approx(float(b[t]), rel=0.2, abs=1e-6)


@pytest.mark.parametrize(("name", "parameters"), [("cifar10", 35_746_307), ("mnist", None)])
def test_presets_are_what_was_published(name, parameters):
    given = config("--preset", name)
    training = given.training(0)
    assert (given.data, given.size, given.T, given.schedule, given.prediction_type) == (
        name,
        32,
        1000,
        "linear_beta",
        "eps",
    )
    assert (training.loss, training.ema.decay, given.dropout) == (L2(), 0.9999, 0.1)
    assert isinstance(training.lr_schedule, Constant)
    if name == "cifar10":
        assert (training.optimizer.lr, training.batch_size, training.steps, given.flip) == (2e-4, 128, 800_000, True)
        assert given.resize_policy(32).side == 32
    else:
        assert (training.optimizer.lr, training.batch_size, given.resize, given.num_heads) == (2e-5, 64, "pad", 8)
        assert training.steps == 75 * 60_000 // 64
    with torch.device("meta"):
        net = given.build_network(3 if name == "cifar10" else 1, T=1)
    assert parameters in (None, sum(p.numel() for p in net.parameters()))


BAD = [
    ("--T 1", "--T 1: input should be greater than or equal to 2"),
    ("--schedule sigmoid", "--schedule sigmoid: gaussian_noise: schedule"),
    ("--schedule rectified", "prediction_type 'eps' cannot recover x0 at t = 6"),
    ("--prediction-type noise", "--prediction-type noise: input should be 'x0', 'eps' or 'v'"),
    ("--data nowhere", "--data nowhere does not exist"),
    ("--preset lsun", "--preset lsun: choose from demo, mnist, mnist-small, cifar10"),
    ("--samples 0", "--samples 0: input should be greater"),
    ("--sample-steps 0", "--sample-steps 0: input should be greater"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_ends_in_one_line_and_leaves_no_folder(arguments, message, tmp_path):
    with pytest.raises(UsageError) as error:
        run("--out", tmp_path / "out", *arguments.split())
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [["--quick"], ["--config", "small.json"]])
def test_quick_is_the_same_on_the_command_line_and_in_a_file(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.json").write_text('{"quick": true}')
    assert config("--preset", "mnist").model_channels == 64
    assert config("--preset", "mnist", *given).model_channels == ddpm.QUICK["model_channels"]
