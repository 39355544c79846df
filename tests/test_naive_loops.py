"""The loops of the original, written from the formulas one step and one image at a time, against the closed forms.

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
from degrade.snow import STRENGTHS, _enlarged
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


def gaussian(d: Tensor, sigma: float) -> Tensor:
    g = torch.exp(-((d / sigma) ** 2) / 2)
    return g / g.sum()


def padded(x: Tensor, half: int, boundary: str) -> Tensor:
    """Continue x beyond its borders, by symmetric reflection one pixel at a time."""
    if boundary != "symmetric":
        return F.pad(x, (half,) * 4, mode=boundary)
    rows, columns = ([min(i % (2 * N), 2 * N - 1 - i % (2 * N)) for i in range(-half, N + half)] for N in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


@quick
@given(
    dtype=DTYPES,
    sides=SIDES,
    widths=st.lists(WIDTHS, min_size=1, max_size=12),
    half=st.integers(0, 3),
    boundary=st.sampled_from(["circular", "reflect", "symmetric"]),
    to_mean=st.booleans(),
)
def test_blur(dtype, sides, widths, half, boundary, to_mean):
    x = x0 = images(3, 2, *sides, dtype=dtype)
    levels = [x0]
    d = torch.arange(-half, half + 1, dtype=dtype)
    for sigma in widths:
        kernel = torch.outer(gaussian(d, sigma), gaussian(d, sigma)).expand(2, 1, -1, -1)
        x = F.conv2d(padded(x, half, boundary), kernel, groups=2)
        levels.append(x)
    if to_mean:
        levels[-1] = x.mean((2, 3), keepdim=True).expand_as(x)
    D = degrade.Blur(T=len(widths), widths=tuple(widths), kernel_size=2 * half + 1, boundary=boundary, to_mean=to_mean)
    agree(D, x0, levels)


@pytest.mark.parametrize(
    ("rule", "sigma"),
    [
        ("incremental", lambda i: 0.3 * (i + 1)),
        ("constant", lambda i: 0.3),
        ("exponential", lambda i: math.exp(0.3 * i)),
        ("special_6", lambda i: 0.35 + i / 100),
    ],
)
def test_blur_rules_are_the_widths_of_their_formulas(rule, sigma):
    x0 = images(2, 1, 9, 9)
    explicit = degrade.Blur(T=7, widths=tuple(map(sigma, range(7))), kernel_size=5)
    for t in range(8):
        level = torch.full((2,), t)
        rule_t = degrade.Blur(T=7, widths=rule, std=0.3, kernel_size=5)(x0, level)
        torch.testing.assert_close(rule_t, explicit(x0, level), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "symmetric"])
def test_the_heat_equation_is_the_limit_of_long_chains(boundary):
    """Many narrow Gaussians of one total width approach exp(-total^2 w^2 / 2), here to 1e-6."""
    x0 = F.avg_pool2d(images(2, 1, 20, 14), 5, 1, 2)
    t = torch.tensor([1, 1])
    heat = degrade.Blur(T=1, total_sigma=(3.0,), boundary=boundary)(x0, t)
    chain = degrade.Blur(T=9, widths="constant", std=1.0, kernel_size=19, boundary=boundary)
    torch.testing.assert_close(heat, chain(x0, 9 * t), rtol=0, atol=1e-6)


def mask(centers: list[tuple[float, float]], H: int, W: int, s: list[float], dtype: torch.dtype) -> list[Tensor]:
    """Return the masks (B, 1, H, W) at t = 0..T around a center for each image."""
    keep = [torch.ones(len(centers), 1, H, W, dtype=dtype)]
    for s_i in s:
        step = torch.empty_like(keep[0])
        for i, (center_h, center_w) in enumerate(centers):
            g_h = torch.exp(-((torch.arange(H) - center_h) ** 2).to(dtype) / (2 * s_i**2))
            g_w = torch.exp(-((torch.arange(W) - center_w) ** 2).to(dtype) / (2 * s_i**2))
            step[i, 0] = 1 - torch.outer(g_h, g_w)
        keep.append(keep[-1] * step)
    return keep


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, std=WIDTHS, first=st.integers(1, 11), incremental=st.booleans())
def test_inpaint(dtype, sides, T, std, first, incremental):
    x0 = images(3, 2, *sides, dtype=dtype)
    s = [std * (i + first) if incremental else std for i in range(T)]
    arguments = {"T": T, "widths": "incremental" if incremental else "constant", "std": std, "first": first}
    middle = tuple((N + 1) // 2 - 1 for N in sides)
    agree(degrade.Inpaint(**arguments), x0, [x0 * M for M in mask([middle] * 3, *sides, s, dtype)])

    D = degrade.Inpaint(**arguments, center="random")
    z = D.draw(x0, torch.Generator().manual_seed(T))
    # The window at (row, col) of a mask twice the size, whose center is the last pixel of its first quarter.
    H, W = sides
    windows = []
    for M in mask([(H - 1, W - 1)], 2 * H, 2 * W, s, dtype):
        cut = [M[0, :, r : r + H, c : c + W] for r, c in zip(*(part.tolist() for part in z))]
        windows.append(torch.stack(cut))
    agree(D, x0, [x0 * M for M in windows], z)


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, std=WIDTHS, reverse=st.booleans())
def test_mask_to_color(dtype, sides, T, std, reverse):
    x0 = images(3, 2, *sides, dtype=dtype)
    D = degrade.MaskToColor(T=T, std=std, reverse=reverse)
    z = D.draw(x0, torch.Generator().manual_seed(T))
    assert z.abs().max() <= 0.5
    M = mask([tuple((N + 1) // 2 - 1 for N in sides)] * 3, *sides, [std * (i + 1) for i in range(T)], dtype)
    kept = [torch.ones_like(M[0]), *(1 - M[T - t] for t in range(1, T + 1))] if reverse else M
    levels = [a * x0 + (1 - a) * z[:, :, None, None] for a in kept]
    agree(D, x0, levels, z)
    if reverse:
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
    x = x0 = images(3, 2, *sides, dtype=dtype)
    levels = [x0]
    for i in range(T):
        small = tuple(S // 2 ** (i + 1) if sizes == "halve" else S - i for S in sides)
        x = F.interpolate(F.interpolate(x, small, mode=filter), sides, mode="nearest-exact")
        levels.append(x)
    agree(degrade.Pixelate(T=T, sizes=sizes, filter=filter, uneven=True), x0, levels)


def test_bicubic_halving_has_the_known_taps():
    x0 = torch.eye(8, dtype=torch.float64).view(8, 1, 1, 8).expand(-1, -1, 8, -1)
    rows = degrade.Pixelate(T=3)(x0, torch.ones(8, dtype=torch.int64))[:, 0, 0, 2]
    torch.testing.assert_close(rows[1:5], torch.tensor([-0.09375, 0.59375, 0.59375, -0.09375]).double())


def snowed(x0: Tensor, base: Tensor, vertical: bool, level: int, t: int, T: int, fix: bool) -> Tensor:
    """Return one image (C, H, W) in [-1, 1] at severity t >= 1."""
    strength = STRENGTHS[level]
    thr, sigma, br = (np.linspace(*ends, T)[t - 1] for ends in (strength.thr, strength.sigma, strength.br))
    flakes = base.clone()
    flakes[flakes < thr] = 0
    flakes = flakes.clamp(0, 1)
    half = strength.k // 2
    kernel = gaussian(torch.arange(-half, half + 1, dtype=x0.dtype), sigma)
    shape = (1, 1, -1, 1) if vertical else (1, 1, 1, -1)
    layer = F.conv2d(flakes[None, None], kernel.view(shape), padding=(half, 0) if vertical else (0, half))[0]
    x = (x0 + 1) / 2
    if not fix:
        gray = (0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2])[None] if len(x) == 3 else x
        x = br * x + (1 - br) * torch.maximum(x, 1.5 * gray + 0.5)
    return (x + layer + torch.rot90(layer, 2, (1, 2))).clamp(0, 1) * 2 - 1


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
    D = degrade.Snow(T=T, level=level, fix_brightness=fix)
    z = D.draw(x0, torch.Generator().manual_seed(T))
    levels = [x0]
    for t in range(1, T + 1):
        levels.append(torch.stack([snowed(x0[i], z[0][i], bool(z[1][i]), level, t, T, fix) for i in range(len(x0))]))
    agree(D, x0, levels, z)


@quick
@given(sides=SIDES, zoom=st.sampled_from([2.5, 3.0]))
def test_the_noise_plane_is_a_clipped_zoom(sides, zoom):
    """SciPy's spline of order 1 on the middle of the plane, cut to size."""
    crop = [math.ceil(N / zoom) for N in sides]
    noise = torch.randn(2, *crop, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zoomed = np.stack([scipy.ndimage.zoom(plane, zoom, order=1) for plane in noise.numpy()])
    top, left = ((large - N) // 2 for large, N in zip(zoomed.shape[1:], sides))
    expected = torch.from_numpy(zoomed[:, top : top + sides[0], left : left + sides[1]])
    torch.testing.assert_close(_enlarged(noise, zoom, *sides), expected, rtol=0, atol=1e-12)


@quick
@given(dtype=DTYPES, sides=SIDES, T=LEVELS, factor=st.floats(0, 1), total_remove=st.booleans(), linear=st.booleans())
def test_decolor(dtype, sides, T, factor, total_remove, linear):
    x0 = images(3, 3, *sides, dtype=dtype)
    levels = [x0]
    for t in range(1, T + 1):
        s = 1 - t / T if linear else (0.0 if total_remove and t == T else factor**t)
        levels.append(s * x0 + (1 - s) * (x0[:, :1] + x0[:, 1:2] + x0[:, 2:]) / 3)
    saturation = "linear" if linear else "constant"
    agree(degrade.Decolor(T=T, saturation=saturation, factor=factor, total_remove=total_remove), x0, levels)
