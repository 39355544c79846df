"""The command line that restores a picture: what it writes, says and refuses."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from degrade.command_line import run_main
from degrade.image_io import open_image
from experiments.restore_image import main
from restore import TrainConfig, Trainer, save
from samplers.applications.restore_image import restore_image
from samplers.commands.image import write_new
from tests.photographs import photo, photographs
from tests.restorers import trained


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = Trainer(trained().train(), TrainConfig(steps=1, batch_size=2))
    save("run/model", training)
    return training.ema


def test_the_command_line_writes_the_picture_and_says_how_sure_it_is(model, tmp_path, capsys):
    photo("RGBA").save("photo.png")
    main(["--model", "run", "--image", "photo.png", "--severity", "5", "--device", "cpu", "--before-after"])
    said = capsys.readouterr().out.splitlines()
    assert said == ["severity 5 of 8, as given", "restored/photo-restored.png", "restored/photo-before-after.png"]
    with Image.open("restored/photo-restored.png") as written:
        expected = restore_image(model, photo("RGBA"), 5).image
        assert np.array_equal(np.asarray(written), np.asarray(expected))
    with Image.open("restored/photo-before-after.png") as sheet:
        assert sheet.width > 2 * 37 * 3
    images = photographs(tmp_path / "faces", n=8, size=20)
    arguments = ["--model", "run", "--image", "photo.png", "--data", str(images), "--out", "b", "--device", "cpu"]
    main([*arguments, "--sampler", "algorithm2", "--sample-steps", "3"])
    assert capsys.readouterr().out.startswith("severity ")


def test_a_picture_on_its_side_is_turned_and_a_mask_read(model, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo("RGB").save("photo.jpg", exif=exif, quality=100)
    Image.new("L", (29, 37), 0).save("mask.png")
    main(["--model", "run", "--image", "photo.jpg", "--mask", "mask.png", "--severity", "3", "--device", "cpu"])
    with Image.open("restored/photo-restored.png") as written:
        assert written.size == (29, 37)
        assert np.array_equal(np.asarray(written), np.asarray(open_image("photo.jpg")))


def test_results_are_never_written_over_others(model, capsys):
    for i, name in enumerate(("a.jpg", "a.png", "a.png")):
        photo("RGB", size=(30 + i, 29)).save(name)
        main(["--model", "run", "--image", name, "--severity", "5", "--device", "cpu", "--before-after"])
        mark = "" if i == 0 else f"-{i + 1}"
        paths = [f"restored/a-restored{mark}.png", f"restored/a-before-after{mark}.png"]
        assert capsys.readouterr().out.splitlines()[1:] == paths
    for i, mark in enumerate(("", "-2", "-3")):
        with Image.open(f"restored/a-restored{mark}.png") as written:
            assert written.size == (30 + i, 29)


def test_the_profile_and_exif_data_of_a_picture_are_written_with_it(tmp_path):
    picture, profile, exif = photo("RGB"), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), Image.Exif()
    exif[0x010F] = "maker"
    picture.info |= {"icc_profile": profile.tobytes(), "exif": exif.tobytes()}
    path, number = write_new(picture, tmp_path / "photo.png")
    assert number == 1
    with Image.open(path) as written:
        assert written.info["icc_profile"] == profile.tobytes()
        assert written.getexif()[0x010F] == "maker"


def test_the_first_frame_of_an_animation_is_restored_and_that_is_said(model, capsys):
    frames = [Image.new("L", (37, 29), level) for level in (50, 200)]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="--image film.gif has several frames or pages; the first is used"):
        main(["--model", "run", "--image", "film.gif", "--severity", "5", "--device", "cpu"])
    found = capsys.readouterr()
    assert "restored/film-restored.png" in found.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--model run --image photo.png --severity 3 --sample-steps 4",
            "--sample-steps 4: --sampler direct has no steps; name a sampler or leave it out",
        ),
        ("--model run --image photo.png --severity 3.7", "--severity 3.7: input should be a valid integer"),
        ("--model run --image photo.png --severity 0", "severity is 0; the model knows severities 1..8"),
        ("--model run --image .", "--image . is not a picture that can be read"),
        ("--model run", "--image is missing; name a picture"),
        ("--model run --image nowhere.png --severity 3", "--image nowhere.png is not a picture that can be read"),
        ("--model run --image text.png --severity 3", "--image text.png is not a picture that can be read"),
        ("--model run --image photo.png --severity 9", "severity is 9; the model knows severities 1..8"),
        ("--model run --image photo.png --severity much", "--severity much"),
        (
            "--model run --image photo.png --severity 3 --mask mask.png",
            "--mask mask.png is 9 x 9 and the picture 37 x 29",
        ),
        ("--model empty --image photo.png --severity 3", "--model empty"),
        ("--model empty --image photo.png", "--model empty"),
        ("--model run --image photo.png --severity 3 --sampler euler", "--sampler euler"),
        ("--model run --image photo.png --severity 3 --sampler ddpm", "Gaussian noise"),
        ("--model run --image photo.png --severity 3 --tile 15", "tile_size is 15; it must be a multiple of 2"),
        ("--model run --image photo.png --severity 3 --out photo.png", "--out photo.png cannot be written"),
        ("--model run --image photo.png --data nowhere", "--data nowhere does not exist"),
        ("--model run --image photo.png --severity 3 --device abacus", "--device abacus"),
    ],
)
def test_bad_input_is_one_line(arguments, message, model, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    photo("RGB").save("photo.png")
    Image.new("L", (9, 9)).save("mask.png")
    monkeypatch.setattr(sys, "argv", ["restore_image.py", *arguments.split()])
    assert run_main(main, "restore_image") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "restored").exists()
