"""Models that are loaded by name: writing one from a run, its precision, its command line, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import degrade
import restore
import samplers
from degrade.command_line import UsageError
from experiments.run.model import ModelSource, load_model
from restore.__main__ import main
from restore.models import catalog
from samplers.commands.image import RestoreImage
from tests.trainings import TINY, data, noise, start

CARD = "# Restores nothing in particular\n\nPSNR 12.3 dB on noise.\n"
FILES = ["card.md", "checksums.json", "model.json", "weights.safetensors"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of three steps, whose average differs from its weights."""
    training = start(3, network=TINY, lr=0.1, ema=restore.EMAConfig(0.5, update_every=1, update_after=0))
    for _ in training.run(data):
        pass
    folder = tmp_path_factory.mktemp("run")
    prior = restore.ComponentConfig("standard_normal", {"shape": [1, 16, 16]})
    restore.save(folder / "model", training, prior=prior, data=restore.DatasetInfo("faces", 10))
    return folder


@pytest.fixture
def models(run, tmp_path, monkeypatch):
    """A folder on the search path, which holds the model `tiny-noise` of the run, and an empty folder to work in."""
    monkeypatch.setattr(catalog, "SEARCH_PATH", [tmp_path / "models"])
    restore.export_model(run, tmp_path / "models" / "tiny-noise", CARD)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "models"


def estimate(R):
    x_t = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return R(x_t, torch.tensor([3, 10]))


def test_a_model_is_the_average_of_its_run_rounded_to_half_precision(run, models):
    assert sorted(file.name for file in (models / "tiny-noise").iterdir()) == FILES
    R, of_run = restore.load("tiny-noise", source=noise), restore.load(run, source=noise)
    assert not R.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in R.parameters())
    for ours, theirs in zip(R.parameters(), of_run.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())
    assert not torch.equal(estimate(R), estimate(of_run))
    torch.testing.assert_close(estimate(R), estimate(of_run), rtol=0, atol=5e-3)


def test_a_model_in_single_precision_gives_what_its_run_gives(run, tmp_path):
    folder = restore.export_model(run, tmp_path / "exact", CARD, torch.float32)
    assert torch.equal(estimate(restore.load(folder, source=noise)), estimate(restore.load(run, source=noise)))


def test_a_restorer_is_exported_as_the_run_is_that_it_was_loaded_from(run, models, tmp_path):
    with open(models / "tiny-noise" / "model.json") as file:
        stored = json.load(file)
    config = restore.TrainConfig(**stored["training"])
    R = restore.load(run, source=noise)
    folder = restore.export_model(R, tmp_path / "same", CARD, training=config, data=restore.DatasetInfo("faces", 10))
    with open(folder / "model.json") as file:
        assert json.load(file) == stored | {"prior": None}
    name = "weights.safetensors"
    assert (folder / name).read_bytes() == (models / "tiny-noise" / name).read_bytes()


def test_what_accepts_a_run_accepts_a_name(models):
    assert restore.model_names() == ("tiny-noise",)
    assert restore.latest("tiny-noise") == models / "tiny-noise"
    assert samplers.load_prior("tiny-noise").shape == (1, 16, 16)
    model = load_model(ModelSource("tiny-noise", data="drawn", other="drawn"), torch.device("cpu"))
    assert model.specification.data == restore.DatasetInfo("faces", 10)
    assert model.folder == Path("runs/tiny-noise")
    command = RestoreImage(image="x.png", model="tiny-noise")
    assert command.load_model(torch.device("cpu"), source=noise).image_size == 16


