"""The order of the data: every epoch a permutation, found by position, and the same whoever asks and in what pieces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from degrade.random import seeded_generator
from restore.data_order import EpochSampler, MapDataset, batch_fetcher
from tests.trainings import Numbered, data

sizes = st.integers(1, 30)


@given(n=sizes, seed=st.integers(0, 9), epoch=st.integers(0, 10**6))
def test_every_epoch_visits_every_image_once(n, seed, epoch):
    assert sorted(EpochSampler(n, seed).at(epoch * n, n).tolist()) == list(range(n))


@given(n=sizes, position=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_the_order_does_not_depend_on_how_it_is_asked_for(n, position, sizes):
    """In one piece, in batches that straddle epochs, or by another object that has seen nothing before."""
    order, pieces, p = EpochSampler(n, 3), [], position
    for size in sizes:
        pieces.append(order.at(p, size))
        p += size
    assert torch.equal(torch.cat(pieces), EpochSampler(n, 3).at(position, sum(sizes)))


def test_epochs_and_seeds_have_orders_of_their_own():
    n = 100
    orders = [EpochSampler(n, seed).at(epoch * n, n) for seed in (0, 1) for epoch in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == 6


def test_the_order_is_the_one_stated():
    n, seed = 7, 5
    whole = torch.cat([torch.randperm(n, generator=seeded_generator("cpu", seed, "epoch", e)) for e in range(4)])
    assert torch.equal(EpochSampler(n, seed).at(3, 22), whole[3:25])


def test_an_epoch_is_permuted_once_while_it_lasts(monkeypatch):
    made = []
    permute = EpochSampler._permuted
    monkeypatch.setattr(EpochSampler, "_permuted", lambda order, epoch: made.append(epoch) or permute(order, epoch))
    order = EpochSampler(10, 0)
    for batch in range(10):
        order.at(4 * batch, 4)
    assert made == [0, 1, 2, 3]


def test_an_indexed_set_is_visited_in_order_and_a_source_is_asked_for_more():
    numbered = Numbered(5)
    assert isinstance(numbered, MapDataset)
    assert not isinstance(data, MapDataset)
    at = batch_fetcher(numbered, seed=2)
    at(3, 4, torch.Generator().manual_seed(0))
    assert torch.equal(numbered.given[0][0], EpochSampler(5, 2).at(3, 4))
    drawn = batch_fetcher(data, seed=2)(3, 4, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, data(4, torch.Generator().manual_seed(0)))


def test_what_is_both_is_visited_in_order():
    class Both(Numbered):
        def __call__(self, n, generator):
            raise AssertionError("drawn with replacement")

    both = Both()
    batch_fetcher(both, 0)(0, 2, None)
    assert torch.equal(both.given[0][0], EpochSampler(17, 0).at(0, 2))


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="holds 0 images"):
        batch_fetcher(Numbered(0), 0)
