"""Pictures that are already degraded: of any size and mode, restored as the network would, and written as they came."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
import samplers.image
from degrade import full
from degrade.picture import like, pixels
from experiments.drawn import DrawnFaces
from restore import Restorer, UNet, UNetConfig
from samplers import Algorithm1, Algorithm2
from samplers.image import restore_image
from samplers.registry import parse_step
from samplers.reverse import direct
from tests.photographs import photo

FACE = DrawnFaces(32)(1, torch.Generator().manual_seed(5))
BLUR = degrade.make("blur", T=8, total_sigma="geometric", boundary="symmetric")
NOISE = degrade.make("gaussian_noise", T=50)
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"]


class Says(torch.nn.Module):
    """A network that is a formula."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x, t):
        return self.formula(x, t)


def restorer(D, formula=lambda x, t: x):
    return Restorer(Says(formula), D)


def trained(channels=3, D=BLUR, seed=0):
    torch.manual_seed(seed)
    net = UNet(UNetConfig(size=16, channels=channels, width=8, multipliers=(1, 2), attention=(), groups=4))
    torch.nn.init.normal_(net.leave.weight, std=0.1)
    return Restorer(net, D).eval()


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


@pytest.mark.parametrize("size", [(16, 24), (31, 17), (1, 1), (128, 5)])
def test_it_is_what_the_network_says(size):
    R, x = trained(), torch.rand(3, *size) * 2 - 1
    padded = samplers.image.mirrored(x[None], -size[0] % 2, -size[1] % 2)
    expected = direct(R, padded, 5)[0, :, : size[0], : size[1]].clamp(-1, 1)
    assert torch.equal(restore_image(R, x, 5).image, expected)
    picture = like(Image.new("RGB", size[::-1]), x)
    expected = like(
        picture,
        direct(R, samplers.image.mirrored(pixels(picture)[None], -size[0] % 2, -size[1] % 2), 5)[
            0, :, : size[0], : size[1]
        ],
    )
    assert np.array_equal(np.asarray(restore_image(R, picture, 5).image), np.asarray(expected))


def test_gray_pictures_and_networks_for_color_and_the_other_way_round():
    color, gray = trained(3), trained(1)
    x = torch.rand(3, 16, 16) * 2 - 1
    by_channel = torch.cat([direct(gray, x[None, c : c + 1], 5)[0] for c in range(3)]).clamp(-1, 1)
    assert torch.allclose(restore_image(gray, x, 5).image, by_channel, atol=1e-6)
    mean = direct(color, x[:1].expand(3, -1, -1)[None], 5)[0].clamp(-1, 1).mean(0, keepdim=True)
    assert torch.allclose(restore_image(color, x[:1], 5).image, mean, atol=1e-6)
    with pytest.raises(ValueError, match="takes 3 channels and the picture has 2"):
        restore_image(color, x[:2], 5)


@pytest.mark.parametrize("sampler", ["algorithm1", "algorithm2", "algorithm2-fixed"])
@pytest.mark.parametrize("D", [BLUR, NOISE, degrade.make("inpaint", T=8), degrade.make("pixelate", T=4)])
def test_a_walk_with_an_oracle_arrives_at_the_truth(D, sampler):
    t, x0 = D.T // 2, FACE
    x = D(x0, full(t, x0), D.draw(x0, torch.Generator().manual_seed(0)))[0]
    R = restorer(D, lambda x, t: x0.expand_as(x))
    for steps in (None, 2, 1000):
        assert torch.allclose(restore_image(R, x, t, parse_step(sampler), steps).image, x0[0], atol=1e-4)


def test_a_walk_over_a_large_picture_goes_piece_by_piece(monkeypatch):
    R, x = restorer(NOISE, lambda x, t: 0.5 * x), torch.rand(3, 75, 100) * 2 - 1
    whole = restore_image(R, x, 30, Algorithm1(), 5).image
    monkeypatch.setattr(samplers.image, "PIECE", 32)
    assert torch.equal(restore_image(R, x, 30, Algorithm1(), 5).image, whole)


def test_a_walk_whose_tables_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="4000 x 3000 are too large: go direct"):
        restore_image(restorer(degrade.make("inpaint")), torch.zeros(1, 3000, 4000), 50, Algorithm2(), 2)


def test_sides_that_pixels_do_not_divide_are_walked_too():
    R = restorer(degrade.make("pixelate", T=3), lambda x, t: x)
    x = torch.rand(3, 21, 30) * 2 - 1
    assert restore_image(R, x, 2, Algorithm2()).image.shape == x.shape


