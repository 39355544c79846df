"""Pictures that are already degraded: of any size and mode, restored as the network would, and written as they came."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
from degrade import expand_level
from degrade.image_io import pil_to_tensor, to_pil_like
from experiments.data.drawn import DrawnFaces
from restore import BaseRestorer, FunctionRestorer, Restorer, UNet, UNetConfig
from restore.tiling import reflect_pad
from samplers import Algorithm2
from samplers.applications.picture_sampling import crops
from samplers.applications.restore_image import RestoreOptions, restore_image
from samplers.loop import direct, sample
from samplers.registry import parse_sampler
from tests.photographs import photo

FACE = DrawnFaces(32)(1, torch.Generator().manual_seed(5))
BLUR = degrade.make("blur", T=8, cumulative_sigma="geometric", padding_mode="symmetric")
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
    net = UNet(
        UNetConfig(
            image_size=16,
            in_channels=channels,
            model_channels=8,
            channel_mult=(1, 2),
            attention_resolutions=(),
            norm_groups=4,
        )
    )
    torch.nn.init.normal_(net.conv_out.weight, std=0.1)
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
    padded = reflect_pad(x[None], -size[0] % 2, -size[1] % 2)
    expected = direct(R, padded, 5)[0, :, : size[0], : size[1]].clamp(-1, 1)
    assert torch.equal(restore_image(R, x, 5).image, expected)
    picture = to_pil_like(Image.new("RGB", size[::-1]), x)
    expected = to_pil_like(
        picture,
        direct(
            R,
            reflect_pad(pil_to_tensor(picture)[None], -size[0] % 2, -size[1] % 2),
            5,
        )[0, :, : size[0], : size[1]],
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
    x = D(x0, expand_level(t, x0), D.draw(x0, torch.Generator().manual_seed(0)))[0]
    R = restorer(D, lambda x, t: x0.expand_as(x))
    for steps in (None, 2, 1000):
        assert torch.allclose(
            restore_image(R, x, t, parse_sampler(sampler), RestoreOptions(steps)).image, x0[0], atol=1e-4
        )


NEAR = torch.nn.AvgPool2d(3, 1, 1)  # sees one pixel far


@pytest.mark.parametrize("sampler", ["ddpm", "algorithm2", "repaint:repeats=2,sampler=ddpm"])
def test_a_walk_in_tiles_is_the_walk_without_noise_included(sampler):
    x = torch.rand(3, 75, 100, dtype=torch.float64) * 2 - 1
    R = restorer(NOISE, lambda x, t: 0.8 * NEAR(x))

    def walked(tile):
        return restore_image(
            R, x, 30, parse_sampler(sampler), RestoreOptions(5, tile_size=tile), torch.Generator().manual_seed(0)
        ).image

    whole = walked(128)
    for tile in (16, 24, 64):
        assert torch.allclose(walked(tile), whole, rtol=0, atol=1e-12)
    again = restore_image(R, x, 30, parse_sampler(sampler), RestoreOptions(5), torch.Generator().manual_seed(1)).image
    assert torch.equal(again, whole) == (sampler == "algorithm2")


def test_a_stochastic_walk_has_one_standard_deviation_everywhere():
    """The mean of two walks, where two pieces overlap, has 1 / sqrt(2) of it there."""
    x = torch.zeros(3, 256, 1300)
    R = restorer(degrade.make("gaussian_noise", T=1000), lambda x, t: 0.1 * x)
    generator = torch.Generator().manual_seed(0)
    restored = restore_image(R, x, 1000, parse_sampler("ddpm"), RestoreOptions(2, tile_size=128), generator).image
    bands = restored.unfold(2, 50, 50).transpose(1, 2).flatten(2).std((0, 2))
    assert restored.abs().max() < 1
    assert (bands / bands.mean() - 1).abs().max() < 0.02


class Dawn(degrade.Degradation):
    """Light that grows from left to right: where a pixel is in the picture matters."""

    position_dependent = True

    def apply(self, x0, t, z):
        light = torch.linspace(0, 1, x0.shape[-1], dtype=x0.dtype)
        return x0 * (1 - t.view(-1, 1, 1, 1) / (2 * self.T) * (1 - light))


def test_a_degradation_that_knows_the_place_of_a_pixel_is_walked_over_the_whole_picture():
    D, x0 = Dawn(T=8), torch.rand(1, 1, 8, 1300, dtype=torch.float64) - 0.5
    x, R = D(x0, expand_level(8, x0)), restorer(D, lambda x, t: 0.9 * NEAR(x))
    expected = sample(R, Algorithm2(), x, None, [8, 4, 0])[0]
    assert torch.allclose(
        restore_image(R, x[0], 8, Algorithm2(), RestoreOptions(2)).image, expected, rtol=0, atol=1e-12
    )


class Vignette(degrade.Degradation):
    """The README's: darkness that closes in from the corners and grows with the picture."""

    position_dependent = True

    def apply(self, x0, t, z):
        return x0 * self.keep(x0, t) - (1 - self.keep(x0, t))

    def keep(self, x, t):
        h, w = (torch.linspace(-1, 1, side).to(x) for side in x.shape[2:])
        return torch.exp(-3 * (h[:, None] ** 2 + w**2) * (t / self.T).view(-1, 1, 1, 1))


