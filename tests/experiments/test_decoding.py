"""Pictures of every kind become images: cropped or padded, gray or in color, and broken ones are named."""

from __future__ import annotations

import re
import threading
import time
import warnings

import pytest
import torch
from PIL import Image

from experiments.data.decoding import ResizePolicy, decode
from tests.cases import seed
from tests.image_folders import every, load, numbered, pixels_of
from tests.photographs import photographs


def test_small_pictures_are_padded_with_black_and_large_ones_made_smaller(tmp_path):
    numbered(tmp_path / "set", 3, start=100)
    Image.new("L", (60, 30), 200).save(tmp_path / "set" / "large.png")
    images = decode(every(tmp_path / "set"), ResizePolicy(32, "pad"), "--data", "set")
    assert images.shape == (4, 1, 32, 32)
    one = images[(images == 101).flatten(1).any(1)][0, 0]
    assert (one[6:26, 6:26] == 101).all()
    assert int((one == 101).sum()) == 400
    assert int((one == 0).sum()) == 32 * 32 - 400
    wide = images[(images == 200).flatten(1).any(1)][0, 0]
    assert (wide[8:24] == 200).all()
    assert int((wide == 0).sum()) == 16 * 32


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "CMYK", "I;16", "I"])
def test_images_of_every_kind_become_rgb_or_gray(mode, tmp_path):
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
    for channels in (1, 3):
        (pixels,) = pixels_of(tmp_path / "set", ResizePolicy(32, channels=channels)).float()
        assert pixels.shape == (channels, 36, 36)
        # A gradient from black at the top to white at the bottom, whatever the mode.
        rows = pixels.mean((0, 2))
        assert rows[:6].mean() < 45
        assert rows[-6:].mean() > 210
        assert (pixels[0] - pixels[-1]).abs().max() < 12


def test_a_set_is_gray_if_every_picture_is(tmp_path):
    numbered(tmp_path / "set", 4)
    Image.new("RGB", (20, 20), (7, 7, 7)).save(tmp_path / "set" / "gray-in-color.png")
    assert load(tmp_path / "set").channels == 1
    assert not load(tmp_path / "set").training.flip  # digits are not mirrored
    assert load(tmp_path / "set", channels="3").channels == 3
    Image.new("RGB", (20, 20), (7, 8, 7)).save(tmp_path / "set" / "color.png")
    data = load(tmp_path / "set")
    assert (data.channels, data.training.flip, data.validation.flip) == (3, True, False)
    assert load("drawn", channels="1").training(2, seed(0)).shape == (2, 1, 16, 16)


def test_transparency_becomes_white(tmp_path):
    (tmp_path / "set").mkdir()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "set" / "x.png")
    assert pixels_of(tmp_path / "set", ResizePolicy(32)).min() == 255


def test_a_broken_image_is_named_skipped_and_counted(tmp_path, capsys):
    faces = photographs(tmp_path / "faces", n=4)
    whole = (faces / "1.png").read_bytes()
    (faces / "1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (15, 100)).save(faces / "2.png")
    entries = sorted(every(faces))
    assert len(decode(entries, ResizePolicy(16), "--data", "faces")) == 2
    said = capsys.readouterr().err
    assert re.search(r"skipped \S*faces/1.png: .*(truncated|broken)", said)
    assert "faces/2.png: it has 15 x 100 pixels, fewer than --size 16; --resize pad puts it in a black square" in said
    assert "skipped 2 of 4 images" in said


def test_decoding_leaves_the_filters_of_warnings_as_they_were():
    first_runs, second_runs = threading.Event(), threading.Event()

    class InTurn(list):
        """Entries of which the second begins while the first is read, and ends after it."""

        def __iter__(self):
            for i, entry in enumerate(super().__iter__()):
                if i:
                    assert first_runs.wait(60)
                yield entry

    def first():
        first_runs.set()
        assert second_runs.wait(60)
        return Image.new("L", (8, 8))

    def second():
        second_runs.set()
        time.sleep(0.2)
        return Image.new("L", (8, 8))

    before = list(warnings.filters)
    decode(InTurn([("first", first), ("second", second)]), ResizePolicy(8), "--data", "set")
    assert warnings.filters == before


def test_every_format_that_pillow_reads_is_read_and_others_are_named_and_counted(tmp_path, capsys):
    root = tmp_path / "set"
    suffixes = ("avif", "jfif", "jp2", "ppm", "tga", "qoi", "PNG", "tiff")
    root.mkdir()
    for i, suffix in enumerate(suffixes):
        Image.new("RGB", (20, 20), (30 * i,) * 3).save(root / f"{i}.{suffix}")
    for name in ("a.heic", "b.heic", "labels.csv", "LICENSE"):
        (root / name).write_text("?")
    numbered(root / ".thumbnails", 2)
    Image.new("L", (20, 20)).save(root / "._0.png")
    levels = sorted(decode(every(root), ResizePolicy(16), "--data", "set").flatten(1)[:, 0].tolist())
    assert all(abs(level - 30 * i) < 4 for i, level in enumerate(levels))
    assert len(levels) == len(suffixes)
    said = capsys.readouterr().err
    for line in (
        "left out 2 .heic files, which Pillow does not read here (such as a.heic)",
        "left out 1 .csv files, which Pillow does not read here (such as labels.csv)",
        "left out 1 files without a suffix, which Pillow does not read here (such as LICENSE)",
        "left out 2 hidden files or folders (such as ._0.png)",
    ):
        assert line in said


def test_the_first_frame_of_an_animation_is_used_and_that_is_said(tmp_path, capsys):
    numbered(tmp_path / "set", 2)
    frames = [Image.new("L", (20, 20), level) for level in (50, 200)]
    frames[0].save(tmp_path / "set" / "film.gif", save_all=True, append_images=frames[1:])
    images = decode(every(tmp_path / "set"), ResizePolicy(16), "--data", "set")
    assert sorted(images.flatten(1)[:, 0].tolist()) == [0, 1, 50]
    said = capsys.readouterr().err
    assert re.search(r"1 of 3 images of set have several frames or pages \(such as \S+film.gif\); the first", said)
