"""JPEG against the codec of Pillow."""

from __future__ import annotations

import io
import math

import pytest
import torch

import degrade
from degrade.demo_image import demo_image
from degrade.functional.jpeg_codec import LUMA_STEPS
from degrade.image_io import load_image, to_pil_image
from tests.cases import images


@pytest.mark.parametrize("quality", [75, 30, 10])
def test_it_is_near_the_codec_of_pillow(quality):
    x0 = demo_image(64)
    file = io.BytesIO()
    to_pil_image(x0).save(file, "JPEG", quality=quality)
    D = degrade.make("jpeg", T=1, end_quality=quality)
    ours, theirs = D(x0[None], torch.tensor([1]))[0], load_image(file, 64)
    assert (ours - theirs).abs().mean() < 0.15 * (theirs - x0).abs().mean() + 0.004


def test_a_block_is_coded_as_the_standard_defines_it():
    """Gray blocks in values 0..255, by sums over pixels and frequencies, with the derivable rounding."""
    D, x0 = degrade.make("jpeg", T=1, end_quality=20), images(1, 1, 16, 24)
    values, expected = (x0[0, 0] + 1) * 127.5, torch.empty(16, 24, dtype=torch.float64)
    scale = [8**-0.5] + [0.5] * 7
    waves = torch.tensor(
        [[scale[k] * math.cos((2 * n + 1) * k * math.pi / 16) for n in range(8)] for k in range(8)], dtype=torch.float64
    )
    for top in (0, 8):
        for left in (0, 8, 16):
            block = torch.zeros(8, 8, dtype=torch.float64)
            for k in range(8):
                for m in range(8):
                    wave = torch.outer(waves[k], waves[m])
                    step = min(255, math.floor(LUMA_STEPS[k][m] * 50 / 20 + 0.5))
                    v = float(((values[top : top + 8, left : left + 8] - 128) * wave).sum()) / step
                    block += (round(v) + (v - round(v)) ** 3) * step * wave
            expected[top : top + 8, left : left + 8] = (block + 128) / 127.5 - 1
    found = D(x0, torch.tensor([1]))[0, 0]
    torch.testing.assert_close(found, expected.clamp(-1, 1), rtol=0, atol=1e-12)


def test_colors_of_the_least_loss_come_back():
    """At quality 99 the steps are 1 of 255; a smooth image loses no more than rounding, a constant color still less."""
    D, x0 = degrade.make("jpeg", T=1, start_quality=99, end_quality=99), demo_image(64).double()[None]
    smooth = torch.nn.functional.avg_pool2d(x0, 9, 1, 4, count_include_pad=False)
    assert (D(smooth, torch.tensor([1])) - smooth).abs().mean() < 2 / 255
    for color in ((1.0, -1.0, -1.0), (-1.0, 1.0, 0.5), (-0.3, 0.2, 0.9)):
        plain = torch.tensor(color, dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 32, 32)
        assert (D(plain, torch.tensor([1])) - plain).abs().max() < 1 / 255


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
