"""Clean pictures in a folder, as a model takes them: scaled squares, or windows at the pictures' own resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
from degrade.command_line import UsageError
from restore import Restorer, UNet, UNetConfig
from samplers.commands.clean_pictures import clean_pictures, windows_of


@pytest.fixture
def folder(tmp_path):
    """Two pictures whose red tells the column and whose green tells the picture; the third is too small for windows."""
    for i, (width, height) in enumerate([(40, 24), (24, 16), (7, 7)]):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = np.arange(width), 100 * i
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "note.png").write_text("no picture")
    return tmp_path


def columns(x):
    return ((x[0, 0] + 1) * 127.5).round().int().tolist()


def test_windows_are_pixels_of_the_pictures_as_they_are_and_of_each_picture_as_many(folder):
    found = windows_of(folder, 8, 8)
    assert [int((x[1, 0, 0] + 1) * 127.5 + 0.5) // 100 for x in found] == [0, 0, 1, 1]
    for x in found:
        first = columns(x)[0]
        assert columns(x) == list(range(first, first + 8))
        assert first % 8 == 0
    assert len({tuple(columns(x)) for x in found[:2]}) == 2
    assert len(windows_of(folder, 8, 1)) == 1
    # More windows are asked for than there are: each comes once.
    assert len(windows_of(folder, 8, 1000)) == 15 + 6


def model(own_resolution):
    config = UNetConfig(image_size=8, model_channels=8, channel_mult=(1,), norm_groups=4, attention_resolutions=())
    R = Restorer(UNet(config), degrade.make("blur", T=2))
    R.own_resolution = own_resolution
    return R


def test_a_model_of_windows_is_given_windows_and_one_of_scaled_pictures_squares(folder):
    windows, squares = (clean_pictures(model(own), str(folder), 3) for own in (True, False))
    assert torch.equal(windows, torch.stack(windows_of(folder, 8, 3)))
    assert squares.shape == (3, 3, 8, 8)
    # The middle 24 columns of the first picture in 8 pixels: steps of 3.
    assert columns(squares[0])[3:5] == pytest.approx([18, 21], abs=1)
    assert clean_pictures(model(True), None, 3) is None


def test_a_folder_without_pictures_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds 0 pictures; name a folder with two or more"):
        clean_pictures(model(True), str(tmp_path / "empty"), 3)
