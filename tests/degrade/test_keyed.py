"""Keys: equal keys give equal seeds, whatever type a number has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from degrade.random import fold_seed, seeded_generator


def test_equal_keys_give_equal_seeds():
    assert fold_seed(np.int64(3), np.str_("train"), np.uint8(17)) == fold_seed(3, "train", 17)
    assert torch.equal(*(torch.rand(4, generator=seeded_generator("cpu", seed, "a")) for seed in (np.int32(3), 3)))
    assert fold_seed(3) != fold_seed("3")


def test_seeds_are_what_they_were():
    """A resumed training goes on with the numbers it began with."""
    assert fold_seed(3, "train", 17) == 8492239712576225772


@pytest.mark.parametrize("part", [True, 3.0, None, (3,)], ids=str)
def test_what_is_neither_text_nor_a_whole_number_is_refused(part):
    with pytest.raises(TypeError, match="cannot be part of a key; give a whole number or text"):
        fold_seed(part)
