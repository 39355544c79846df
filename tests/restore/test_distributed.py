"""Two processes on a CPU do what one does: same batches, same weights, each other's checkpoints."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import restore
from restore.distributed import SingleProcess, init_distributed
from tests.processes import SAMPLERS, STOP, begin, outcome
from tests.trainings import Numbered, states

ROOT = Path(__file__).parents[2]


def launched(folder, count=2):
    """Run tests/processes.py as `torchrun` would, in less time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-W", "error", "-m", "tests.processes", str(folder)]
    started = []
    for rank in range(count):
        own = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **own}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, errors
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.fixture(scope="module")
def one():
    return {"whole": outcome(begin(), Numbered()), "pair": outcome(begin(batch_size=6), Numbered())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder):
    training = begin()
    outcome(training, Numbered(), STOP)
    restore.save(folder / "by-one", training)
    return launched(folder)


def difference(a, b):
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


def test_two_processes_see_the_global_batches_of_one(one, two):
    """In turn, each micro-batch once; and every process is told of all of them."""
    shares = [result["whole"]["given"] for result in two]
    together = [micro_batch for turn in zip(*shares, strict=True) for micro_batch in turn]
    for (index, batch), (expected, images) in zip(together, one["whole"]["given"], strict=True):
        assert torch.equal(index, expected)
        assert torch.equal(batch, images)
    for result in two:
        for (_, *_, t, losses), (_, *_, t_one, losses_one) in zip(result["whole"]["told"], one["whole"]["told"]):
            assert torch.equal(t, t_one)
            torch.testing.assert_close(losses, losses_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "tolerance"), [("whole", 1e-6), ("pair", 0)])
def test_two_processes_end_with_the_weights_of_one(one, two, name, tolerance):
    """Where each has one micro-batch there is but one order to add them in, and no difference at all."""
    assert difference(two[0][name]["states"], one[name]["states"]) <= tolerance
    for mine, expected in zip(two[0][name]["told"], one[name]["told"], strict=True):
        torch.testing.assert_close(torch.stack(mine[1:3]), torch.stack(expected[1:3]), rtol=1e-5, atol=1e-6)


def test_all_processes_end_with_the_same_state_bit_for_bit(two):
    for name in ("whole", "pair", "by-one", "by-two"):
        assert difference(two[0][name]["states"], two[1][name]["states"]) == 0


def test_processes_that_begin_with_other_weights_are_given_those_of_the_first(two):
    assert difference(two[0]["aligned"], two[1]["aligned"]) == 0
    assert difference(two[1]["aligned"], list(states(begin(seed=0)))) == 0
    assert difference(two[1]["aligned"], list(states(begin(seed=1)))) > 0


def test_two_processes_resume_what_two_saved_bit_for_bit(two):
    """In the middle of an epoch, from the files of one of them, into networks of other weights."""
    for result in two:
        assert difference(result["by-two"]["states"], result["whole"]["states"]) == 0
        assert [told[0] for told in result["by-two"]["told"]] == [5, 6]


def test_two_processes_resume_what_one_saved_and_one_what_two_saved(one, two, folder):
    assert difference(two[0]["by-one"]["states"], one["whole"]["states"]) <= 1e-6
    training = begin()
    assert restore.resume(folder / "by-two", training) == STOP
    assert difference(outcome(training, Numbered())["states"], one["whole"]["states"]) <= 1e-6


def test_a_flag_raised_in_one_process_is_seen_in_all(two):
    assert [result["flags"] for result in two] == [[True, False]] * 2


def test_micro_batches_that_cannot_be_shared_evenly_are_refused():
    class Three(SingleProcess):
        world_size = 3

    with pytest.raises(
        ValueError,
        match=r"batch_size 12 .* among 3 processes in .* of 3 images; use micro_batch_size 2",
    ):
        begin(Three())


def test_sharded_weights_are_those_of_one_process(one, two):
    """Each holds half of every weight, and saves and averages all of it."""
    for result in two:
        assert difference(result["sharded"]["states"], one["whole"]["states"]) <= 1e-6
        assert 0.4 < result["share"] < 0.6


def test_deepspeed_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match=r"DeepSpeed.*launch without it"):
        init_distributed("cpu")


def test_several_processes_without_accelerate_are_told_what_to_install(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"accelerate.*\[devices\]"):
        init_distributed("cpu")


def test_alone_nothing_is_needed(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    training = begin(init_distributed("cpu"))
    assert (training.rank, training.world_size, training.any_rank(True), training.any_rank(False)) == (
        0,
        1,
        True,
        False,
    )
    assert len(list(itertools.islice(training.run(Numbered()), SAMPLERS))) == SAMPLERS
    assert len(list(states(training))) > 0
