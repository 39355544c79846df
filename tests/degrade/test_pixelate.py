"""Exact halving of large images, made from the small images of its levels, against the matrices of the levels."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade.operators import pixelate as module
from tests.cases import images

FILTERS = ("bicubic", "bilinear", "area")


def by_matrices(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(module, "LEAST_HALVED", 999)
        return call()


@pytest.mark.parametrize("T", [1, 2, 4])
@pytest.mark.parametrize("filter", FILTERS)
def test_small_images_make_every_level_and_every_change(T, filter, monkeypatch):
    D, x = degrade.make("pixelate", T=T, filter=filter), images(T + 1, 2, 64, 96)
    t = torch.arange(T + 1)
    assert D._by_halves(x)
    assert not D._by_halves(x[:, :, :32])
    expected = by_matrices(monkeypatch, lambda: D(x, t))
    torch.testing.assert_close(D(x, t), expected, rtol=0, atol=1e-12)
    assert torch.equal(D(x, t)[0], x[0])
    y, rho = images(T + 1, 2, 64, 96, seed=1), torch.linspace(1e-6, 2, T + 1, dtype=torch.float64)
    adjoint, prox, limit = by_matrices(
        monkeypatch, lambda: (D.adjoint(x, t), D.prox(x, y, t, None, rho), D.prox(x, y, t, None, 0.0))
    )
    torch.testing.assert_close(D.adjoint(x, t), adjoint, rtol=0, atol=1e-12)
    torch.testing.assert_close(D.prox(x, y, t, None, rho), prox, rtol=0, atol=1e-11)
    torch.testing.assert_close(D.prox(x, y, t, None, 0.0), limit, rtol=0, atol=1e-11)
    assert limit.abs().max() < 20, "what is lost stays as it is in x"
    for s in (t, t.clamp(max=1), t.flip(0), 0 * t):
        change = by_matrices(monkeypatch, lambda s=s: D.delta(x, t, s))
        torch.testing.assert_close(D.delta(x, t, s), change, rtol=0, atol=1e-12)


def test_small_images_are_refused_compiled_mapped_and_traced():
    D, x, t = degrade.make("pixelate", T=3), images(2, 1, 64, 72, dtype=torch.float32), torch.tensor([1, 3])
    with pytest.raises(ValueError, match="x0 is 64 x 68, which 2\\^3 does not divide"):
        D(x[..., :68], t)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, t: D(x, t), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t), D(x, t))
    mapped = torch.func.vmap(lambda x, t: D(x, t))(torch.stack([x, x.flip(0)]), torch.stack([t, t.flip(0)]))
    torch.testing.assert_close(mapped[1], D(x.flip(0), t.flip(0)))
    assert D.delta(x.to("meta"), t.to("meta"), t.to("meta")).shape == x.shape
    grad = torch.func.grad(lambda v: (D(v, t) * x).sum())(x)
    torch.testing.assert_close(grad, D.adjoint(x, t), rtol=0, atol=1e-5)
    compiled = torch.compile(lambda x, t: D.prox(x, -x, t, None, 0.1), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t), D.prox(x, -x, t, None, 0.1))
    half = x.bfloat16()
    assert torch.equal(D(half, t), D(half.float(), t).bfloat16())
