"""The degradations that wrap a library's operator: JPEG and motion blur through kornia."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
import torch
from PIL import Image

import degrade
from degrade.demo_image import demo_image
from degrade.image_io import load_image, to_pil_image
from tests.cases import images


def test_kornia_is_not_imported_before_it_is_needed():
    code = "import sys, degrade, degrade.__main__; degrade.names(); assert 'kornia' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "module"), [("jpeg", "kornia.enhance"), ("motion_blur", "kornia.filters")])
def test_without_kornia_the_extra_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name} needs kornia: pip install 'degrade-restore\[experiments\]'"):
        degrade.make(name)


@pytest.mark.parametrize("quality", [75, 30, 10])
def test_jpeg_is_near_the_codec_of_pillow(quality):
    x0 = demo_image(64)
    file = io.BytesIO()
    to_pil_image(x0).save(file, "JPEG", quality=quality)
    D = degrade.make("jpeg", T=1, end_quality=quality)
    ours, theirs = D(x0[None], torch.tensor([1]))[0], load_image(file, 64)
    assert (ours - theirs).abs().mean() < 0.25 * (theirs - x0).abs().mean() + 0.004


def test_jpeg_error_grows_with_t():
    D, x0 = degrade.make("jpeg", T=12), demo_image(48)
    error = (D(x0.expand(13, -1, -1, -1), torch.arange(13)) - x0).abs().mean((1, 2, 3))
    assert error[0] == 0
    assert (error[1:] > error[:-1]).all()


def test_jpeg_takes_gray_images_and_refuses_other_channels():
    D, gray, t = degrade.make("jpeg", T=4), images(2, 1, 16, 16), torch.tensor([2, 4])
    torch.testing.assert_close(D(gray, t), D(gray.expand(-1, 3, -1, -1), t)[:, :1], rtol=0, atol=0)
    with pytest.raises(ValueError, match="2 channels; JPEG codes 1 or 3"):
        D(images(2, 2, 16, 16), t)


def test_motion_blur_is_a_box_along_the_line():
    D, x0 = degrade.make("motion_blur", T=4, kernel_size=5), images(2, 3, 9, 11)
    x_T = D(x0, torch.tensor([4, 4]), torch.tensor([0.0, 90.0], dtype=torch.float64))
    across = x0[0].unfold(2, 5, 1).mean(-1)
    down = x0[1].unfold(1, 5, 1).mean(-1)
    torch.testing.assert_close(x_T[0, :, :, 2:-2], across, rtol=0, atol=1e-12)
    torch.testing.assert_close(x_T[1, :, 2:-2], down, rtol=0, atol=1e-12)


def test_motion_blur_keeps_a_constant_and_spreads_a_point_further_at_every_level():
    D, t = degrade.make("motion_blur", T=20, kernel_size=11), torch.arange(21)
    z = D.draw(torch.zeros(21, 1, 1, 1), torch.Generator().manual_seed(0))[:1].expand(21)
    torch.testing.assert_close(D(torch.full((21, 1, 12, 12), 0.3), t, z), torch.full((21, 1, 12, 12), 0.3))
    point = torch.zeros(21, 1, 23, 23)
    point[:, :, 11, 11] = 1
    peak = D(point, t, z)[:, 0, 11, 11]
    assert peak[0] == 1
    assert (peak[1:] < peak[:-1]).all()


def test_motion_blur_draws_an_angle_per_image():
    D, x0 = degrade.make("motion_blur", T=1), torch.zeros(500, 1, 1, 1, dtype=torch.bfloat16)
    angles = D.draw(x0, torch.Generator().manual_seed(0))
    assert angles.dtype == torch.float32
    assert angles.unique().numel() > 450
    assert 0 <= angles.min() < 10 < 350 < angles.max() < 360


@pytest.mark.parametrize(
    ("length", "shape", "z", "message"),
    [
        (4, (2, 1, 16, 16), torch.zeros(2), "kernel_size = 4 is even"),
        (1, (2, 1, 16, 16), torch.zeros(2), "kernel_size = 1: .* greater than or equal to 3"),
        (15, (2, 1, 16, 7), torch.zeros(2), "sides of more than 7"),
        (5, (2, 1, 16, 16), None, r"z is None; it needs a tensor of shape \(2,\)"),
        (5, (2, 1, 16, 16), torch.zeros(3), r"z is \(3,\); it needs a tensor of shape \(2,\)"),
    ],
)
def test_motion_blur_names_what_is_wrong(length, shape, z, message):
    with pytest.raises(ValueError, match=message):
        degrade.make("motion_blur", kernel_size=length)(torch.zeros(shape), torch.tensor([1, 1]), z)


def test_photographs_are_cropped_square_and_turned_upright(tmp_path):
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (10, 0, 30, 20))
    wide.save(tmp_path / "wide.png")
    assert load_image(tmp_path / "wide.png", 8)[:, 4, 4].tolist() == [-1, -1, 1]
    tilted, exif = Image.new("RGB", (16, 16), "black"), Image.Exif()
    tilted.paste("white", (0, 0, 8, 16))
    exif[0x0112] = 6  # the camera was turned: left is up
    tilted.save(tmp_path / "tilted.png", exif=exif)
    upright = load_image(tmp_path / "tilted.png", 16)
    assert upright[0, 2].eq(1).all()
    assert upright[0, -2].eq(-1).all()
