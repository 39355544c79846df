"""Measuring: time of things run in turn, and memory of a thing run alone.

Time: other programs slow this one down for seconds on end, so what is compared runs in turn, round after round, and the
median counts. Memory on a CPU: a fresh process loads everything, runs once, and reports by how much its largest
resident size grew (`ru_maxrss`); that counts whatever was touched, by whichever library, and the tables as well. On a
GPU it is what PyTorch's allocator says.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any, Literal

import torch

from experiments.bench.cases import Case

__all__ = ["clock", "in_turn", "matmul_peak", "peak_bytes", "peak_mib", "ratio"]

Workload = Callable[[], Any]


def clock(workload: Workload, device: torch.device) -> float:
    """Return the seconds that `workload` takes."""
    _finish(device)
    start = perf_counter()
    workload()
    _finish(device)
    return perf_counter() - start


def in_turn(
    workloads: Sequence[tuple[Workload, int]], rounds: int, budget: float, device: torch.device
) -> list[list[float]]:
    """Return the seconds of each workload; they run in turn, each as often in a round as the number beside it.

    Args:
        workloads: workloads that ran before, each with its number of repetitions.
        rounds: largest number of rounds.
        budget: seconds after which no further round starts; at least two are run.
        device: the device that computes them.
    """
    times: list[list[float]] = [[] for _ in workloads]
    for done in range(rounds):
        if done >= 2 and sum(map(sum, times)) > budget:
            break
        for taken, (workload, repetitions) in zip(times, workloads):
            taken += [clock(workload, device) for _ in range(repetitions)]
    return times


def ratio(one: Workload, other: Workload, pairs: int, budget: float, device: torch.device) -> tuple[float, int]:
    """Return the median of time(one) / time(other) over pairs of runs, and the number of pairs.

    The two follow each other at once, and which goes first alternates.
    """
    clock(one, device), clock(other, device)
    ratios: list[float] = []
    start = perf_counter()
    while len(ratios) < pairs and (len(ratios) < 5 or perf_counter() - start < budget):
        first, second = (one, other) if len(ratios) % 2 else (other, one)
        a, b = clock(first, device), clock(second, device)
        ratios.append(a / b if first is one else b / a)
    return median(ratios), len(ratios)


def peak_mib(case: Case, side: Literal["ours", "naive"], device: torch.device, threads: int) -> float:
    """Return by how many MiB the first training batch of one side makes a fresh process grow."""
    # Not a child of this process, which has grown itself: one of a server that has only imported.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "degrade"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report_growth, args=(sender, case, side, str(device), threads))
    process.start()
    sender.close()
    try:
        grown: float = receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process that measures the memory of {case.title}, {side}, did not report") from None
    finally:
        process.join()
    return grown


def _report_growth(sender: Any, case: Case, side: str, name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    device = torch.device(name)
    small = case.small().batch(device)  # loads what is loaded on first use
    small.ours() if side == "ours" else small.naive()()
    batch = case.batch(device)
    before = peak_bytes(device)
    x_t = batch.ours() if side == "ours" else batch.naive()()
    sender.send((peak_bytes(device) - before) / 2**20)
    assert x_t.shape == batch.x0.shape


def matmul_peak(device: torch.device, dtype: torch.dtype, side: int, repeats: int = 5) -> float:
    """Return the most floating-point operations per second reached in products of two side x side matrices.

    The product is written both as one and as a 1x1 convolution, which goes to another library on a CPU, often a faster.
    """
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    image, kernel = a.view(1, side, -1, 32), b.view(side, side, 1, 1)
    ways: tuple[Workload, Workload] = (lambda: a @ b, lambda: torch.conv2d(image, kernel))
    seconds = [min(clock(way, device) for _ in range(repeats + 1)) for way in ways]
    return 2 * side**3 / min(seconds)


def peak_bytes(device: torch.device) -> int:
    """Return the most memory this process has held so far: on a GPU of its allocator, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
