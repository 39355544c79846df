"""The loops of the original, written from the formulas one step at a time, against the closed forms.

Float64 agrees to 1e-12, float32 to 2e-5, for any setting that hypothesis finds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import degrade
from degrade.functional.sigmas import Constant, Incremental
from degrade.operators.snow import STRENGTHS, _zoom_center
from experiments.bench.naive import blur_kernels, blurred, holes, inpainted, pixelated, snowed
from tests.cases import images

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
DTYPES = st.sampled_from(list(TOLERANCE))
LEVELS = st.integers(1, 12)
SIDES = st.tuples(st.integers(4, 20), st.integers(4, 20))
WIDTHS = st.floats(0.05, 5.0)
quick = settings(max_examples=100, deadline=None)


def agree(D: degrade.Degradation, x0: Tensor, levels: list[Tensor], z=None) -> None:
    """Assert that D gives the images of the loop at t = 0..T, alone and in a batch of mixed severities."""
    assert len(levels) == D.T + 1
    tolerance = {"rtol": 0, "atol": TOLERANCE[x0.dtype]}
    for t, x_t in enumerate(levels):
        torch.testing.assert_close(D(x0, torch.full((len(x0),), t), z), x_t, **tolerance)
    t = torch.arange(len(x0)) * D.T // max(len(x0) - 1, 1)
    mixed = torch.stack([levels[level][i] for i, level in enumerate(t.tolist())])
    torch.testing.assert_close(D(x0, t, z), mixed, **tolerance)


@quick
@given(
    dtype=DTYPES,
    sides=SIDES,
    sigmas=st.lists(WIDTHS, min_size=1, max_size=12),
    half=st.integers(0, 3),
    boundary=st.sampled_from(["circular", "reflect", "symmetric"]),
    mean_at_T=st.booleans(),
)
def test_blur(dtype, sides, sigmas, half, boundary, mean_at_T):
    x0 = images(3, 2, *sides, dtype=dtype)
    kernels = blur_kernels(sigmas, 2 * half + 1, x0)
    levels = list(blurred(x0, kernels, boundary, mean_at_T))
    D = degrade.Blur(
        T=len(sigmas), sigmas=tuple(sigmas), kernel_size=2 * half + 1, padding_mode=boundary, mean_at_T=mean_at_T
    )
    agree(D, x0, levels)


@pytest.mark.parametrize(
    ("rule", "sigma"),
    [
        ("incremental:step=0.3", lambda i: 0.3 * (i + 1)),
        ("incremental:step=0.3,offset=2", lambda i: 0.3 * (i + 2)),
        ("constant:sigma=0.3", lambda i: 0.3),
        ("exponential:rate=0.3", lambda i: math.exp(0.3 * i)),
        ("exponential:rate=0.3,initial=0.5", lambda i: 0.5 * math.exp(0.3 * i)),
        ("cifar10", lambda i: 0.35 + i / 100),
        ("geometric:sigma_min=0.5,sigma_max=4", lambda i: 0.5 * 8 ** (i / 6)),
    ],
)
def test_blur_rules_are_the_widths_of_their_formulas(rule, sigma):
    x0 = images(2, 1, 9, 9)
    explicit = degrade.Blur(T=7, sigmas=tuple(map(sigma, range(7))), kernel_size=5)
    for t in range(8):
        level = torch.full((2,), t)
        rule_t = degrade.make("blur", T=7, sigmas=rule, kernel_size=5)(x0, level)
        torch.testing.assert_close(rule_t, explicit(x0, level), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "symmetric"])
def test_the_heat_equation_is_the_limit_of_long_chains(boundary):
    """Many narrow Gaussians of one total width approach exp(-total^2 w^2 / 2), here to 1e-6."""
    x0 = F.avg_pool2d(images(2, 1, 20, 14), 5, 1, 2)
    t = torch.tensor([1, 1])
    heat = degrade.Blur(T=1, cumulative_sigma=(3.0,), padding_mode=boundary)(x0, t)
    chain = degrade.Blur(T=9, sigmas="constant:sigma=1", kernel_size=19, padding_mode=boundary)
    torch.testing.assert_close(heat, chain(x0, 9 * t), rtol=0, atol=1e-6)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "symmetric"])
@pytest.mark.parametrize("sides", [(9, 12), (2, 5), (1, 4)])
def test_the_mean_is_what_the_blur_tends_to(boundary, sides):
    """Without a jump at T: a blur far wider than the image leaves the same color."""
    x0, t = images(2, 3, *sides), torch.tensor([1, 1])
    limit = degrade.Blur(T=1, cumulative_sigma=(500.0,), padding_mode=boundary)(x0, t)
    D = degrade.Blur(T=1, cumulative_sigma=(0.5,), padding_mode=boundary, mean_at_T=True)
    torch.testing.assert_close(D(x0, t), limit, rtol=0, atol=1e-12)
    torch.testing.assert_close(D.delta(x0, t, 0 * t), x0 - limit, rtol=0, atol=1e-12)


def middle(sides: tuple[int, int]) -> tuple[int, ...]:
    return tuple((N + 1) // 2 - 1 for N in sides)


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, std=WIDTHS, first=st.integers(1, 11), incremental=st.booleans())
def test_inpaint(dtype, sides, T, std, first, incremental):
    x0 = images(3, 2, *sides, dtype=dtype)
    s = [std * (i + first) if incremental else std for i in range(T)]
    arguments = {"T": T, "sigmas": Incremental(step=std, offset=first) if incremental else Constant(sigma=std)}
    agree(degrade.Inpaint(**arguments), x0, list(inpainted(x0, holes(s, *sides, middle(sides), x0))))

    D = degrade.Inpaint(**arguments, center="random")
    z = D.draw(x0, torch.Generator().manual_seed(T))
    # The window at (row, col) of a mask twice the size, whose center is the last pixel of its first quarter.
    H, W = sides
    agree(D, x0, list(inpainted(x0, holes(s, 2 * H, 2 * W, (H - 1, W - 1), x0), z)), z)


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, std=WIDTHS, outside_in=st.booleans())
def test_mask_to_color(dtype, sides, T, std, outside_in):
    x0 = images(3, 2, *sides, dtype=dtype)
    D = degrade.MaskToColor(T=T, sigmas=Incremental(step=std), outside_in=outside_in)
    z = D.draw(x0, torch.Generator().manual_seed(T))
    assert z.abs().max() <= 0.5
    M = list(inpainted(torch.ones_like(x0), holes([std * (i + 1) for i in range(T)], *sides, middle(sides), x0)))
    kept = [M[0], *(1 - M[T - t] for t in range(1, T + 1))] if outside_in else M
    levels = [a * x0 + (1 - a) * z[:, :, None, None] for a in kept]
    agree(D, x0, levels, z)
    if outside_in:
        assert torch.equal(D(x0, torch.full((3,), T), z), z[:, :, None, None].expand_as(x0))


@quick
@given(
    dtype=DTYPES,
    sides=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    T=st.integers(1, 8),
    sizes=st.sampled_from(["halve", "decrement"]),
    filter=st.sampled_from(["bicubic", "bilinear", "area"]),
)
def test_pixelate(dtype, sides, T, sizes, filter):
    T = min(T, 3) if sizes == "halve" else T
    x0 = images(3, 2, *sides, dtype=dtype)
    small = [tuple(S // 2 ** (i + 1) if sizes == "halve" else S - i for S in sides) for i in range(T)]
    D = degrade.Pixelate(T=T, sizes=sizes, filter=filter, allow_uneven=True)
    agree(D, x0, list(pixelated(x0, small, filter)))


def test_bicubic_halving_has_the_known_taps():
    x0 = torch.eye(8, dtype=torch.float64).view(8, 1, 1, 8).expand(-1, -1, 8, -1)
    rows = degrade.Pixelate(T=3)(x0, torch.ones(8, dtype=torch.int64))[:, 0, 0, 2]
    torch.testing.assert_close(rows[1:5], torch.tensor([-0.09375, 0.59375, 0.59375, -0.09375]).double())


@quick
@given(
    dtype=DTYPES,
    sides=SIDES,
    T=LEVELS,
    level=st.sampled_from(list(STRENGTHS)),
    fix=st.booleans(),
    channels=st.sampled_from([1, 3]),
)
def test_snow(dtype, sides, T, level, fix, channels):
    x0 = images(4, channels, *sides, dtype=dtype)
    D = degrade.Snow(T=T, strength=level, fix_brightness=fix)
    z = D.draw(x0, torch.Generator().manual_seed(T))
    agree(D, x0, list(snowed(x0, z, STRENGTHS[level], T, fix)), z)


@quick
@given(sides=SIDES, zoom=st.sampled_from([2.5, 3.0]))
def test_the_noise_plane_is_a_clipped_zoom(sides, zoom):
    """SciPy's spline of order 1 on the middle of the plane, cut to size."""
    crop = [math.ceil(N / zoom) for N in sides]
    noise = torch.randn(2, *crop, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zoomed = np.stack([scipy.ndimage.zoom(plane, zoom, order=1) for plane in noise.numpy()])
    top, left = ((large - N) // 2 for large, N in zip(zoomed.shape[1:], sides))
    expected = torch.from_numpy(zoomed[:, top : top + sides[0], left : left + sides[1]])
    torch.testing.assert_close(_zoom_center(noise, zoom, *sides), expected, rtol=0, atol=1e-12)


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, factor=st.floats(0, 1), gray_at_T=st.booleans(), linear=st.booleans())
def test_decolor(dtype, sides, T, factor, gray_at_T, linear):
    x0 = images(3, 3, *sides, dtype=dtype)
    levels = [x0]
    for t in range(1, T + 1):
        s = 1 - t / T if linear else (0.0 if gray_at_T and t == T else factor**t)
        levels.append(s * x0 + (1 - s) * (x0[:, :1] + x0[:, 1:2] + x0[:, 2:]) / 3)
    saturation = "linear" if linear else "constant"
    agree(degrade.Decolor(T=T, saturation=saturation, factor=factor, gray_at_T=gray_at_T), x0, levels)
