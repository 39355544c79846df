"""Every way into the waves and back against the matrices of the waves, and blur in every way against one way."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade.functional import padded_transform
from degrade.functional import wave_transform as module
from degrade.functional.boundary import boundary_basis
from degrade.functional.padded_transform import Padded
from degrade.functional.wave_transform import Cosine, Dense, Folded, Fourier, wave_transform
from tests.cases import images

WAYS = [
    *((Fourier, "circular"), (Cosine, "symmetric")),
    *((way, mode) for way in (Dense, Folded) for mode in ("circular", "symmetric", "reflect")),
]
SIDES = [(1, 1), (1, 7), (5, 1), (2, 2), (8, 9), (13, 16), (12, 12)]


def response(w):
    """Some gains of waves of frequencies w, two rows of them."""
    return torch.stack([0.3 + 0.6 * torch.exp(-(w**2) / 2), torch.cos(w)])


def expected(mode, x):
    for dim, N in ((2, x.shape[2]), (3, x.shape[3])):
        w, V = boundary_basis(mode, N)
        A = V * response(w)[:, None, :] @ torch.linalg.inv(V)
        x = torch.einsum("bij,bcjk->bcik" if dim == 2 else "bij,bckj->bcki", A, x)
    return x


@pytest.mark.parametrize(("way", "mode"), WAYS)
def test_a_filter_is_its_matrix(way, mode):
    for H, W in SIDES:
        x = images(2, 3, H, W)
        transform = way(H, W) if way in (Fourier, Cosine) else way(mode, H, W)
        g, constants = [response(w) for w in transform.frequencies()], transform.constants()
        through = transform.back(transform.gains(*g) * transform.forward(x, constants), constants)
        for found in (through, transform.filtered(x, *g, constants)):
            torch.testing.assert_close(found, expected(mode, x), rtol=0, atol=1e-12)
        assert transform.forward(x, constants).ndim == 4  # so that one number for each image broadcasts


def test_the_way_is_chosen_by_size_and_borders():
    chosen = {
        ("circular", 63, 64): Dense,
        ("circular", 64, 78): Fourier,
        ("circular", 128, 178): Folded,  # 178 = 2 * 89
        ("symmetric", 255, 256): Folded,
        ("symmetric", 256, 270): Cosine,
        ("reflect", 1024, 1024): Folded,
        ("reflect", 32, 1024): Dense,
    }
    for (mode, *sides), way in chosen.items():
        assert type(wave_transform(mode, *sides)) is way


def way_of(x, padding_mode="reflect", **arguments):
    D = degrade.make("blur", T=1, padding_mode=padding_mode, **arguments)
    return type(D._filter(x, torch.tensor([1]))[0])


def test_a_short_filter_is_found_in_a_longer_image_and_a_long_one_is_not():
    x = torch.zeros(1, 1, 512, 600)
    assert way_of(x, sigmas=(2.0,)) is Padded
    assert way_of(x[..., :255], sigmas=(2.0,)) is Folded
    assert way_of(x, sigmas=(2.0,), mean_at_T=True) is Folded  # the mean is that of the image, and not of a longer one
    assert way_of(x, cumulative_sigma=(2.0,)) is Padded
    assert way_of(x, cumulative_sigma=(40.0,)) is Folded
    assert way_of(x, cumulative_sigma=(0.2,)) is Folded  # not smooth at the highest frequency, so its taps fade slowly
    two = degrade.make("blur", T=2, cumulative_sigma=(0.2, 2.0))
    assert type(two._filter(x, torch.tensor([1]))[0]) is Folded


def test_the_rounding_of_the_taps_is_not_taken_for_reach(monkeypatch):
    irfft = torch.fft.irfft
    monkeypatch.setattr(torch.fft, "irfft", lambda gains: irfft(gains) + 1e-16)
    x = torch.zeros(1, 1, 259, 256, dtype=torch.float64)
    assert way_of(x, "symmetric", sigmas=(2.0,), kernel_size=5) is Padded
    assert way_of(x, "reflect", sigmas=(2.0,), kernel_size=5) is Padded


def test_beside_the_cosine_transform_a_filter_must_be_shorter():
    smooth, other = torch.zeros(1, 1, 512, 600), torch.zeros(1, 1, 509, 599)
    assert way_of(smooth, "symmetric", cumulative_sigma=(2.0,)) is Padded
    assert way_of(smooth, "symmetric", cumulative_sigma=(7.0,)) is Cosine
    assert way_of(smooth, "symmetric", cumulative_sigma=(2.0,), mean_at_T=True) is Cosine
    assert way_of(other, "symmetric", cumulative_sigma=(7.0,)) is Padded
    assert way_of(other, "circular", cumulative_sigma=(2.0,)) is Folded


LARGE = [
    ({"padding_mode": "circular", "mean_at_T": True}, (2, 64, 66), Fourier),
    ({"cumulative_sigma": (0.4, 1.0, 2.0), "padding_mode": "circular"}, (1, 66, 65), Fourier),
    ({"padding_mode": "symmetric", "mean_at_T": True}, (1, 256, 264), Cosine),
    ({"padding_mode": "reflect"}, (1, 128, 131), Folded),
    ({"padding_mode": "reflect", "kernel_size": 5}, (1, 259, 256), Padded),
    ({"padding_mode": "symmetric", "kernel_size": 5}, (1, 259, 256), Padded),
]


@pytest.mark.parametrize(("arguments", "shape", "way"), LARGE, ids=str)
def test_all_verbs_of_large_images_are_those_of_the_matrices(arguments, shape, way, monkeypatch):
    x, y = images(4, *shape), images(4, *shape, seed=1)
    t, s = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 3])

    def verbs(D, dtype):
        a, b = x.to(dtype), y.to(dtype)
        return D(a, t), D.delta(a, t, s), D.adjoint(a, t), D.prox(a, b, t, None, 0.1), D.invert(a, t, noise=0.2, mean=b)

    D = degrade.make("blur", T=3, **arguments)
    assert type(D._filter(x, t)[0]) is way
    exact, single = verbs(D, torch.float64), verbs(D, torch.float32)
    half, half_expected = D(x.bfloat16(), t), D(x.bfloat16().float(), t).bfloat16()
    for name in ("LEAST_FOURIER", "LEAST_COSINE", "LEAST_FOLDED"):
        monkeypatch.setattr(module, name, 999)
    monkeypatch.setattr(padded_transform, "LEAST_SIDE", 999)
    dense = verbs(degrade.make("blur", T=3, **arguments), torch.float64)
    for a, b, c in zip(exact, single, dense):
        torch.testing.assert_close(a, c, rtol=0, atol=1e-10)
        torch.testing.assert_close(b.double(), c, rtol=0, atol=1e-5)
    torch.testing.assert_close(single[0].double(), dense[0], rtol=0, atol=1e-6)
    assert torch.equal(exact[0][0], x[0])
    assert not exact[1][3].any()
    assert torch.equal(half, half_expected)


@pytest.mark.parametrize(("arguments", "shape", "way"), LARGE, ids=str)
def test_large_images_are_compiled_mapped_and_traced(arguments, shape, way):
    D, x, t = degrade.make("blur", T=3, **arguments), images(2, *shape, dtype=torch.float32), torch.tensor([1, 3])
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, t: D(x, t), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t), D(x, t))
    mapped = torch.func.vmap(lambda x, t: D(x, t))(torch.stack([x, x.flip(0)]), torch.stack([t, t.flip(0)]))
    torch.testing.assert_close(mapped[1], D(x.flip(0), t.flip(0)))
    assert D.delta(x.to("meta"), t.to("meta"), t.to("meta")).shape == x.shape
    grad = torch.func.grad(lambda v: (D(v, t) * x).sum())(x)
    torch.testing.assert_close(grad, D.adjoint(x, t), rtol=0, atol=1e-5)
