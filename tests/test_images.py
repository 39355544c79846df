"""Sets of photographs: read once whatever their kind, held out, cropped, mirrored."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image

from experiments.images import load_images
from tests.photographs import photographs

CPU = torch.device("cpu")


def test_one_image_in_eight_is_held_out_of_training(tmp_path):
    images = load_images(photographs(tmp_path / "faces", n=17), 16, CPU, "--celeba")
    training, unseen = images.split(0)
    assert (len(training), len(unseen)) == (15, 2)
    together = torch.cat([training.images, unseen.images]).flatten(1)
    assert torch.equal(together.unique(dim=0), images.images.flatten(1).unique(dim=0))
    assert len(together.unique(dim=0)) == 17


def test_augmentation_is_a_random_window_mirrored_half_the_time(tmp_path):
    images = load_images(photographs(tmp_path / "faces", n=1, size=100), 50, CPU, "--celeba")
    (whole,) = images.images.float() / 127.5 - 1
    assert whole.shape == (3, 56, 56)
    windows = {}
    for window in images(300, torch.Generator().manual_seed(0)):
        for mirrored, candidate in ((False, window), (True, window.flip(-1))):
            for top in range(7):
                for left in range(7):
                    if torch.equal(candidate, whole[:, top : top + 50, left : left + 50]):
                        windows[mirrored, top, left] = windows.get((mirrored, top, left), 0) + 1
    assert sum(windows.values()) == 300
    assert len(windows) > 80  # of 98
    assert 110 < sum(n for (mirrored, *_), n in windows.items() if mirrored) < 190


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "CMYK", "I;16", "I"])
def test_images_of_every_kind_become_rgb(mode, tmp_path):
    (tmp_path / "set").mkdir()
    gradient = Image.linear_gradient("L").resize((64, 64))
    if mode in ("I;16", "I"):
        picture = Image.fromarray((torch.arange(256).view(-1, 1).expand(256, 256) * 257).to(torch.uint16).numpy())
        picture = picture.resize((64, 64)) if mode == "I;16" else picture.convert("I").resize((64, 64))
    elif mode == "RGBA":
        picture = Image.merge("RGBA", [gradient] * 3 + [Image.new("L", (64, 64), 255)])
    else:
        picture = gradient.convert(mode)
    picture.save(tmp_path / "set" / ("x.tif" if mode in ("CMYK", "I") else "x.png"))
    (pixels,) = load_images(tmp_path / "set", 32, CPU, "--celeba").images.float()
    assert pixels.shape == (3, 36, 36)
    # A gradient from black at the top to white at the bottom, whatever the mode.
    rows = pixels.mean((0, 2))
    assert rows[:6].mean() < 45
    assert rows[-6:].mean() > 210
    assert (pixels[0] - pixels[1]).abs().max() < 12


def test_transparency_becomes_white(tmp_path):
    (tmp_path / "set").mkdir()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "set" / "x.png")
    assert load_images(tmp_path / "set", 32, CPU, "--celeba").images.min() == 255


def test_a_broken_image_is_named_skipped_and_counted(tmp_path, capsys):
    faces = photographs(tmp_path / "faces", n=3)
    whole = (faces / "1.png").read_bytes()
    (faces / "1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (15, 100)).save(faces / "2.png")
    assert len(load_images(faces, 16, CPU, "--celeba")) == 1
    said = capsys.readouterr().err
    assert re.search(r"skipped \S*faces/1.png: .*(truncated|broken)", said)
    assert "faces/2.png: it has 15 x 100 pixels, fewer than --size 16" in said
    assert "skipped 2 of 3 images" in said
