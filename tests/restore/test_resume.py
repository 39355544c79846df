"""Nothing lost: k steps, a stop, and the rest give what all steps give, bit for bit, wherever the stop falls."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import restore
from restore.data_order import EpochSampler
from samplers import Algorithm2, trajectory
from tests.trainings import Numbered, data, noise, start, states

SAMPLERS = 7  # of 8 images each: 56 of 17, so that the fourth epoch is unfinished


def kinds():
    return {"a source": lambda: data, "a set in epochs": Numbered}


def scrambled():
    """A training like the others, in another state, among other random numbers."""
    training = start(SAMPLERS, seed=0)
    torch.manual_seed(99)
    for p in training.restorer.net.parameters():
        nn.init.normal_(p)
    return training


def picture(training):
    x_T = noise(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        return [visit.x_s for visit in trajectory(training.ema, Algorithm2(), x_T, x_T)][-1]


def on_disk(first, second, folder):
    restore.save(folder, first)
    restore.resume(folder, second)


def in_memory(first, second, folder):
    second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(("stop", "carry"), [(1, on_disk), (3, in_memory), (6, on_disk)])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(kind, stop, carry, tmp_path):
    whole = start(SAMPLERS)
    records = list(whole.run(kinds()[kind]()))

    first = start(SAMPLERS)
    resumed = list(itertools.islice(first.run(kinds()[kind]()), stop))
    second = scrambled()
    carry(first, second, tmp_path)
    assert second.step == stop
    resumed += second.run(kinds()[kind]())  # a new set, which has given nothing yet

    for mine, expected in zip(resumed, records, strict=True):
        assert mine.step == expected.step
        assert mine.lr == expected.lr
        for name in ("loss", "grad_norm", "t", "losses"):
            assert torch.equal(getattr(mine, name), getattr(expected, name))
    assert all(torch.equal(a, b) for a, b in zip(states(second), states(whole), strict=True))
    assert torch.equal(picture(second), picture(whole))


def test_a_run_visits_its_images_by_position():
    """Each step its `batch_size` positions, so that micro-batches of other sizes visit the images in the same order."""
    for size in (4, 2, 8, None):
        numbered = Numbered()
        list(start(SAMPLERS, micro_batch_size=size).run(numbered))
        visited = torch.cat([index for index, _ in numbered.given])
        assert torch.equal(visited, EpochSampler(17, 0).at(0, 8 * SAMPLERS))


def test_what_a_step_draws_does_not_depend_on_the_steps_before():
    early = list(itertools.islice(start(SAMPLERS).run(data), 4))[-1]
    training = start(SAMPLERS)
    training.step = 3
    late = next(training.run(data))
    assert torch.equal(early.t, late.t)
    assert not torch.equal(early.losses, late.losses)


def test_a_checkpoint_may_be_continued_in_another_memory_format(tmp_path):
    """Fused kernels walk through memory: moments laid out unlike their weights would be paired with the wrong ones."""
    first, second = start(SAMPLERS), scrambled()
    second.restorer.net.to(memory_format=torch.channels_last)
    list(itertools.islice(first.run(data), 3))
    on_disk(first, second, tmp_path)
    gradients = [torch.randn_like(p) for p in first.restorer.net.parameters()]
    for training in (first, second):
        for p, gradient in zip(training.restorer.net.parameters(), gradients, strict=True):
            p.grad = torch.empty_like(p).copy_(gradient)
        training.optimizer.step()
    for mine, expected in zip(states(second), states(first), strict=True):
        torch.testing.assert_close(mine, expected)
