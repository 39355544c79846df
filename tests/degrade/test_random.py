"""Random numbers: the generator that they are drawn from, and the keys that seed a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from degrade.random import fold_seed, rand, randint, randn, randn_like, seeded_generator
from tests.cases import seed

DRAWS = {
    "randn_like": lambda like, generator: randn_like(like, generator),
    "randn": lambda like, generator: randn((5, 7), like, generator),
    "rand": lambda like, generator: rand((5, 7), like, generator),
    "randint": lambda like, generator: randint(1000, (5, 7), like, generator),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_draws_depend_on_their_generator_alone(draw):
    like, state = torch.zeros(5, 7), torch.get_rng_state()
    generator = seed(1)
    first, second = draw(like, generator), draw(like, generator)
    assert torch.equal(draw(like, seed(1)), first)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@every_draw
def test_without_a_generator_draws_come_from_the_global_one(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first, second = draw(torch.zeros(5, 7), None), draw(torch.zeros(5, 7), None)
        torch.manual_seed(3)
        assert torch.equal(draw(torch.zeros(5, 7), None), first)
    assert not torch.equal(first, second)


@every_draw
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_draws_the_numbers_of_full_precision(draw, half):
    like = torch.zeros(5, 7)
    full, halved = draw(like, seed(1)), draw(like.to(half), seed(1))
    assert full.dtype == (torch.int64 if draw is DRAWS["randint"] else torch.float32)
    assert halved.dtype == (half if draw is DRAWS["randn_like"] else full.dtype)
    assert torch.equal(halved, full.to(halved.dtype))


@every_draw
def test_draws_are_made_where_the_generator_is_and_placed_where_the_images_are(draw):
    """Drawn on meta, they would not have advanced the generator."""
    there, here = seed(1), seed(1)
    drawn = draw(torch.zeros(5, 7, device="meta"), there)
    draw(torch.zeros(5, 7), here)
    assert drawn.device.type == "meta"
    assert drawn.shape == (5, 7)
    assert torch.equal(there.get_state(), here.get_state())


@pytest.mark.gpu
@every_draw
def test_a_cpu_generator_gives_every_device_the_same_numbers(draw):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        like = torch.zeros(5, 7, dtype=dtype)
        assert torch.equal(draw(like.to("cuda"), seed(1)).cpu(), draw(like, seed(1)))


def test_draws_have_the_distributions_they_say():
    like = torch.zeros(200, 300, dtype=torch.float64)
    normal, uniform, whole = randn_like(like, seed(0)), rand((200, 300), like, seed(0)), randint(7, (60_000,), like)
    assert normal.dtype == uniform.dtype == torch.float64
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.015
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.006
    assert whole.dtype == torch.int64
    assert (whole.bincount(minlength=7) / 60_000 - 1 / 7).abs().max() < 0.01


keys = st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=4).map(tuple)


@given(keys, keys)
def test_a_key_is_its_seed(first, second):
    assert 0 <= fold_seed(*first) < 2**63
    assert (fold_seed(*first) == fold_seed(*second)) == (first == second)


def test_parts_of_a_key_do_not_run_together():
    alike = [(1, 23), (12, 3), (123,), ("1", 23), ("123",), ("1, 23",), (), ("",), (23, 1)]
    assert len({fold_seed(*key) for key in alike}) == len(alike)


def test_a_key_means_the_same_in_every_process_and_version():
    """Seeds that may never change: a run is resumed by them."""
    assert fold_seed(3, "train", 17) == 8492239712576225772
    assert fold_seed() == 5460801731388113703


def test_equal_keys_give_equal_numbers_and_different_keys_different_ones():
    def numbers(*key):
        return torch.rand(100, generator=seeded_generator("cpu", *key))

    state = torch.get_rng_state()
    assert torch.equal(numbers(3, "train", 17), numbers(3, "train", 17))
    runs = torch.stack([numbers(3, "train", step) for step in range(50)] + [numbers(4, "train", 0), numbers(3, "t", 0)])
    assert torch.pdist(runs).min() > 1
    assert torch.corrcoef(runs).fill_diagonal_(0).abs().max() < 0.5
    assert torch.equal(torch.get_rng_state(), state)
    assert seeded_generator(torch.device("cpu"), 0).device.type == "cpu"


def test_numbers_of_numpy_are_the_same_keys():
    assert fold_seed(np.int64(3), np.str_("train"), np.uint8(17)) == fold_seed(3, "train", 17)
    assert torch.equal(*(torch.rand(4, generator=seeded_generator("cpu", seed, "a")) for seed in (np.int32(3), 3)))
    assert fold_seed(3) != fold_seed("3")


@pytest.mark.parametrize("part", [True, 3.0, None, (3,)], ids=str)
def test_what_is_neither_text_nor_a_whole_number_is_refused(part):
    with pytest.raises(TypeError, match="cannot be part of a key; give a whole number or text"):
        fold_seed(part)
