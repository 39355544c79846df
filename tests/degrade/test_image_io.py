"""Pictures keep what makes them pictures: their color profile, their metadata, which side is up, their unit."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from degrade.image_io import load_image, open_image, pil_to_tensor, to_pil_like
from tests.photographs import photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def written(picture, kind, **how):
    file = io.BytesIO()
    picture.save(file, kind, **how)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_profile_and_metadata_are_kept(kind):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    picture = open_image(written(photo("RGB"), kind, icc_profile=PROFILE, exif=exif))
    again = to_pil_like(picture, pil_to_tensor(picture))
    assert again.info["icc_profile"] == PROFILE
    if kind != "tiff":
        assert Image.open(written(again, "png", exif=again.info["exif"])).getexif()[0x010F] == "maker"


def test_a_rotated_photograph_is_upright_through_every_door():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = written(photo("RGB", (40, 30)), "png", exif=exif)
    upright = open_image(file)
    file.seek(0)
    raw = Image.open(file)
    assert (upright.size, raw.size) == ((30, 40), (40, 30))
    assert torch.equal(pil_to_tensor(raw), pil_to_tensor(upright))
    back = to_pil_like(raw, pil_to_tensor(raw))
    assert back.size == (30, 40)
    assert back.getexif().get(0x0112, 1) == 1
    assert np.array_equal(np.asarray(back), np.asarray(upright))


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floating_point_pictures_have_the_white_that_fits(white, tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    Image.fromarray(values * white).save(tmp_path / "a.tiff")
    x = pil_to_tensor(open_image(tmp_path / "a.tiff"))
    np.testing.assert_allclose(x[0].numpy(), 2 * values - 1, atol=1e-6)


@pytest.mark.parametrize("values", [[-0.5, 1.0], [0.0, 1e5], [0.0, float("nan")], [0.0, float("inf")]], ids=str)
def test_floating_point_pictures_in_another_unit_are_refused(values):
    with pytest.raises(ValueError, match=r"values span .*scale them to 0..1, 0..255 or 0..65535"):
        pil_to_tensor(Image.fromarray(np.array([values], dtype=np.float32)))


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
