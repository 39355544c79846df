"""Keys: equal keys give equal seeds, whatever type a number has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from degrade.seeding import key_seed, keyed


def test_equal_keys_give_equal_seeds():
    assert key_seed(np.int64(3), np.str_("train"), np.uint8(17)) == key_seed(3, "train", 17)
    assert torch.equal(*(torch.rand(4, generator=keyed("cpu", seed, "a")) for seed in (np.int32(3), 3)))
    assert key_seed(3) != key_seed("3")


def test_seeds_are_what_they_were():
    """A resumed training goes on with the numbers it began with."""
    assert key_seed(3, "train", 17) == 8492239712576225772


@pytest.mark.parametrize("part", [True, 3.0, None, (3,)], ids=str)
def test_what_is_neither_text_nor_a_whole_number_is_refused(part):
    with pytest.raises(TypeError, match="cannot be part of a key; give a whole number or text"):
        key_seed(part)
