"""Drawn pictures: a batch is its rows, a row is one picture at every size, and no two pictures are alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from experiments.data.drawn import DrawnAnimals, DrawnFaces
from experiments.data.drawn.draws import Draws
from tests.cases import seed

each = pytest.mark.parametrize("kind", [DrawnFaces, DrawnAnimals])


def gaps(a, b):
    """Mean absolute difference of every picture of a to every one of b."""
    return torch.cdist(a.flatten(1), b.flatten(1), p=1) / a[0].numel()


@each
@pytest.mark.parametrize("size", [16, 33, 64])
def test_pictures_are_colored_and_fill_the_range(kind, size):
    p = kind(size)(12, seed(0))
    assert p.shape == (12, 3, size, size)
    assert p.dtype == torch.float32
    assert p.min() >= -1
    assert p.max() <= 1
    assert p.isfinite().all()
    assert (p.amax((1, 2, 3)) > 0.6).all()
    assert (p.amin((1, 2, 3)) < -0.3).all()
    assert (p.std(1).mean((1, 2)) > 0.02).all()


@each
def test_the_generator_is_the_only_chance(kind):
    d, state = kind(32), torch.get_rng_state()
    first, again, other = d(5, seed(3)), d(5, seed(3)), d(5, seed(4))
    assert torch.equal(first, again)
    assert (first - other).abs().mean((1, 2, 3)).min() > 0.02
    assert torch.equal(torch.get_rng_state(), state)


@each
def test_a_generator_goes_on_to_new_pictures(kind):
    d, generator = kind(32), seed(0)
    first, second = d(4, generator), d(4, generator)
    assert gaps(first, second).min() > 0.02


@each
def test_without_a_generator_pictures_come_from_the_global_one(kind):
    d = kind(16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        first, second = d(2), d(2)
        torch.manual_seed(7)
        assert torch.equal(d(2), first)
    assert gaps(first, second).min() > 0.02


@each
def test_the_first_pictures_do_not_depend_on_how_many_follow(kind):
    d = kind(64)
    assert torch.equal(d(40, seed(0))[:7], d(7, seed(0)))
    assert d(0, seed(0)).shape == (0, 3, 64, 64)


@each
@pytest.mark.parametrize("size", [33, 64])
def test_a_batch_equals_its_rows_painted_one_by_one(kind, size):
    d, rows = kind(size), torch.rand(9, kind.numbers, generator=seed(1))
    batch = d.paint(rows)
    for i in range(9):
        torch.testing.assert_close(d.paint(rows[i : i + 1])[0], batch[i], rtol=0, atol=1e-6)
    order = torch.randperm(9, generator=seed(2))
    torch.testing.assert_close(d.paint(rows[order]), batch[order], rtol=0, atol=1e-6)


@each
def test_a_row_is_the_same_picture_at_every_size(kind):
    large, small = kind(256)(2, seed(0)), kind(64)(2, seed(0))
    assert (functional.avg_pool2d(large, 4) - small).abs().mean((1, 2, 3)).max() < 0.02
    medium = kind(128)(2, seed(0))
    assert (functional.avg_pool2d(large, 2) - medium).abs().mean((1, 2, 3)).max() < 0.01


@each
def test_painting_never_waits_for_the_device(kind):
    """A tensor on meta has no values, so whatever would look at one raises."""
    for generator in (None, seed(0)):
        p = kind(64, device="meta")(3, generator)
        assert p.device.type == "meta"
        assert p.shape == (3, 3, 64, 64)


@each
def test_pictures_of_a_batch_differ(kind):
    p = kind(64)(40, seed(0))
    assert gaps(p, p).fill_diagonal_(torch.inf).min() > 0.05


def test_faces_are_no_animals():
    """Further from one another than the nearest of a kind, for every picture and for the means."""
    faces, animals = DrawnFaces(64)(40, seed(0)), DrawnAnimals(64)(40, seed(0))
    assert gaps(faces, animals).min() > 0.1
    assert (faces.mean(0) - animals.mean(0)).abs().mean() > 0.1


@each
def test_every_number_read_changes_some_picture_and_the_spare_ones_none(kind):
    d, rows = kind(32), torch.rand(24, kind.numbers, generator=seed(5))
    draws, before = Draws(rows), d.paint(rows)
    d.render(draws)
    assert 10 < draws._used <= kind.numbers
    spare = rows.clone()
    spare[:, draws._used :] = 1 - spare[:, draws._used :]
    assert torch.equal(d.paint(spare), before)
    for k in range(draws._used):
        changed = rows.clone()
        changed[:, k] = (changed[:, k] + 0.5) % 1
        assert not torch.equal(d.paint(changed), before), f"number {k} of {kind.__name__} changes nothing"


@each
@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_are_pictures_too(kind, number):
    p = kind(32).paint(torch.full((1, kind.numbers), number))
    assert p.isfinite().all()
    assert p.std() > 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.floats(0, 1), st.integers(0, 100))
def test_a_color_is_among_the_first_ones_within_reach(count, reach, number):
    names = [f"#{i:02x}{10 * i:02x}00" for i in range(count)]
    color = Draws(torch.rand(50, 1, generator=seed(number))).color(names, reach)
    assert color.shape == (50, 3, 1, 1)
    index = (color[:, 0].flatten() * 255).round()
    assert index.max() <= max(0, min(count - 1, count * reach))
    torch.testing.assert_close(color[:, 1].flatten() * 255, 10 * index)
    assert color[:, 2].eq(0).all()


def test_quantities_have_their_range_and_chance_its_frequency():
    rows = torch.rand(4000, 3, generator=seed(0))
    draws = Draws(rows)
    quantity = draws.between(-2, 6)
    assert quantity.shape == (4000, 1, 1)
    torch.testing.assert_close(quantity.flatten(), rows[:, 0] * 8 - 2)
    assert abs(draws.chance(0.3).mean() - 0.3) < 0.03
    assert set(draws.chance(torch.tensor(0.5)).unique().tolist()) == {0.0, 1.0}
