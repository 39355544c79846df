"""What cannot work is refused where it was chosen: one ValueError with the value, what is needed and the fix."""

from __future__ import annotations

import re

import pytest
import torch

import degrade
from tests.cases import images


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("blur", {"T": 0}, "T = 0: input should be greater than or equal to 1"),
        ("blur", {"T": 2.5}, "T = 2.5: input should be a valid integer"),
        ("blur", {"kernel_size": 10}, "kernel_size = 10: a kernel has a middle, so its size must be odd"),
        ("blur", {"kernel_size": -1}, "kernel_size = -1: input should be greater than or equal to 1"),
        (
            "blur",
            {"sigmas": "constant:sigma=-1"},
            "sigmas = 'constant:sigma=-1': constant: sigma = -1: input should be greater",
        ),
        ("blur", {"T": 2, "sigmas": [1.0, -1.0]}, "-1.0: input should be greater than 0"),
        ("blur", {"T": 3, "sigmas": [1.0, 1.0]}, "sigmas lists 2 values; T = 3 needs 3"),
        ("blur", {"T": 3, "cumulative_sigma": [1.0]}, "cumulative_sigma lists 1 values; T = 3 needs 3"),
        ("blur", {"T": 2, "cumulative_sigma": [2.0, 1.0]}, "cumulative_sigma falls"),
        (
            "blur",
            {"cumulative_sigma": {"name": "geometric", "arguments": {"sigma_min": 3, "sigma_max": 1}}},
            "sigma_min = 3.0 is more than sigma_max = 1.0",
        ),
        (
            "blur",
            {"sigmas": "sideways"},
            "no width rule is called 'sideways': choose from cifar10, constant, ",
        ),
        ("blur", {"sigmas": "constant"}, "constant: sigma has no default: give it, sigma=..."),
        (
            "blur",
            {"sigmas": {"name": "exponential", "arguments": {"rate": 0}}},
            "exponential: rate = 0: input ",
        ),
        ("blur", {"sigmas": 2.0}, "sigmas = 2.0: 2.0 is no width rule: give one, its name, or"),
        ("blur", {"padding_mode": "zero"}, "'circular', 'reflect' or 'symmetric'"),
        ("blur", {"kernel": 3}, "kernel = 3: unexpected keyword argument"),
        ("inpaint", {"sigmas": "incremental:step=0.0"}, "step = 0.0: input should be greater than 0"),
        ("inpaint", {"sigmas": "incremental:step=1,offset=0"}, "offset = 0: input should be greater than 0"),
        ("inpaint", {"T": 3, "sigmas": [1.0]}, "sigmas lists 1 values; T = 3 needs 3"),
        ("inpaint", {"center": "left"}, "'middle' or 'random'"),
        ("missing_pixels", {"share_at_T": 0}, "share_at_T = 0: input should be greater than 0"),
        ("missing_pixels", {"share_at_T": 1.5}, "share_at_T = 1.5: input should be less than or equal to 1"),
        ("mask_to_color", {"color": [0.0, 2.0, 0.0]}, "2.0: input should be less than or equal to 1"),
        ("pixelate", {"filter": "nearest"}, "'bicubic', 'bilinear' or 'area'"),
        ("pixelate", {"T": 2, "sizes": [0.5, 1.5]}, "1.5: input should be less than or equal to 1"),
        ("pixelate", {"T": 2, "sizes": [0.5]}, "sizes lists 1 values; T = 2 needs 2"),
        ("snow", {"strength": 5}, "strength = 5: input should be 1, 2, 3 or 4"),
        ("decolor", {"factor": 1.5}, "factor = 1.5: input should be less than or equal to 1"),
        ("decolor", {"T": 3, "saturation": [0.5]}, "saturation lists 1 values; T = 3 needs 3"),
        ("decolor", {"weights": "red"}, "'mean' or 'luma'"),
    ],
    ids=str,
)
def test_refused_when_built(name, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        degrade.make(name, **arguments)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "message"),
    [
        ("blur", {"kernel_size": 15}, (3, 12, 7), "x0 is 12 x 7; reflected borders of a kernel of 15 need more than 7"),
        ("blur", {"kernel_size": 15}, (3, 12, 7), "take kernel_size <= 13 or another padding_mode"),
        ("pixelate", {"T": 3}, (3, 12, 16), "x0 is 12 x 16, which 2^3 does not divide: resize x0, take T <= 2"),
        ("pixelate", {"T": 5}, (3, 16, 16), "x0 is 16 x 16, too small to halve for T = 5 levels: take T <= 4"),
        ("pixelate", {"T": 5, "allow_uneven": True}, (3, 28, 28), "x0 is 28 x 28, too small to halve for T = 5"),
        (
            "pixelate",
            {"T": 13, "sizes": "decrement"},
            (3, 12, 16),
            "too small to decrement for T = 13 levels: take T <= 12",
        ),
        ("pixelate", {}, (3, 40, 1), "x0 is 40 x 1, too small to halve for T = 4 levels: resize x0"),
        ("pixelate", {}, (3, 33, 48), "x0 is 33 x 48, which 2^4 does not divide: resize x0 or allow_uneven=True"),
        ("snow", {}, (2, 12, 16), "x0 has 2 channels; brightness is that of 1 or 3: fix_brightness=True"),
        ("mask_to_color", {"color": [0.5]}, (3, 12, 16), "x0 has 3 channels and color 1: give it 3 numbers"),
        ("decolor", {"weights": "luma"}, (1, 12, 16), "x0 has 1 channels; luma weighs 3: take weights='mean'"),
    ],
    ids=str,
)
def test_refused_when_the_image_is_seen(name, arguments, shape, message):
    D, x0 = degrade.make(name, **arguments), images(2, *shape)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        D(x0, torch.tensor([1, 1]), D.draw(x0))
    assert str(caught.value).startswith(f"{name}: ")


