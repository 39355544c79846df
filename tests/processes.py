"""What each of the processes of tests/restore/test_distributed.py does: python -m tests.processes FOLDER."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import torch

import restore
from restore.distributed import SingleProcess, init_distributed
from tests.trainings import Numbered, start, states

SAMPLERS, STOP = 6, 4  # 48 of 72 positions in a set of 17: in the middle of its third epoch


def begin(processes=SingleProcess(), **changes):
    return start(SAMPLERS, processes=processes, **{"batch_size": 12, "micro_batch_size": 3} | changes)


def outcome(training, data, steps=SAMPLERS):
    """Take the steps that are left; return all there is to compare."""
    records = list(itertools.islice(training.run(data), steps - training.step))
    told = [(r.step, r.loss, r.grad_norm, r.t, r.losses) for r in records]
    return {"states": list(states(training)), "told": told, "given": data.given}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    devices = init_distributed("cpu")
    results = {"whole": outcome(begin(devices), Numbered()), "pair": outcome(begin(devices, batch_size=6), Numbered())}
    results["aligned"] = list(states(begin(devices, seed=devices.rank)))

    first = begin(devices)
    outcome(first, Numbered(), STOP)
    restore.save(folder / "by-two", first)  # one of them writes
    results["flags"] = [first.any_rank(first.rank == 1), first.any_rank(False)]  # which also waits for the checkpoint

    for name in ("by-one", "by-two"):
        second = begin(devices, seed=5)
        second.config = first.config
        restore.resume(folder / name, second)
        results[name] = outcome(second, Numbered())

    os.environ["ACCELERATE_USE_FSDP"] = "true"
    sharded = begin(init_distributed("cpu"), seed=5)
    sharded.config = first.config
    slices = sum(p.to_local().numel() for p in sharded.restorer.net.parameters())
    restore.resume(folder / "by-one", sharded)
    results["sharded"] = outcome(sharded, Numbered())
    results["share"] = slices / sum(p.numel() for p in sharded.ema.parameters())
    torch.save(results, folder / f"rank-{first.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
