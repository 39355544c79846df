"""JPEG against the codec of Pillow."""

from __future__ import annotations

import io

import pytest
import torch

import degrade
from degrade.demo_image import demo_image
from degrade.image_io import load_image, to_pil_image
from tests.cases import images


@pytest.mark.parametrize("quality", [75, 30, 10])
def test_it_is_near_the_codec_of_pillow(quality):
    x0 = demo_image(64)
    file = io.BytesIO()
    to_pil_image(x0).save(file, "JPEG", quality=quality)
    D = degrade.make("jpeg", T=1, end_quality=quality)
    ours, theirs = D(x0[None], torch.tensor([1]))[0], load_image(file, 64)
    assert (ours - theirs).abs().mean() < 0.25 * (theirs - x0).abs().mean() + 0.004


def test_its_error_grows_with_t():
    D, x0 = degrade.make("jpeg", T=12), demo_image(48)
    error = (D(x0.expand(13, -1, -1, -1), torch.arange(13)) - x0).abs().mean((1, 2, 3))
    assert error[0] == 0
    assert (error[1:] > error[:-1]).all()


def test_it_takes_gray_images_and_refuses_other_channels():
    D, gray, t = degrade.make("jpeg", T=4), images(2, 1, 16, 16), torch.tensor([2, 4])
    torch.testing.assert_close(D(gray, t), D(gray.expand(-1, 3, -1, -1), t)[:, :1], rtol=0, atol=0)
    with pytest.raises(ValueError, match="2 channels; JPEG codes 1 or 3"):
        D(images(2, 2, 16, 16), t)
