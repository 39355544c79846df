"""The commands: pictures restored one by one and by folders, images generated, errors in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
from restore import DatasetInfo, TrainConfig, Trainer, export_model, latest, load, save
from restore.models import catalog
from restore.value_range import ValueRange
from samplers import FitOptions, GenerateOptions, fit_prior, generate_images
from samplers.__main__ import main
from samplers.applications.restore_image import RestoreOptions, restore_image
from samplers.console import main as console
from samplers.loop import direct
from samplers.priors.base import StandardNormal
from tests.photographs import photo, photographs
from tests.restorers import trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model and some pictures."""
    here = tmp_path_factory.mktemp("here")
    training = Trainer(trained().train(), TrainConfig(steps=1, batch_size=2))
    save(here / "run", training)
    noise = Trainer(trained(D=degrade.make("gaussian_noise", T=6)).train(), TrainConfig(steps=1, batch_size=2))
    save(here / "noise", noise, prior=StandardNormal((3, 16, 16)))
    photographs(here / "faces", n=8, size=20)
    photo("RGBA").save(here / "photo.png")
    return here


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model():
    return load("run")


def test_a_picture_is_restored_by_its_severity_and_the_comparison_is_written_on_request(here, capsys):
    arguments = ["image", "photo.png", "--model", "run", "--severity", "5", "--device", "cpu"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == ["severity 5 of 8, as given", "restored/photo-restored.png"]
    with Image.open("restored/photo-restored.png") as written:
        assert np.array_equal(np.asarray(written), np.asarray(restore_image(model(), photo("RGBA"), 5).image))
    assert console([*arguments, "--before-after"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "restored/photo-restored-2.png",
        "restored/photo-before-after-2.png",
    ]
    with Image.open("restored/photo-before-after-2.png") as sheet:
        assert sheet.width > 2 * 37 * 3


def test_without_a_model_the_noise_of_photographs_is_removed_by_the_one_that_comes_along(here, capsys, monkeypatch):
    monkeypatch.setattr(catalog, "SEARCH_PATH", [here / "models"])
    export_model("noise", here / "models" / "photo-noise", "# Removes noise\n", torch.float32)
    assert main(["image", "photo.png", "--severity", "3", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == ["severity 3 of 6, as given", "restored/photo-restored.png"]
    with Image.open("restored/photo-restored.png") as written:
        expected = restore_image(load("noise"), photo("RGBA"), 3).image
        assert np.array_equal(np.asarray(written), np.asarray(expected))
    assert console(["folder", "faces", "--severity", "3", "--device", "cpu", "--out", "all"]) == 0
    assert capsys.readouterr().out == "8 restored, 0 skipped, 0 failed: all\n"


def test_files_of_values_are_restored_in_their_unit_and_type(here, capsys):
    """A model of values in a range takes arrays and pictures of 16 bits and of floating point, and writes such."""
    values = np.random.default_rng(0).uniform(200, 300, (20, 30)).astype(np.float32)
    data = DatasetInfo("fields", 1, value_range=ValueRange(200.0, 300.0))
    save(here / "fields", Trainer(trained(1).train(), TrainConfig(steps=1, batch_size=2)), data=data)
    R = load("fields")
    (here / "given").mkdir()
    np.save("given/a.npy", values)
    Image.fromarray(values).save("given/b.tif")
    Image.fromarray(values.astype(np.uint16)).save("given/c.png")
    common = ["--model", "fields", "--severity", "5", "--device", "cpu"]
    assert main(["folder", "given", *common, "--before-after"]) == 0
    assert capsys.readouterr().out == "3 restored, 0 skipped, 0 failed: restored\n"
    x = torch.from_numpy(values)[None, None] / 50 - 5
    expected = (direct(R, x, 5).clamp(-1, 1)[0, 0] * 50 + 250).numpy()
    found = np.load("restored/a.npy")
    assert (found.dtype, found.shape) == (np.float32, (20, 30))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    with Image.open("restored/b.tiff") as written:
        np.testing.assert_allclose(np.asarray(written), expected, atol=1e-3)
    with Image.open("restored/c.png") as written:
        whole = np.asarray(written)
        assert whole.dtype == np.uint16
        assert np.abs(whole - expected).max() < 2  # given and written in whole numbers
    assert (
        main(["image", "given/a.npy", "--model", "fields", "--severity", "5", "--device", "cpu", "--out", "one"]) == 0
    )
    np.testing.assert_array_equal(np.load("one/a-restored.npy"), found)


def test_a_severity_is_estimated_by_a_folder_of_clean_pictures(here, capsys):
    arguments = ["image", "photo.png", "--model", "run", "--data", "faces", "--device", "cpu"]
    assert main([*arguments, "--sampler", "algorithm2", "--sample-steps", "2"]) == 0
    assert capsys.readouterr().out.startswith("severity ")


def test_a_model_that_was_calibrated_finds_severities_without_clean_pictures(here, capsys):
    assert model().severity_model is None
    assert console(["calibrate", "--model", "run", "--data", "faces", "--device", "cpu"]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert (file.name, file.parent) == ("severity.safetensors", latest("run"))
    kept = model().severity_model
    assert len(kept["knots"]) == len(kept["means"]) == 9  # 0..T
    arguments = ["image", "photo.png", "--model", "run", "--device", "cpu"]
    assert main([*arguments, "--data", "faces"]) == 0
    told = capsys.readouterr().out.splitlines()[0]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[0] == told
    assert console(["calibrate", "--model", "run", "--device", "cpu"]) == 2
    assert "--data is missing; name a folder of clean pictures" in capsys.readouterr().err


@pytest.fixture
def album(here):
    (here / "album" / "more").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.jpg", "b.png", "more/c.png")):
        photo("RGB", size=(30 + i, 29)).save(here / "album" / name)
    (here / "album" / "notes.txt").write_text("no picture")
    return ["folder", "album", "--model", "run", "--severity", "5", "--device", "cpu", "--out", "out"]


def test_a_folder_is_restored_and_only_what_changed_is_restored_again(album, here, capsys):
    assert main(album) == 0
    assert capsys.readouterr().out == "4 restored, 0 skipped, 0 failed: out\n"
    made = sorted(path.relative_to(here / "out").as_posix() for path in (here / "out").rglob("*.png"))
    assert made == ["a.png", "b.jpg.png", "b.png.png", "more/c.png"]
    with Image.open(here / "out" / "more" / "c.png") as written:
        expected = restore_image(model(), photo("RGB", size=(33, 29)), 5).image
        assert np.array_equal(np.asarray(written), np.asarray(expected))
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.png")}
    (here / "out" / "a.png").unlink()
    photo("RGB", size=(50, 29)).save(here / "album" / "more" / "c.png")
    assert main(album) == 0
    assert capsys.readouterr().out == "2 restored, 2 skipped, 0 failed: out\n"
    again = {path.name for path in (here / "out").rglob("*.png") if path.stat().st_mtime_ns != before[path]}
    assert again == {"a.png", "c.png"}
    assert main([*album[:-1], "out", "--severity", "6"]) == 0
    assert capsys.readouterr().out == "4 restored, 0 skipped, 0 failed: out\n"
    assert json.loads((here / "out" / "restored.json").read_text())["a.jpg"]["severity"] == 6


def test_another_model_restores_what_is_finished_again(album, here, capsys):
    assert main(album) == 0
    training = Trainer(trained(seed=1).train(), TrainConfig(steps=2, batch_size=2))
    shutil.rmtree("run")
    save("run", training)
    assert main(album) == 0
    assert capsys.readouterr().out.splitlines()[1] == "4 restored, 0 skipped, 0 failed: out"


def test_a_picture_that_fails_costs_a_line_and_the_rest_is_restored(album, here, capsys):
    (here / "album" / "broken.png").write_text("no picture")
    assert main(album) == 1
    found = capsys.readouterr()
    assert found.out == "4 restored, 0 skipped, 1 failed: out\n"
    (line,) = found.err.splitlines()
    assert line.startswith("album/broken.png: ")
    photo("RGB").save(here / "album" / "broken.png")
    assert main(album) == 0
    assert capsys.readouterr().out == "1 restored, 4 skipped, 0 failed: out\n"


def test_what_is_interrupted_keeps_what_is_finished(album, here, capsys, monkeypatch):
    seen = []

    def interrupted(*arguments):
        seen.append(arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return restore_image(*arguments)

    monkeypatch.setattr("samplers.applications.restore_image.restore_image", interrupted)
    assert main(album) == 130
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert main(album) == 0
    assert capsys.readouterr().out == "2 restored, 2 skipped, 0 failed: out\n"


def test_images_are_generated_from_the_prior_of_the_model(here, capsys):
    arguments = ["generate", "--model", "noise", "--images", "3", "--sampler", "ddim", "--device", "cpu"]
    assert main([*arguments, "--sample-steps", "3"]) == 0
    assert capsys.readouterr().out == "generated/grid.png\n"
    with Image.open("generated/grid.png") as page:
        assert page.size == (32, 32)
        first = np.asarray(page)[:16, :16]
    with Image.open("generated/0.png") as one:
        assert np.array_equal(np.asarray(one), first)
    # An image depends on its number alone.
    assert main([*arguments, "--sample-steps", "3", "--batch-size", "1", "--out", "again"]) == 0
    with Image.open("generated/2.png") as one, Image.open("again/2.png") as other:
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_images_are_generated_from_a_prior_that_is_fitted_here(here, capsys):
    """To the pictures in --data, or to none where the degradation leaves nothing of an image."""
    common = ["--images", "2", "--device", "cpu", "--sampler", "algorithm2"]
    asked = ["--data", "faces", "--prior", "uniform_color", "--jitter", "0.1"]
    assert main(["generate", "--model", "run", *asked, *common]) == 0
    training = Trainer(
        trained(D=degrade.make("mask_to_color", T=3, sigmas="incremental:step=2")).train(), TrainConfig(1, 2)
    )
    save(here / "masks", training)
    assert console(["generate", "--model", "masks", "--out", "colors", *common]) == 0
    assert capsys.readouterr().out.splitlines() == ["generated/grid.png", "colors/grid.png"]
    with Image.open("colors/0.png") as one, Image.open("colors/1.png") as other:
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() > 0


def test_images_are_generated_in_the_unit_of_the_data(here, capsys):
    """A model of five channels in a range writes arrays of such values, a model of gray pictures gray files."""
    degradation = degrade.make("mask_to_color", T=3, sigmas="incremental:step=2")
    for name, channels, value_range in (("fields", 5, ValueRange(200.0, 300.0)), ("gray", 1, None)):
        training = Trainer(trained(channels, degradation).train(), TrainConfig(steps=1, batch_size=2))
        save(here / name, training, data=DatasetInfo(name, 1, value_range=value_range))
    (here / "given").mkdir()
    values = np.random.default_rng(0).uniform(220, 260, (3, 20, 16, 5)).astype(np.float32)
    for i, field in enumerate(values):
        np.save(f"given/{i}.npy", field)
    common = ["--images", "2", "--device", "cpu", "--sampler", "algorithm2"]
    asked = ["--data", "given", "--prior", "uniform_color"]
    assert main(["generate", "--model", "fields", *asked, *common]) == 0
    R, clean = load("fields"), torch.from_numpy(values).permute(0, 3, 1, 2)[:, :, 2:18] / 50 - 5
    prior = fit_prior(R.degradation, clean, "uniform_color", FitOptions(n=2000, jitter=0.002))
    expected = generate_images(R, "algorithm2", prior, 2, GenerateOptions(batch_size=16))
    for i, x in enumerate(expected):
        found = np.load(f"generated/{i}.npy")
        assert (found.dtype, found.shape) == (np.float32, (16, 16, 5))
        np.testing.assert_allclose(found, (x.clamp(-1, 1) * 50 + 250).permute(1, 2, 0).numpy(), atol=1e-3)
    np.save("given/gray.npy", values[0, :, :, 0])
    assert main(["generate", "--model", "fields", *asked, *common]) == 2
    assert "--data given holds a picture of 1 channels; the model's have 5" in capsys.readouterr().err
    assert main(["generate", "--model", "gray", "--out", "digits", *common]) == 0
    with Image.open("digits/0.png") as written:
        assert (written.mode, written.size) == ("L", (16, 16))


@pytest.mark.parametrize("command", [["samplers"], ["degradations"], ["check", "decolor", "T=4"]])
def test_the_console_command_lists_and_checks(command, capsys):
    assert console(command) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate", "--model is missing"),
        ("image photo.png", "--model photo-noise: photo-noise holds no checkpoint and is not the name of a model"),
        ("image photo.png --model nowhere", "--model nowhere"),
        ("image nowhere.png --model run --severity 3", "nowhere.png is not a picture"),
        ("image photo.png --model run --data empty", "--data empty holds 0 pictures"),
        ("image photo.png --model run --data nowhere", "nowhere is not a folder"),
        ("image photo.png --model run --severity 9", "severity is 9; the model knows severities 1..8"),
        ("folder nowhere --model run", "nowhere is not a folder"),
        ("folder empty --model run", "empty holds no pictures"),
        (
            "generate --model run",
            "--prior auto: blur leaves something of an image at T = 8; name images",
        ),
        ("generate --model noise --sample-steps 7", "--sample-steps 7 is more than T = 6"),
        ("generate --model noise --sampler euler", "--sampler euler"),
    ],
)
def test_bad_input_is_one_line(arguments, message, here, capsys, monkeypatch):
    monkeypatch.setattr(catalog, "SEARCH_PATH", [])
    (here / "empty").mkdir()
    assert main([*arguments.split(), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (here / "restored").exists()


def test_the_progress_of_tiles_is_told():
    told = []
    x = torch.rand(3, 40, 70)
    options = RestoreOptions(2, tile_size=16, progress=lambda done, total: told.append((done, total)))
    restore_image(trained(), x, 3, "algorithm2", options)
    total = told[0][1]
    assert total > 8
    assert told == 2 * [(min(done, total), total) for done in range(8, total + 8, 8)]
