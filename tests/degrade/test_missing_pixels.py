"""Missing pixels: how many, which ones, and masks of one's own."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade import expand_level
from tests.cases import images, seed


@pytest.mark.parametrize(("T", "share_at_T"), [(4, 1.0), (10, 0.3)])
def test_the_share_of_missing_pixels_grows_evenly_and_what_is_lost_stays_lost(T, share_at_T):
    D, x0 = degrade.make("missing_pixels", T=T, share_at_T=share_at_T), images(3, 2, 64, 64)
    z = D.draw(x0, seed(0))
    before = torch.zeros(3, 1, 64, 64, dtype=torch.bool)
    for t in range(T + 1):
        level = expand_level(t, x0)
        missing, share = D.missing(x0, level, z), share_at_T * t / T
        assert abs(missing.double().mean() - share) <= 4 * (share * (1 - share) / missing.numel()) ** 0.5
        assert not (before & ~missing).any()
        assert torch.equal(D(x0, level, z), torch.where(missing, 0, x0))
        before = missing
    assert not torch.equal(z[0], z[1])


def test_a_mask_is_the_same_at_every_level():
    D, x0 = degrade.make("missing_pixels", T=3), images(4, 3, 5, 7)
    known = torch.rand(4, 1, 5, 7, generator=seed(1)) < 0.5
    t = torch.arange(4)
    expected = torch.where(known | (t == 0).view(-1, 1, 1, 1), x0, 0)
    for z in (known, known.float(), known.to(torch.uint8)):
        assert torch.equal(D(x0, t, z), expected)


def test_the_mask_does_not_depend_on_the_precision_of_the_image():
    D, x0 = degrade.make("missing_pixels", T=3), images(2, 3, 32, 32)
    z, t = D.draw(x0.float(), seed(0)), torch.tensor([1, 2])
    expected = D.missing(x0.float(), t, z)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert torch.equal(D.missing(x0.to(dtype), t, z), expected)
        assert torch.equal((D(x0.to(dtype), t, z) == 0).all(1, keepdim=True), expected)


def test_prox_and_inverse_keep_the_mean_where_pixels_are_missing():
    D, known = degrade.make("missing_pixels", T=1), torch.rand(2, 1, 6, 8, generator=seed(0)) < 0.5
    x, y = torch.randn(2, 2, 3, 6, 8, dtype=torch.float64, generator=seed(1))
    t = torch.tensor([1, 0])
    kept = known | (t == 0).view(-1, 1, 1, 1)
    torch.testing.assert_close(D.prox(x, y, t, known, 0.3), torch.where(kept, (y + 0.3 * x) / 1.3, x))
    torch.testing.assert_close(D.invert(y, t, known, 0.1, 0.5), torch.where(kept, y / 1.04, 0))