RANDOM = [
    ("inpaint", {"center": "random"}, "a tuple of tensors ((2,), (2,))"),
    ("missing_pixels", {}, "a tensor of shape (2, 1, 12, 16)"),
    ("mask_to_color", {}, "a tensor of shape (2, 3)"),
    ("snow", {}, "a tuple of tensors ((2, 12, 16), (2,))"),
    ("gaussian_noise", {}, "a tensor of shape (2, 3, 12, 16)"),
]


@pytest.mark.parametrize(("name", "arguments", "needed"), RANDOM, ids=str)
def test_z_is_missing_or_of_another_batch(name, arguments, needed):
    D, x0 = degrade.make(name, **arguments), images(2, 3, 12, 16)
    t = torch.tensor([1, 1])
    for z in (None, D.draw(images(3, 3, 12, 16)), torch.zeros(7), (torch.zeros(2), None)):
        for call in (lambda z: D(x0, t, z), lambda z: D.delta(x0, t, t, z)):
            with pytest.raises(ValueError, match=re.escape(needed)) as caught:
                call(z)
            assert "use z = D.draw(x0)" in str(caught.value)


def test_a_list_is_no_z():
    """JSON has lists only, but a z that was read from JSON has lost its tensors too."""
    D, x0 = degrade.make("snow"), images(2, 3, 12, 16)
    with pytest.raises(ValueError, match=re.escape("z is a list; it needs a tuple of tensors ((2, 12, 16), (2,))")):
        D(x0, torch.tensor([1, 1]), list(D.draw(x0)))


def test_partners_in_whole_numbers_are_refused():
    """Eight-bit pictures would make z span 0..255."""
    D = degrade.make("interpolation", source=lambda n, generator: torch.zeros(n, 3, 4, 4, dtype=torch.uint8))
    for generator in (None, torch.Generator(), [torch.Generator(), torch.Generator()]):
        with pytest.raises(ValueError, match=r"a source gave torch.uint8 images; .*: x.float\(\) / 127.5 - 1"):
            D.draw(images(2, 3, 4, 4), generator)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (torch.tensor([0, 21]), "t spans 0..21; severities lie in 0..20"),
        (torch.tensor([-1, 0]), "t spans -1..0; severities lie in 0..20"),
        (torch.tensor([1.0, 2.0]), "t is torch.float32 (2,); it needs int64 of shape (2,)"),
        (torch.tensor([1, 2, 3]), "t is torch.int64 (3,); it needs int64 of shape (2,)"),
        (torch.tensor(1), "t is torch.int64 (); it needs int64 of shape (2,)"),
        (3, "t is 3; it needs int64 of shape (2,)"),
        (torch.zeros(2, dtype=torch.int64, device="meta"), "t is on meta and x0 on cpu; move t: t.to(x0.device)"),
    ],
    ids=str,
)
def test_severities(t, message):
    D, x0 = degrade.make("decolor"), images(2, 3, 4, 4)
    for call in (
        lambda: D(x0, t),
        lambda: D.delta(x0, t, torch.tensor([0, 0])),
        lambda: D.delta(x0, torch.tensor([1, 1]), t),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("x0", [torch.zeros(3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)], ids=str)
def test_images(x0):
    with pytest.raises(ValueError, match=re.escape("it needs floating point (B, C, H, W)")):
        degrade.make("decolor")(x0, torch.zeros(len(x0), dtype=torch.int64))