@pytest.mark.parametrize("sampler", [None, "algorithm2"])
def test_a_vignette_is_that_of_the_whole_picture_and_not_of_its_pieces(sampler):
    D = Vignette(T=20)

    def undo(x, t):
        keep = D.keep(x, t)
        return (x + 1 - keep) / keep

    R = restorer(D, undo)
    R.net.config = UNetConfig(image_size=32, norm_groups=4, model_channels=8, attention_resolutions=())
    x0 = torch.rand(1, 3, 200, 300, dtype=torch.float64) - 0.5
    x = D(x0, expand_level(12, x0))[0]
    options = RestoreOptions(None if sampler is None else 4)
    assert torch.allclose(restore_image(R, x, 12, sampler, options).image, x0[0], atol=1e-9)
    pieces = restore_image(R, x, 12, options=RestoreOptions(tile_size=64)).image
    assert (pieces - x0[0]).abs().max() > 0.1


def test_a_severity_is_estimated_from_the_whole_of_a_picture_that_a_vignette_darkens():
    D = Vignette(T=20)
    large = DrawnFaces(96)(1, torch.Generator().manual_seed(7))
    R = restorer(D, lambda x, t: x)
    R.net.config = UNetConfig(image_size=32, norm_groups=4, model_channels=8, attention_resolutions=())
    reference = DrawnFaces(32)(24, torch.Generator().manual_seed(0))
    found = restore_image(R, D(large, expand_level(14, large))[0], options=RestoreOptions(reference=reference)).severity
    assert abs(found.t - 14) <= 3
    assert crops(D, large, 32).shape == large[..., :32, :32].shape
    assert torch.equal(crops(degrade.make("inpaint", T=5), large, 32), large[..., 32:64, 32:64])


def test_a_walk_whose_tables_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="4000 x 3000 pixels are too large: sample none"):
        restore_image(restorer(degrade.make("inpaint")), torch.zeros(1, 3000, 4000), 50, Algorithm2())


def test_sides_that_pixels_do_not_divide_are_walked_too():
    R = restorer(degrade.make("pixelate", T=3), lambda x, t: x)
    x = torch.rand(3, 21, 30) * 2 - 1
    assert restore_image(R, x, 2, Algorithm2()).image.shape == x.shape


