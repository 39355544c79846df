"""Trainings that are compared have the same processor time, and their errors are of the same images."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

import degrade
from degrade.command_line import UsageError
from experiments.bench import equal_time, recipes
from experiments.bench.equal_time import PeerNetwork, spend, train_recipe, with_schedule
from experiments.bench.recipe_errors import SNRS, NoiseErrors, evaluate, nearest_level
from experiments.data.drawn import DrawnFaces
from experiments.data.images import InMemoryImages
from experiments.run.loop import TrainingTask
from experiments.run.tasks import TaskConfig
from experiments.run.training import build_restorer
from restore import Restorer, Trainer
from tests.restorers import Says, restorer

TINY = {
    "size": 16, "model_channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_resolutions": (),
    "norm_groups": 4, "patch_size": 2, "batch_size": 4, "optimizer": "adam:lr=0.01", "lr_schedule": "cosine:warmup=2",
    "ema_decay": 0.5, "ema_start": 1, "degradation": "gaussian_noise", "device": "cpu",
}  # fmt: skip
PICTURES = (DrawnFaces(16)(12, torch.Generator().manual_seed(0)) * 127.5 + 127.5).to(torch.uint8)


@pytest.fixture
def ticks(monkeypatch):
    """A processor clock that is one second later whenever it is read."""
    clock = iter(range(10**6))
    monkeypatch.setattr(equal_time.time, "process_time", lambda: float(next(clock)))


@pytest.mark.parametrize(("cost", "budget", "steps"), [(0.25, 1.0, 4), (0.3, 1.0, 3), (2.0, 1.0, 1)])
def test_as_many_steps_are_taken_as_fit(cost, budget, steps, monkeypatch):
    now, told = [5.0], []
    monkeypatch.setattr(equal_time.time, "process_time", lambda: now[0])

    def step(total):
        told.append(total)
        now[0] += cost

    done, used = spend(budget, step)
    assert (done, used) == (steps, pytest.approx(steps * cost))
    assert used <= budget or steps == 1
    assert told == [1] + [steps] * (steps - 1)


def test_a_slower_second_half_shortens_the_training(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(equal_time.time, "process_time", lambda: now[0])

    def step(total):
        told.append(total)
        now[0] += 1.0 if len(told) <= 5 else 2.0

    done, used = spend(10.0, step)
    assert (done, used) == (7, 9.0)  # an eighth step would end at 11
    assert told[1:] == [10, 10, 10, 10, 10, 8]


def test_a_training_by_time_is_the_training_of_that_many_steps(ticks):
    found = train_recipe(TaskConfig(**TINY), "eps", PICTURES, seconds=5.0)
    config = TaskConfig(**TINY, steps=5)
    task = TrainingTask(config.make_degradation(), InMemoryImages(PICTURES, 16), None, "eps")
    plain = Trainer(build_restorer(config, task), config.training(0))
    assert [stats.lr for stats in plain.run(task.data)][-1] == 0
    assert (found.steps, found.images) == (5, 20)
    for own, its in zip(found.R.parameters(), plain.ema.parameters(), strict=True):
        assert torch.equal(own, its)
    assert found.parameters == sum(p.numel() for p in plain.restorer.net.parameters())


@pytest.fixture
def x0():
    return DrawnFaces(16)(6, torch.Generator().manual_seed(3)).double()


def test_all_restorers_see_the_same_noisy_images_at_their_own_levels(x0):
    seen = {}
    errors = NoiseErrors(x0, seed=0, batch_size=4)
    for name, schedule in (("cosine", "cosine"), ("linear", "linear_beta")):
        calls = seen[name] = []
        R = restorer(
            degrade.make("gaussian_noise", T=1000, schedule=schedule),
            lambda x, t, calls=calls: calls.append((x, t)) or x,
        )
        errors.observe(R)
        for snr, (t, alpha_bar) in errors.levels(R).items():
            assert alpha_bar == pytest.approx(float(snr) / (1 + float(snr)), abs=2e-3)
            assert t == nearest_level(R.degradation, float(snr) / (1 + float(snr)))[0]
    for (x, t), (other, s) in zip(seen["cosine"], seen["linear"], strict=True):
        assert torch.equal(x, other)
        assert (t != s).all()
    assert len(seen["linear"]) == 2 * len(SNRS)


def test_errors_of_noise_are_those_of_known_predictions(x0):
    D = with_schedule(torch.tensor(SNRS, dtype=torch.float64) / (1 + torch.tensor(SNRS, dtype=torch.float64)))
    errors = NoiseErrors(x0, seed=0)
    zero = Restorer(Says(lambda x, t: torch.zeros_like(x)), D, "eps")  # x0_hat = x_t / a_t
    oracle = restorer(D, lambda x, t: x0)
    tables = evaluate(errors, {"zero": errors.observe(zero), "oracle": errors.observe(oracle)}, "zero")
    size = float(errors.eps.square().mean().sqrt())
    for snr in SNRS:
        eps, image = tables[f"eps, SNR {snr:g}"], tables[f"x0, SNR {snr:g}"]
        assert eps.value("oracle", "rmse") < 1e-12 > image.value("oracle", "rmse")
        assert eps.value("zero", "rmse") == pytest.approx(size, rel=1e-12)
        low, high = eps.rows["zero"]["rmse"].interval
        assert low < eps.value("zero", "rmse") < high
        assert eps.differences["oracle"]["rmse"].verdict == "better"
    assert tables["eps, all"].value("zero", "rmse") == pytest.approx(size, rel=1e-12)


def test_noise_of_diffusers_and_its_levels_are_ours(x0):
    diffusers = pytest.importorskip("diffusers")
    scheduler, D = diffusers.DDPMScheduler(clip_sample=False), degrade.make("gaussian_noise", T=1000)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    asked = []

    def net(x, k):
        asked.append(k)
        return 0.9 * eps

    R = Restorer(PeerNetwork(Says(net)), D, "eps")
    for k in (0, 500, 999):
        x_t = scheduler.add_noise(x0, eps, torch.tensor([k]))
        assert torch.allclose(x_t, D(x0, torch.full((6,), k + 1), eps), atol=1e-5)
        theirs = scheduler.step(0.9 * eps, k, x_t).pred_original_sample
        assert torch.allclose(R(x_t, torch.full((6,), k + 1)), theirs, rtol=1e-3)
        assert (asked.pop() == k).all()


def test_predictions_of_lucidrains_are_ours(x0):
    library = pytest.importorskip("denoising_diffusion_pytorch")
    torch.manual_seed(0)
    diffusion = library.GaussianDiffusion(library.Unet(dim=8, dim_mults=(1, 2)), image_size=16).eval()
    R = Restorer(PeerNetwork(diffusion.model), with_schedule(diffusion.alphas_cumprod.double()), "v").eval()
    x_t = x0.float()
    for k in (0, 300, 999):
        with torch.no_grad():
            theirs = diffusion.model_predictions(x_t, torch.full((6,), k)).pred_x_start
            assert torch.allclose(R(x_t, torch.full((6,), k + 1)), theirs, atol=1e-5)


def run(tmp_path, *words):
    recipes.main([*words, "--seconds", "0.2", "--images", "3", "--out", str(tmp_path / "found.json")])
    return json.loads((tmp_path / "found.json").read_text())


def test_the_program_keeps_both_comparisons_in_one_file(tmp_path, capsys):
    run(tmp_path, "--comparison", "noise", "--only", "v")
    found = run(tmp_path, "--comparison", "cold", "--only", "paper-sized", "--sample-steps", "2", "--size", "16")
    assert list(found) == ["noise", "cold"]
    assert list(found["noise"]["trainings"]) == ["recipe", "v"]
    assert list(found["cold"]["trainings"]) == ["recipe", "paper-sized"]
    for result in found.values():
        for name, training in result["trainings"].items():
            assert training["seconds"] <= 0.2 or training["steps"] == 1, name
        for title, table in result["tables"].items():
            for name, row in table["rows"].items():
                for cell in row.values():
                    assert cell["interval"][0] <= cell["value"] <= cell["interval"][1], (title, name)
    recipe, paper = (found["cold"]["trainings"][name]["settings"] for name in ("recipe", "paper-sized"))
    changed = {key for key in recipe if recipe[key] != paper[key]}
    assert {"optimizer", "batch_size", "micro_batch_size", "ema_decay", "precision", "lr_schedule"} <= changed
    assert not {"model_channels", "patch_size", "seed", "loss", "degradation_args"} & changed
    assert "paper-sized: " in capsys.readouterr().out


def test_every_choice_changes_one_thing():
    base, *others = [settings for settings, _ in recipes.trainings(recipes.Config(comparison="cold")).values()]
    others = others[-len(recipes.CHOICES) :]
    changed = [{key for key in base if settings[key] != base[key]} for settings in others]
    assert {"patch_size", "attention_resolutions"} in changed  # which are given in pixels of an image
    assert all(len(keys - {"attention_resolutions"}) == 1 for keys in changed)


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["lucidrains", "diffusers"])
def test_peers_are_trained_for_the_same_time(peer, tmp_path):
    if not find_spec(recipes.PEERS[peer]):
        pytest.skip(f"{peer} is not installed")
    out = str(tmp_path / "found.json")
    words = ["--seconds", "1", "--images", "2", "--only", f"{peer}-sized", "--out", out]
    recipes.main(words)
    found = json.loads((tmp_path / "found.json").read_text())["noise"]
    training = found["trainings"][f"{peer}-sized"]
    assert training["seconds"] <= 1 or training["steps"] == 1
    assert training["images"] == training["steps"] * {"lucidrains": 64, "diffusers": 16}[peer]
    assert set(found["tables"]["eps, all"]["differences"]) == {f"{peer}-sized"}


def test_an_unknown_training_is_refused():
    with pytest.raises(UsageError, match="--only fast: --comparison cold has recipe, paper-sized, paper"):
        recipes.trainings(recipes.Config(comparison="cold", only=("fast",)))


def test_a_size_that_the_peers_cannot_have_is_refused():
    with pytest.raises(ValueError, match=r"--size 48: .* use 32 or 64"):
        recipes.Config(size=48)


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom experiments.bench.recipes import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--seconds" in done.stdout