def test_a_folder_with_a_checkpoint_comes_before_a_model_of_its_name(run, models, tmp_path):
    (tmp_path / "work" / "tiny-noise").mkdir()  # the output of something, but no run
    assert restore.latest("tiny-noise") == models / "tiny-noise"
    (tmp_path / "work" / "tiny-noise").rmdir()
    (tmp_path / "work" / "tiny-noise").symlink_to(run)
    assert restore.latest("tiny-noise").name == "step-00000003"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny-nose", r"^tiny-nose holds no checkpoint and is not the name of a model; did you mean 'tiny-noise'\?$"),
        ("runs/x", r"^runs/x holds no .* a model; models that come with the package: tiny-noise$"),
        (".", r"^\. holds no checkpoint \(a folder named step-\.\.\.\)$"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_names(models, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        restore.load(name)
    with pytest.raises(UsageError, match=message.strip("^")):
        RestoreImage(image="x.png", model=name).load_model(torch.device("cpu"))


@pytest.mark.parametrize("file", FILES[1:])
def test_a_damaged_model_is_refused(models, file):
    path = models / "tiny-noise" / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^tiny-noise holds no whole checkpoint: tiny-noise: .* not what was written"):
        restore.load("tiny-noise", source=noise)


def test_a_training_starts_from_a_model_and_does_not_resume_it(models):
    with pytest.raises(ValueError, match=r"is a model without the state of an optimizer; start a new training from"):
        restore.resume("tiny-noise", start(5, network=TINY))
    fresh = start(1, network=TINY, ema=restore.EMAConfig(0.5, 1, 0)).restorer
    restore.load_pretrained("tiny-noise", fresh)
    stored = restore.load("tiny-noise", source=noise).state_dict()
    assert all(torch.equal(fresh.state_dict()[name], stored[name]) for name in stored)
    config = restore.TrainConfig(steps=1, batch_size=2, ema=restore.EMAConfig(0.75, 1, 0))
    training = restore.Trainer(fresh, config)
    list(training.run(data))
    state = training.state_dict()
    assert any(not torch.equal(stored[f"net.{name}"], weight) for name, weight in state["weights"].items())
    for name, weight in state["weights"].items():  # the average starts at the model, too
        expected = torch.lerp(stored[f"net.{name}"], weight, 0.25)
        torch.testing.assert_close(state["ema"][name], expected, rtol=0, atol=1e-6)


def test_pretrained_weights_of_another_restorer_are_refused_with_what_differs(models):
    other = dataclasses.replace(TINY, channel_mult=(1, 1))
    for restorer, message in (
        (start(1, network=other).restorer, r"another network: channel_mult=\[1\], and this run asks for .*\[1, 1\]$"),
        (restorer_of(degrade.make("interpolation", T=9, source=noise)), "another degradation: T=10, .* for T=9$"),
        (restorer_of(degrade.make("decolor", T=10)), "degradation: interpolation, and this run asks for decolor$"),
    ):
        before = {name: weight.clone() for name, weight in restorer.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            restore.load_pretrained("tiny-noise", restorer)
        assert all(torch.equal(before[name], weight) for name, weight in restorer.state_dict().items())


def restorer_of(D):
    return restore.Restorer(restore.UNet(TINY), D)


def test_what_is_no_model_is_refused(run, models, tmp_path):
    R = restore.load("tiny-noise", source=noise)
    config = restore.TrainConfig()
    export = restore.export_model
    for arguments, message in (
        ((run, tmp_path / "new", "No heading."), "its first line must be a heading"),
        ((run, models / "tiny-noise", CARD), "is not empty"),
        ((run, tmp_path / "new", CARD, torch.bfloat16), "dtype is torch.bfloat16"),
        ((run, tmp_path / "new", CARD, torch.float16, config), "brings its own"),
        ((R, tmp_path / "new", CARD), "training is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            export(*arguments)
    with torch.no_grad():
        next(R.parameters())[0] = 1e6
    with pytest.raises(ValueError, match=r"holds values that torch.float16 does not, up to 1e\+06; use float32"):
        export(R, tmp_path / "new", CARD, training=config)
    assert not (tmp_path / "new").exists()


def test_the_commands_list_models_and_describe_one(models, run, capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tiny-noise  Restores nothing in particular",
        "            interpolation, 0.01 million parameters",
    ]
    assert main(["info", "tiny-noise"]) == 0
    said = capsys.readouterr().out
    with safe_open(models / "tiny-noise" / "weights.safetensors", "pt") as file:
        count = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    for words in (
        "interpolation T=10 ",
        "network:       unet image_size=16 in_channels=1 model_channels=8 channel_mult=[1] num_res_blocks=1",
        f"parameters:    {count:,}\n",
        "training:      3 steps of 8 images, Adam(lr=0.1",
        "faces, 10 images",
        "standard_normal shape=[1,16,16]",
    ):
        assert words in said
    assert said.endswith(CARD)
    assert main(["info", str(run)]) == 0
    assert f"parameters:    {count:,}\n" in capsys.readouterr().out
    assert main(["info", "tiny-nois"]) == 2
    assert capsys.readouterr().err == (
        "python -m restore: tiny-nois holds no checkpoint and is not the name of a model; did you mean 'tiny-noise'?\n"
    )


def test_without_models_the_list_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalog, "SEARCH_PATH", [tmp_path / "nowhere"])
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "no models come with this installation\n"
    with pytest.raises(FileNotFoundError, match="models that come with the package: none"):
        restore.load("x")


def test_what_was_measured_of_severities_is_read_with_the_weights_and_checked(run, models):
    assert restore.load("tiny-noise", source=noise).severity_model is None
    measured = {"knots": torch.arange(3), "means": torch.rand(3, 2)}
    file = restore.keep_severity_model("tiny-noise", measured)
    assert file == models / "tiny-noise" / "severity.safetensors"
    kept = restore.load("tiny-noise", source=noise).severity_model
    assert kept.keys() == measured.keys()
    assert all(torch.equal(kept[name], measured[name]) for name in measured)
    restore.keep_severity_model("tiny-noise", {"knots": torch.arange(2)})  # another one replaces it
    assert list(restore.load("tiny-noise", source=noise).severity_model) == ["knots"]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"severity.safetensors is not what was written: its SHA-256 is another"):
        restore.load("tiny-noise", source=noise)
    with pytest.raises(FileNotFoundError):
        restore.keep_severity_model("nothing-of-this-name", measured)
