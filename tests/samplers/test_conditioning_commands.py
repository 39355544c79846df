"""The command that restores a picture whose degradation is named: what it writes, says and asks for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

import degrade
from restore import LinearInverse, TrainConfig, Trainer, save
from samplers.__main__ import main
from samplers.applications.restore_image import restore_image
from tests.photographs import photo
from tests.restorers import trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, a picture and a mask."""
    here = tmp_path_factory.mktemp("here")
    save(
        here / "noise",
        Trainer(trained(D=degrade.make("gaussian_noise", T=40)).train(), TrainConfig(steps=1, batch_size=2)),
    )
    save(
        here / "cold",
        Trainer(trained(D=degrade.make("blur", T=8, kernel_size=5)).train(), TrainConfig(steps=1, batch_size=2)),
    )
    photo("RGB").save(here / "photo.png")
    hole = np.zeros((29, 37), np.uint8)
    hole[4:12, 5:20] = 255
    Image.fromarray(hole).save(here / "hole.png")
    return here


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


DECOLOR = "--degradation decolor --degradation-args T=6 --severity 4"


def test_the_command_restores_any_degradation_with_a_noise_model_and_linearly(here, capsys):
    arguments = f"image photo.png --device cpu {DECOLOR}".split()
    assert main([*arguments, "--model", "noise", "--rule", "proximal:weight=2", "--sample-steps", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == ["severity 4 of 6, as given", "restored/photo-restored.png"]
    assert main([*arguments, "--model", "linear", "--noise", "0.01", "--out", "linear"]) == 0
    D = degrade.make("decolor", T=6)
    with Image.open("linear/photo-restored.png") as written:
        expected = restore_image(LinearInverse(D, 0.01), photo("RGB"), 4).image
        assert np.array_equal(np.asarray(written), np.asarray(expected))
    fill = "image photo.png --device cpu --model noise --mask hole.png --sample-steps 3 --out filled"
    assert main(fill.split()) == 0
    assert "missing pixels filled in by the rule proximal" in capsys.readouterr().out
    with Image.open("filled/photo-restored.png") as written:
        same = (np.asarray(written) == np.asarray(photo("RGB"))).all(2)
    with Image.open("hole.png") as hole:
        assert same[np.asarray(hole) == 0].all()


RESTORED = {
    "blur": "",
    "decolor": "",
    "inpaint": "--degradation-args center=[10,12] T=10",
    "jpeg": "",
    "mask_to_color": "--degradation-args color=[0.5,0,-0.5] T=10",
    "missing_pixels": "--mask hole.png",
    "motion_blur": "--degradation-args angle=30",
    "pixelate": "--degradation-args T=2",
}
ASKED = {
    "compose": ("", "of gaussian_noise, leave it out"),
    "gaussian_noise": ("", "leave it out, since a model of noise needs no degradation named"),
    "inpaint": ("--degradation-args center=random", "give its place, such as center=[20,30]"),
    "interpolation": ("", "give z, the partner image"),
    "mask_to_color": ("", "give its color, such as color=[0.5,0,-0.5]"),
    "missing_pixels": ("", "give a mask of what is missing (--mask"),
    "motion_blur": ("", "give its angle in degrees, such as angle=30"),
    "snow": ("", "take a model that was trained on snow"),
}


def test_every_degradation_of_the_package_is_restored_or_says_what_to_give(here, capsys):
    own = {name for name in degrade.names() if degrade.get(name).__module__.startswith("degrade.")}
    assert RESTORED.keys() | ASKED.keys() == own
    command = "image photo.png --model noise --device cpu --severity 2 --sample-steps 2 --degradation"
    for name, arguments in RESTORED.items():
        assert main([*command.split(), name, *arguments.split(), "--out", name]) == 0, capsys.readouterr().err
        assert (here / name / "photo-restored.png").exists()
    capsys.readouterr()
    for name, (arguments, message) in ASKED.items():
        assert main([*command.split(), name, *arguments.split()]) == 2, name
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{name} drew something in this picture (its z) that is not known: " in line
        assert message in line


def test_a_mask_alone_and_one_of_missing_pixels_are_the_same(here, capsys):
    command = "image photo.png --model noise --device cpu --sample-steps 3 --mask hole.png"
    for arguments in (command, f"{command} --degradation missing_pixels"):
        assert main(arguments.split()) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[::2] == ["missing pixels filled in by the rule proximal"] * 2
    one, other = (np.asarray(Image.open(file)) for file in said[1::2])
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model linear", "--model linear needs --degradation"),
        ("--model linear --degradation jpeg --severity 3", "--model linear: jpeg is not affine"),
        ("--model linear --degradation decolor --noise 0 --severity 3", "--model linear: noise is 0"),
        ("--model noise --degradation decolour --severity 3", "--degradation decolour: no degradation is called"),
        ("--model noise --degradation-args T=3", "--degradation-args is for --degradation"),
        ("--model noise --degradation decolor --degradation-args kernel=3 --severity 3", "kernel"),
        ("--model noise --degradation decolor --rule prox --severity 3", "--rule prox: no rule is called 'prox'"),
        ("--model noise --degradation decolor --noise 0 --severity 3", "noise is 0"),
        ("--model noise --degradation decolor", "severity is auto"),
        ("--model noise --degradation jpeg --severity 3 --rule projection", "use the rule 'proximal'"),
        ("--model linear --degradation motion_blur --severity 3", "give its angle in degrees, such as angle=30"),
        (
            "--model linear --degradation missing_pixels --mask hole.png",
            "--model linear fills in nothing",
        ),
        ("--model noise --degradation decolor --mask hole.png", "mask and degradation 'decolor' are both given"),
        (f"--model cold {DECOLOR}", "needs a restorer of Gaussian noise"),
    ],
)
def test_bad_input_is_one_line_of_the_command(arguments, message, here, capsys):
    assert main(["image", "photo.png", *arguments.split(), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
