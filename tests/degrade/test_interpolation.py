"""Interpolation: where partner images come from, and how they are paired."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import degrade
from degrade.operators.interpolation import pair
from tests.cases import images, partners, seed


def test_interpolation_without_a_source_says_how_to_give_one():
    D = degrade.make("interpolation")
    with pytest.raises(ValueError, match=r"no source to draw partners from; .*make\('interpolation', source=\.\.\.\)"):
        D.draw(images(2, 3, 4, 4))
    x0 = images(2, 3, 4, 4)
    assert torch.equal(D(x0, torch.tensor([0, 0]), -x0), x0)


@pytest.mark.parametrize("given_shape", [(2, 1, 4, 4), (2, 3, 8, 8), (1, 3, 4, 4), (3, 4, 4)], ids=str)
@pytest.mark.parametrize("coupling", ["independent", "optimal"])
def test_partners_of_another_shape_are_refused(given_shape, coupling):
    D = degrade.make("interpolation", coupling=coupling, source=lambda n, generator: torch.zeros(given_shape))
    with pytest.raises(ValueError, match="interpolation: ") as caught:
        D.draw(images(2, 3, 4, 4))
    assert str(given_shape) in str(caught.value)
    assert "(2, 3, 4, 4)" in str(caught.value)


def test_partners_come_from_the_source_with_the_generator_in_the_precision_of_x0():
    asked = []

    def source(n, generator):
        asked.append(n)
        return partners(3, 4, 4)(n, generator)

    D, x0 = degrade.make("interpolation", source=source), images(5, 3, 4, 4, dtype=torch.float32)
    z = D.draw(x0, seed(3))
    assert asked == [5]
    assert torch.equal(z, partners(3, 4, 4)(5, seed(3)).float())


def squares(x0, z):
    """Total squared distance of the pairs."""
    return (x0 - z).double().square().sum().item()


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_the_optimal_coupling_is_the_best_of_all_permutations(n, number):
    x0, z = images(n, 2, 3, 3, seed=number), 2 * images(n, 2, 3, 3, seed=number + 1) + 0.5
    found = pair("optimal", x0, z)
    least = min(squares(x0, z[list(order)]) for order in itertools.permutations(range(n)))
    assert squares(x0, found) == pytest.approx(least, rel=1e-12)
    assert sorted(found.flatten(1).tolist()) == sorted(z.flatten(1).tolist())


def test_the_optimal_coupling_of_a_shuffled_batch_undoes_the_shuffle():
    x0 = images(16, 3, 4, 4)
    order = torch.randperm(16, generator=seed(0))
    D = degrade.make("interpolation", coupling="optimal", source=lambda n, generator: x0[order] + 0.01)
    assert torch.equal(D.draw(x0), x0 + 0.01)
    assert D.draw(x0.bfloat16()).dtype == torch.bfloat16


def test_the_independent_coupling_keeps_the_order():
    x0, z = images(5, 3, 4, 4), images(5, 3, 4, 4, seed=1)
    assert torch.equal(pair("independent", x0, z), z)
    D = degrade.make("interpolation", source=lambda n, generator: z)
    assert D.coupling == "independent"
    assert torch.equal(D.draw(x0), z)


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    x0 = images(2, 1, 2, 2)
    assert pair("independent", x0, -x0) is not None
    with pytest.raises(ImportError, match=r"'optimal' needs scipy: pip install 'degrade-restore\[optimal\]'"):
        pair("optimal", x0, -x0)