def test_a_mask_keeps_what_is_known_and_takes_the_rest_from_the_network():
    seen = []
    R = restorer(degrade.make("inpaint", T=20, std=0.2), lambda x, t: seen.append((x, t)) or 0 * x + 0.25)
    R.net.config = UNetConfig(size=16, groups=4, width=8, attention=())
    picture, hole = photo("RGB", (40, 30)), torch.zeros(30, 40, dtype=torch.bool)
    hole[5:12, 8:20] = True
    restored, found = restore_image(R, picture, "auto", mask=hole)
    given, got = np.asarray(picture), np.asarray(restored)
    assert np.array_equal(got[~hole.numpy()], given[~hole.numpy()])
    assert (got[hole.numpy()] == 159).all()
    (((x, t),), *_) = (seen,)
    assert not x[:, :, hole].any()
    assert found.sure
    assert 1 < int(t) == found.t <= 20
    hole[:] = False
    hole[6, 8] = True
    assert restore_image(R, picture, "auto", mask=hole).severity.t < found.t


@pytest.mark.parametrize("sampler", ["algorithm2", "ddpm", "resample:repeats=2,step=ddpm"])
def test_a_noise_model_fills_a_hole_in(sampler):
    x0, hole = FACE[0], torch.zeros(32, 32, dtype=torch.bool)
    hole[8:20, 10:30] = True
    spoiled = torch.where(hole, 1.0, x0)
    R = restorer(NOISE, lambda x, t: FACE)
    restored, found = restore_image(
        R, spoiled, mask=hole, step=parse_step(sampler), generator=torch.Generator().manual_seed(0)
    )
    assert torch.allclose(restored, x0, atol=1e-4)
    assert found.t == NOISE.T


def test_a_severity_is_found_and_a_clean_picture_left_alone():
    reference = DrawnFaces(32)(24, torch.Generator().manual_seed(0))
    R = restorer(BLUR, lambda x, t: x)
    R.net.config = UNetConfig(size=32, groups=4, width=8, attention=())
    large = DrawnFaces(64)(1, torch.Generator().manual_seed(7))
    for t in (0, 6):
        x = BLUR(large, full(t, large))[0]
        found = restore_image(R, x, reference=torch.cat([reference, large[..., :32, :32]])).severity
        assert abs(found.t - t) <= 1
    clean = DrawnFaces(32)(1, torch.Generator().manual_seed(9))[0]
    left = restore_image(restorer(BLUR, lambda x, t: 0 * x), clean, reference=reference)
    assert (left.image is clean) == (left.severity.t == 0)


def test_cuts_show_the_middle_of_a_mask_and_keep_large_pixels_whole():
    x = torch.arange(45 * 70).view(1, 1, 45, 70).float()
    inpaint = degrade.make("inpaint", T=5)
    (cut,) = samplers.image.cuts(inpaint, x, 16)
    t = full(5, x)
    assert inpaint(x + 1, t)[0, 0, 22, 34] == inpaint(cut[None] + 1, t)[0, 0, 7, 7] == 0
    assert cut[0, 7, 7] == x[0, 0, 22, 34]
    for cut in samplers.image.cuts(BLUR, x, 16):
        assert int(cut[0, 0, 0]) % 70 % 16 == 0
        assert int(cut[0, 0, 0]) // 70 % 16 == 0
    assert samplers.image.cuts(BLUR, x, 100).shape == (1, 1, 100, 100)


def test_twelve_million_pixels_need_little_memory():
    def used():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    if not sys.platform.startswith("linux"):
        pytest.skip("memory is read from /proc")
    shapes, peak = set(), [0]

    def watch(x, t):
        shapes.add(tuple(x.shape))
        peak[0] = max(peak[0], used())
        return x

    picture = Image.new("RGB", (4000, 3000), (10, 20, 30))
    before = used()
    restored = restore_image(restorer(BLUR, watch), picture, 4, tile=512).image
    assert shapes <= {(n, 3, 512, 512) for n in range(1, 9)}
    assert restored.size == (4000, 3000)
    assert restored.getcolors() == [(12_000_000, (10, 20, 30))]
    assert peak[0] - before < 1.2e9  # a picture in float32 takes 144 MB


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"severity": 0}, "severity is 0; the model knows severities 1..8"),
        ({"severity": 9}, "severity is 9"),
        ({"severity": 3, "mask": torch.zeros(4, 4, dtype=torch.bool)}, r"picture of 37 x 29 pixels: give a bool"),
        ({"severity": 3, "mask": torch.zeros(29, 37)}, "torch.float32"),
        ({"severity": 3, "tile": 15}, "a tile of 15 pixels: it must be a multiple of 2: take 14"),
        ({"severity": 3, "step": parse_step("ddpm")}, "gaussian_noise"),
        ({"severity": 3, "step": Algorithm2(), "mask": torch.zeros(29, 37, dtype=torch.bool)}, "go direct"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        restore_image(trained(), photo("RGB"), **options)


def test_what_was_drawn_in_a_picture_must_be_known_for_a_walk():
    D = degrade.make("inpaint", T=8, center="random")
    with pytest.raises(ValueError, match="what inpaint drew in it"):
        restore_image(restorer(D), photo("RGB"), 3, Algorithm2())
    assert not restore_image(restorer(D), photo("RGB"), reference=None).severity.sure