def test_a_mask_keeps_what_is_known_and_takes_the_rest_from_the_network():
    seen = []
    R = restorer(
        degrade.make("inpaint", T=20, sigmas="incremental:step=0.2"), lambda x, t: seen.append((x, t)) or 0 * x + 0.25
    )
    R.net.config = UNetConfig(image_size=16, norm_groups=4, model_channels=8, attention_resolutions=())
    picture, hole = photo("RGB", (40, 30)), torch.zeros(30, 40, dtype=torch.bool)
    hole[5:12, 8:20] = True
    restored, found = restore_image(R, picture, "auto", options=RestoreOptions(mask=hole))
    given, got = np.asarray(picture), np.asarray(restored)
    assert np.array_equal(got[~hole.numpy()], given[~hole.numpy()])
    assert (got[hole.numpy()] == 159).all()
    (((x, t),), *_) = (seen,)
    assert not x[:, :, hole].any()
    assert found.confident
    assert 1 < int(t) == found.t <= 20
    hole[:] = False
    hole[6, 8] = True
    assert restore_image(R, picture, "auto", options=RestoreOptions(mask=hole)).severity.t < found.t


@pytest.mark.parametrize("sampler", ["algorithm2", "ddpm", "repaint:repeats=2,sampler=ddpm"])
def test_a_noise_model_fills_a_hole_in(sampler):
    x0, hole = FACE[0], torch.zeros(32, 32, dtype=torch.bool)
    hole[8:20, 10:30] = True
    spoiled = torch.where(hole, 1.0, x0)
    R = restorer(NOISE, lambda x, t: FACE)
    restored, found = restore_image(
        R, spoiled, "auto", parse_sampler(sampler), RestoreOptions(mask=hole), torch.Generator().manual_seed(0)
    )
    assert torch.allclose(restored, x0, atol=1e-4)
    assert found.t == 1
    assert torch.equal(restored[:, ~hole], x0[:, ~hole])


def test_a_severity_is_found_and_a_clean_picture_left_alone():
    reference = DrawnFaces(32)(24, torch.Generator().manual_seed(0))
    R = restorer(BLUR, lambda x, t: x)
    R.net.config = UNetConfig(image_size=32, norm_groups=4, model_channels=8, attention_resolutions=())
    large = DrawnFaces(64)(1, torch.Generator().manual_seed(7))
    for t in (0, 6):
        x = BLUR(large, expand_level(t, large))[0]
        more = torch.cat([reference, large[..., :32, :32]])
        found = restore_image(R, x, options=RestoreOptions(reference=more)).severity
        assert abs(found.t - t) <= 1
    clean = DrawnFaces(32)(1, torch.Generator().manual_seed(9))[0]
    left = restore_image(restorer(BLUR, lambda x, t: 0 * x), clean, options=RestoreOptions(reference=reference))
    assert (left.image is clean) == (left.severity.t == 0)


def test_cuts_show_the_middle_of_a_mask_and_keep_large_pixels_whole():
    x = torch.arange(45 * 70).view(1, 1, 45, 70).float()
    inpaint = degrade.make("inpaint", T=5)
    (cut,) = crops(inpaint, x, 16)
    t = expand_level(5, x)
    assert inpaint(x + 1, t)[0, 0, 22, 34] == inpaint(cut[None] + 1, t)[0, 0, 7, 7] == 0
    assert cut[0, 7, 7] == x[0, 0, 22, 34]
    for cut in crops(BLUR, x, 16):
        assert int(cut[0, 0, 0]) % 70 % 16 == 0
        assert int(cut[0, 0, 0]) // 70 % 16 == 0
    assert crops(BLUR, x, 100).shape == (1, 1, 100, 100)


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
    restored = restore_image(restorer(BLUR, watch), picture, 4, options=RestoreOptions(tile_size=512)).image
    assert shapes <= {(n, 3, 512, 512) for n in range(1, 9)}
    assert restored.size == (4000, 3000)
    assert restored.getcolors() == [(12_000_000, (10, 20, 30))]
    assert peak[0] - before < 1.2e9  # a picture in float32 takes 144 MB


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


def test_a_picture_one_pixel_wide_is_walked_where_the_network_was_trained():
    """A blur with reflected borders knows no picture of one column; the network's size it does."""
    R = trained(D=degrade.make("blur", T=8))
    for shape in ((3, 45, 1), (3, 1, 1)):
        x = torch.rand(shape) * 2 - 1
        for step in (None, "algorithm1", "algorithm2"):
            assert restore_image(R, x, 3, step).image.shape == shape
        assert restore_image(R, x).image.shape == shape


