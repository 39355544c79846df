"""Pictures of every kind: read, restored, and returned in the kind, mode and precision given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import degrade
from samplers.applications.restore_image import RestoreOptions, restore_image
from tests.photographs import photo
from tests.restorers import BLUR, NOISE, restorer, trained

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_comes_back_as_it_was(mode):
    picture = photo(mode)
    restored = restore_image(restorer(BLUR), picture, 3).image
    kept = {"1": "L", "P": "RGB", "CMYK": "RGB", "I": "I;16"}.get(mode, mode)
    assert (restored.mode, restored.size) == (kept, picture.size)
    expected = picture if mode in ("I;16", "I") else picture.convert(kept)
    assert np.array_equal(np.asarray(restored).astype(np.int64), np.asarray(expected).astype(np.int64))


def test_what_is_changed_is_the_picture_and_not_its_transparency():
    def darken(x, t):
        return x - 0.2

    for mode, band in (("LA", 1), ("RGBA", 3)):
        picture = photo(mode)
        restored = restore_image(restorer(BLUR, darken), picture, 3).image
        assert np.array_equal(np.asarray(restored)[..., band], np.asarray(picture)[..., band])
        change = np.asarray(restored)[..., 0].astype(float) - np.asarray(picture)[..., 0]
        assert (change <= 0).all()
        assert np.median(change) in (-25, -26)
    deep = photo("I;16")
    change = np.asarray(restore_image(restorer(BLUR, darken), deep, 3).image).astype(float) - np.asarray(deep)
    assert np.median(change) == pytest.approx(-0.2 * 32767.5, abs=1)


def as_bytes(x):
    return ((x + 1) * 127.5).round().to(torch.uint8)


@pytest.mark.parametrize("step", [None, "algorithm2"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (3, 20, 30), (2, 3, 20, 30), (2, 1, 20, 30), (3, 45, 1)])
def test_every_tensor_that_can_be_a_picture_is_one(shape, dtype, step):
    """By a network of another precision, with what the same numbers give in float32."""
    values = as_bytes(torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    given = values if dtype == torch.uint8 else (values.double() / 127.5 - 1).to(dtype)
    plain = (values.double() / 127.5 - 1).to(torch.float32 if dtype == torch.uint8 else dtype).float()
    R = trained(D=degrade.make("decolor", T=8))
    restored = restore_image(R, given, 3, step, RestoreOptions(2 if step else None)).image
    assert (restored.shape, restored.dtype) == (given.shape, given.dtype)
    each = plain.view(-1, *plain.shape[-3:]) if plain.ndim > 2 else plain[None, None]
    for one, got in zip(each, restored.view(each.shape)):
        expected = restore_image(R, one, 3, step, RestoreOptions(2 if step else None)).image
        expected = as_bytes(expected).int() if dtype == torch.uint8 else expected
        at_most = {torch.uint8: 1, torch.float16: 1e-3, torch.bfloat16: 8e-3}.get(dtype, 1e-5)
        assert (got.to(expected) - expected).abs().max() <= at_most


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_any_precision_restores_a_picture(dtype):
    R = trained(D=NOISE)
    x = torch.rand(3, 20, 30) * 2 - 1
    expected = restore_image(R, x, 3, "algorithm2", RestoreOptions(2)).image
    restored = restore_image(R.to(dtype), x, 3, "algorithm2", RestoreOptions(2)).image
    assert restored.dtype == torch.float32
    assert torch.allclose(restored, expected, atol=0.05)


def test_a_path_and_an_array_are_pictures_too(tmp_path):
    R, picture = trained(), photo("RGB")
    picture.save(tmp_path / "photo.png")
    expected = np.asarray(restore_image(R, picture, 3).image)
    for path in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        assert np.array_equal(np.asarray(restore_image(R, path, 3).image), expected)
    array = np.asarray(picture)
    restored = restore_image(R, array, 3).image
    assert restored.dtype == np.uint8
    assert np.abs(restored.astype(int) - expected).max() <= 1
    for dtype in (np.float16, np.float32, np.float64):
        scaled = (array / 127.5 - 1).astype(dtype)
        restored = restore_image(R, scaled[:, ::-1][:, ::-1], 3).image
        assert (restored.dtype, restored.shape) == (np.dtype(dtype), array.shape)
        assert np.abs((restored.astype(float) + 1) * 127.5 - expected).max() <= 1.2
    gray = restore_image(R, np.asarray(picture.convert("L")), 3).image
    assert gray.shape == (picture.height, picture.width)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(4), r"image has the shape \(4,\); it needs \(H, W\), \(C, H, W\) or"),
        (torch.zeros(3, 0, 4), "none of them 0"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "image is torch.int64; it needs uint8 in 0..255 or"),
        (torch.arange(48.0).view(3, 4, 4) * 5, "image spans 0..235; floating point lies in"),
        (torch.full((3, 4, 4), float("nan")), "not finite"),
        (torch.full((3, 4, 4), float("inf")), "not finite"),
        (np.zeros((4, 4), np.uint16), "image is uint16; it needs uint8"),
        (np.zeros((2, 3, 4, 4), np.float32), r"it needs \(H, W\) or \(H, W, C\)"),
        (np.zeros((3, 4, 5), np.float32), "the picture has 5; give it 1 or 3"),
        ([[0.0]], "image is of type list; give a path, a Pillow image, a tensor or a numpy array"),
        ("nowhere.png", "nowhere.png is not a picture that can be read"),
    ],
)
def test_what_is_no_picture_is_named(image, message):
    with pytest.raises(ValueError, match=message) as caught:
        restore_image(trained(), image, 3)
    assert "\n" not in str(caught.value)
