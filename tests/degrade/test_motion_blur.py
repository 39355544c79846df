"""Motion blur: a box along a line of any angle."""

from __future__ import annotations

import pytest
import torch

import degrade
from tests.cases import images


def test_it_is_a_box_along_the_line():
    D, x0 = degrade.make("motion_blur", T=4, kernel_size=5), images(2, 3, 9, 11)
    x_T = D(x0, torch.tensor([4, 4]), torch.tensor([0.0, 90.0], dtype=torch.float64))
    across = x0[0].unfold(2, 5, 1).mean(-1)
    down = x0[1].unfold(1, 5, 1).mean(-1)
    torch.testing.assert_close(x_T[0, :, :, 2:-2], across, rtol=0, atol=1e-12)
    torch.testing.assert_close(x_T[1, :, 2:-2], down, rtol=0, atol=1e-12)


def test_it_keeps_a_constant_and_spreads_a_point_further_at_every_level():
    D, t = degrade.make("motion_blur", T=20, kernel_size=11), torch.arange(21)
    z = D.draw(torch.zeros(21, 1, 1, 1), torch.Generator().manual_seed(0))[:1].expand(21)
    torch.testing.assert_close(D(torch.full((21, 1, 12, 12), 0.3), t, z), torch.full((21, 1, 12, 12), 0.3))
    point = torch.zeros(21, 1, 23, 23)
    point[:, :, 11, 11] = 1
    peak = D(point, t, z)[:, 0, 11, 11]
    assert peak[0] == 1
    assert (peak[1:] < peak[:-1]).all()


def test_circular_borders_continue_the_image_periodically():
    """It is the filter of an image that is copied to all sides; the transform needs no such copies."""
    x0, t = images(3, 2, 12, 10), torch.tensor([2, 4, 5])
    arguments = {"T": 5, "kernel_size": 9, "direction": 0.6}
    z = torch.tensor([20.0, 133.0, 290.0], dtype=torch.float64)
    found = degrade.make("motion_blur", **arguments, padding_mode="circular")(x0, t, z)
    copies = degrade.make("motion_blur", **arguments)(x0.repeat(1, 1, 3, 3), t, z)
    torch.testing.assert_close(found, copies[:, :, 12:24, 10:20], rtol=0, atol=1e-12)


def test_it_draws_an_angle_per_image():
    D, x0 = degrade.make("motion_blur", T=1), torch.zeros(500, 1, 1, 1, dtype=torch.bfloat16)
    angles = D.draw(x0, torch.Generator().manual_seed(0))
    assert angles.dtype == torch.float32
    assert angles.unique().numel() > 450
    assert 0 <= angles.min() < 10 < 350 < angles.max() < 360


def test_an_angle_that_is_given_is_that_of_all_images():
    x0, t = images(2, 3, 9, 11), torch.tensor([2, 4])
    drawn, given = (degrade.make("motion_blur", T=4, kernel_size=5, angle=angle) for angle in (None, 30))
    assert torch.equal(given(x0, t), drawn(x0, t, torch.full((2,), 30.0, dtype=torch.float64)))
    assert (drawn.random, given.random, given.draw(x0)) == (True, False, None)


@pytest.mark.parametrize(
    ("kernel_size", "shape", "z", "message"),
    [
        (4, (2, 1, 16, 16), torch.zeros(2), "kernel_size = 4 is even"),
        (1, (2, 1, 16, 16), torch.zeros(2), "kernel_size = 1: .* greater than or equal to 3"),
        (15, (2, 1, 16, 7), torch.zeros(2), "sides of more than 7"),
        (5, (2, 1, 16, 16), None, r"z is None; it needs a tensor of shape \(2,\)"),
        (5, (2, 1, 16, 16), torch.zeros(3), r"z is \(3,\); it needs a tensor of shape \(2,\)"),
    ],
)
def test_what_it_cannot_do_is_refused(kernel_size, shape, z, message):
    with pytest.raises(ValueError, match=message):
        degrade.make("motion_blur", kernel_size=kernel_size)(torch.zeros(shape), torch.tensor([1, 1]), z)
