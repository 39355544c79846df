"""Rounding to 8 bits, and the leak that it closes."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade.functional.quantization import quantize_8bit
from degrade.probe import held_out_r2
from experiments.data.drawn import DrawnFaces


@pytest.fixture(scope="module")
def faces():
    return DrawnFaces(32, torch.device("cpu"))(400, torch.Generator().manual_seed(0))


def blur(sigma, **arguments):
    return degrade.make("blur", T=1, cumulative_sigma=[sigma], padding_mode="symmetric", **arguments)


def test_rounding_keeps_every_8_bit_value_and_nothing_between():
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    assert torch.equal(quantize_8bit(levels), levels)
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    r2_8bit = quantize_8bit(x)
    assert torch.equal(quantize_8bit(r2_8bit), r2_8bit)
    assert (r2_8bit - x.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
    assert r2_8bit.unique().numel() <= 256


def test_a_wide_blur_leaks_in_float32_and_much_less_in_8_bits(faces):
    leaked = degrade.linear_probe(blur(16.0), faces)
    assert leaked.r2 > 0.85
    assert leaked.r2 - leaked.r2_8bit > 0.1
    color_alone = degrade.linear_probe(blur(16.0, mean_at_T=True), faces)
    assert leaked.r2_8bit - color_alone.r2_8bit < leaked.r2 - color_alone.r2 - 0.1
    assert abs(color_alone.r2 - color_alone.r2_8bit) < 0.02
    assert "8 bits" in str(leaked)


def test_the_ends_of_the_scale(faces):
    assert (
        degrade.linear_probe(
            degrade.make("gaussian_noise", T=1, schedule={"name": "linear_beta", "arguments": {"beta_start": 1e-4}}),
            faces,
        ).r2_8bit
        > 0.95
    )
    noise = degrade.linear_probe(degrade.make("gaussian_noise"), faces)
    assert abs(noise.r2) < 0.1
    assert degrade.linear_probe(degrade.make("mask_to_color", color=[0.0, 0.0, 0.0]), faces).r2 < 0.01


def test_the_read_out_is_ridge_regression():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(5, 3, generator=generator, dtype=torch.float64) + 2
    assert held_out_r2(x, y) > 1 - 1e-12
    # Noise as strong as the signal halves the best R^2; a read-out without a ridge would do worse.
    noisy = y + y.std() * torch.randn(400, 3, generator=generator, dtype=torch.float64)
    assert 0.35 < held_out_r2(x, noisy) < 0.65
    wide = torch.randn(400, 2000, generator=generator, dtype=torch.float64)
    assert -0.1 < held_out_r2(wide, y) < 0.1


def test_too_few_images():
    with pytest.raises(ValueError, match=r"15 images.* 16 at least"):
        degrade.linear_probe(degrade.make("gaussian_noise"), torch.zeros(15, 1, 8, 8))
