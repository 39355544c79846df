"""Eight bits: the nearest of 256 levels, in every precision."""

from __future__ import annotations

import pytest
import torch

from degrade import quantize_8bit


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_every_value_goes_to_the_nearest_level(dtype):
    x = torch.linspace(-1.1, 1.1, 4001).to(dtype)
    levels = 2 * torch.arange(256, dtype=torch.float64) / 255 - 1
    nearest = levels[(x.double()[:, None] - levels).abs().argmin(1)]
    rounded = quantize_8bit(x)
    assert rounded.dtype == dtype
    # Where a value lies in the middle of two levels, both are nearest.
    between = ((x.double().clamp(-1, 1) + 1) * 127.5 % 1 - 0.5).abs() < 1e-4
    torch.testing.assert_close(rounded[~between], nearest.to(dtype)[~between], rtol=0, atol=2e-7)