def test_a_step_has_a_name_and_a_severity_is_any_whole_number():
    R, x = trained(), torch.rand(3, 20, 30) * 2 - 1
    expected = restore_image(R, x, 3, Algorithm2(estimate=False), RestoreOptions(2)).image
    assert torch.equal(
        restore_image(R, x, np.int64(3), "algorithm2-fixed", RestoreOptions(torch.tensor(2))).image, expected
    )


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"severity": 0}, "severity is 0; the model knows severities 1..8"),
        ({"severity": 9}, "severity is 9"),
        ({"severity": 3.7}, "severity is 3.7; the model knows severities 1..8, whole numbers, or 'auto'"),
        ({"severity": 3.0}, "severity is 3.0"),
        ({"severity": True}, "severity is True"),
        ({"severity": "3"}, "severity is 3; .* whole numbers"),
        ({"severity": 3, "steps": 4}, "steps is 4 and sampler is None, which takes no steps"),
        ({"severity": 3, "steps": 0, "sampler": Algorithm2()}, "steps is 0; it is a whole number, 1 or more"),
        ({"severity": 3, "steps": 2.0, "sampler": Algorithm2()}, "steps is 2.0"),
        ({"severity": 3, "steps": True, "sampler": Algorithm2()}, "steps is True"),
        ({"severity": 3, "sampler": "euler"}, "euler"),
        ({"severity": 3, "sampler": Algorithm2}, "<class .* is no sampler: give one, its name"),
        ({"severity": 3, "mask": torch.zeros(4, 4, dtype=torch.bool)}, r"picture of 37 x 29 pixels: give a bool"),
        ({"severity": 3, "mask": torch.zeros(29, 37)}, "torch.float32"),
        ({"severity": 3, "tile_size": 15}, "tile_size is 15; it must be a multiple of 2: take 14"),
        ({"severity": 3, "sampler": parse_sampler("ddpm")}, "needs Gaussian noise"),
        ({"severity": 3, "sampler": Algorithm2(), "mask": torch.zeros(29, 37, dtype=torch.bool)}, "give no sampler"),
    ],
)
def test_bad_arguments_are_named(options, message):
    rest = {key: value for key, value in options.items() if key not in ("severity", "sampler")}
    severity, sampler = options["severity"], options.get("sampler")
    with pytest.raises(ValueError, match=message):
        restore_image(trained(), photo("RGB"), severity, sampler, RestoreOptions(**rest))


def test_what_was_drawn_in_a_picture_must_be_known_for_a_walk():
    D = degrade.make("inpaint", T=8, center="random")
    with pytest.raises(ValueError, match="inpaint drew something in this picture"):
        restore_image(restorer(D), photo("RGB"), 3, Algorithm2())
    assert not restore_image(restorer(D), photo("RGB")).severity.confident


def test_a_second_image_that_is_bound_to_the_restorer_is_cut_with_the_tiles():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, 40, 52, generator=generator) * 2 - 1 for _ in range(2))
    R = FunctionRestorer(lambda x, t, image: 0.5 * (x + image), BLUR).with_cond(image=y)
    restored = restore_image(R, x, 3, options=RestoreOptions(tile_size=16)).image
    torch.testing.assert_close(restored, 0.5 * (x + y))


def test_what_needs_the_whole_picture_is_computed_before_tiles_are_cut():
    class Mean(BaseRestorer):
        def prepare(self, x_t, t):
            return x_t.mean((2, 3), keepdim=True).expand_as(x_t)

        def restore_prepared(self, prepared, t, **cond):
            return prepared

    x = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0)) * 2 - 1
    restored = restore_image(Mean(BLUR), x, 3, options=RestoreOptions(tile_size=16)).image
    torch.testing.assert_close(restored, x.mean((2, 3), keepdim=True).expand_as(x))
