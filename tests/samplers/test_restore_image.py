"""Degraded pictures restored as the network restores images, or by a sampler, with and without a mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import degrade
from degrade import expand_level
from degrade.image_io import pil_to_tensor, to_pil_like
from experiments.data.drawn import DrawnFaces
from restore import InverseInput, Restorer, UNetConfig
from restore.tiling import reflect_pad
from samplers import Algorithm2
from samplers.applications.restore_image import RestoreOptions, restore_image
from samplers.loop import direct
from samplers.registry import parse_sampler
from tests.photographs import photo
from tests.restorers import BLUR, FACE, NOISE, restorer, trained


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


def test_the_inverse_that_a_network_sees_is_that_of_the_precision_of_the_picture():
    class Nothing(torch.nn.Module):
        """What is added to the inverse, so that R is the inverse itself."""

        def forward(self, x, t):
            return torch.zeros_like(x[:, :1])

    R = Restorer(Nothing(), BLUR, inverse_input=InverseInput(noise=1e-4))
    x, t = BLUR(torch.rand(1, 1, 16, 16) * 2 - 1, torch.tensor([5])), torch.tensor([5])
    assert torch.equal(restore_image(R, x, 5).image, BLUR.invert(x, t, noise=1e-4).clamp(-1, 1))
    rounded = degrade.quantize_8bit(x)
    assert torch.equal(restore_image(R, rounded, 5).image, BLUR.invert(rounded, t).clamp(-1, 1))


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


def test_a_step_has_a_name_and_a_severity_is_any_whole_number():
    R, x = trained(), torch.rand(3, 20, 30) * 2 - 1
    expected = restore_image(R, x, 3, Algorithm2(estimate=False), RestoreOptions(2)).image
    assert torch.equal(
        restore_image(R, x, np.int64(3), "algorithm2-fixed", RestoreOptions(torch.tensor(2))).image, expected
    )


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
