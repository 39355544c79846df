"""Trajectories of whole pictures: in tiles, with degradations that depend on the position, within memory."""

from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image

import degrade
from degrade import expand_level
from experiments.data.drawn import DrawnFaces
from restore import BaseRestorer, FunctionRestorer, UNetConfig
from samplers import Algorithm2
from samplers.applications.picture_sampling import crops
from samplers.applications.restore_image import RestoreOptions, restore_image
from samplers.loop import sample
from samplers.registry import parse_sampler
from tests.restorers import BLUR, NEAR, NOISE, restorer, trained


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


def test_a_picture_one_pixel_wide_is_walked_where_the_network_was_trained():
    """A blur with reflected borders knows no picture of one column; the network's size it does."""
    R = trained(D=degrade.make("blur", T=8))
    for shape in ((3, 45, 1), (3, 1, 1)):
        x = torch.rand(shape) * 2 - 1
        for step in (None, "algorithm1", "algorithm2"):
            assert restore_image(R, x, 3, step).image.shape == shape
        assert restore_image(R, x).image.shape == shape


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
