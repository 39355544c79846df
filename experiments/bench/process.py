"""Contenders of a benchmark, each in a process of its own.

Contenders then share no allocator, compiled code or global settings (the precision of accelerate is global), and the
memory of each can be measured: the growth of its process, or of its GPU memory, from after its imports until the end.
While one works, the others wait.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from experiments.bench.flops import forward_flops
from experiments.bench.measure import clock, peak_bytes
from restore import UNet, UNetConfig

__all__ = ["BenchCase", "BenchConfig", "BenchProcess", "Workloads", "interleaved"]


@dataclass(frozen=True)
class BenchConfig:
    """What all processes of a comparison have in common, and the precision of one of them."""

    network: UNetConfig
    batch: int
    device: str = "cpu"
    threads: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    compiled: bool = False
    channels_last: bool = False
    steps: int = 10  # of a trajectory
    folder: str = ""  # with pictures

    @property
    def size(self) -> int:
        """Side of the images."""
        return self.network.image_size

    def net(self) -> UNet:
        """Return the network, with random weights in the layers that start at zero as well."""
        torch.manual_seed(0)
        net = UNet(self.network)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and not layer.weight.any():
                layer.reset_parameters()
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return net.to(device=self.device, memory_format=layout)  # type: ignore[call-overload, no-any-return]


class Workloads(NamedTuple):
    """What a process has built: its network, and its kinds of work, each a function of the number of repetitions."""

    net: nn.Module
    works: dict[str, Callable[[int], object]]


class BenchCase(NamedTuple):
    """What one process measures: the title, the function that builds it from its setting, and what it imports."""

    title: str
    build: Callable[[BenchConfig], Workloads]
    setting: BenchConfig
    modules: tuple[str, ...] = ()


@dataclass
class BenchProcess:
    """A process that measures one case, warmed up; `seconds` are lists by kind of work."""

    plan: BenchCase
    seconds: dict[str, list[float]] = field(default_factory=dict)
    parameters: int = 0
    flops: int = 0  # of one forward pass, for one image
    first_s: float = 0.0  # until everything had run once, compilation included
    peak_mib: float = 0.0

    def __post_init__(self) -> None:
        # Not a child of this process, which has grown itself: one of a server that has only imported.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "restore", "experiments.bench.process"])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.plan))
        self._process.start()
        theirs.close()
        self.parameters, self.flops, self.first_s, works = self._receive()
        self.seconds = {work: [] for work in works}

    def measure(self, repetitions: int = 1) -> None:
        """Do each kind of work once more, and note the seconds per repetition."""
        for work, taken in self.seconds.items():
            self._pipe.send((work, repetitions))
            taken.append(self._receive() / repetitions)

    def close(self) -> None:
        """Note the largest memory and end the process."""
        self._pipe.send(None)
        self.peak_mib = self._receive()
        self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.plan.title} ended early") from None
        if isinstance(answer, str):
            raise RuntimeError(f"{self.plan.title} failed:\n{answer}")
        return answer


def interleaved(plans: Sequence[BenchCase], rounds: int, repetitions: int = 1) -> list[BenchProcess]:
    """Return the processes after so many rounds, in each of which every process measures once, one after the other."""
    processes = [BenchProcess(plan) for plan in plans]
    for _ in range(rounds):
        for process in processes:
            process.measure(repetitions)
    for process in processes:
        process.close()
    return processes


def _serve(pipe: Any, plan: BenchCase) -> None:
    for stream in (1, 2):  # progress bars of others
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    warnings.simplefilter("ignore")
    try:
        _work(pipe, plan)
    except Exception:
        pipe.send(traceback.format_exc())
    gc.collect()  # so that loaders of others end their own processes


def _work(pipe: Any, plan: BenchCase) -> None:
    torch.set_num_threads(plan.setting.threads)
    device = torch.device(plan.setting.device)
    for name in plan.modules:
        importlib.import_module(name)
    before = peak_bytes(device)
    ready = plan.build(plan.setting)
    parameters = sum(p.numel() for p in ready.net.parameters())
    flops = forward_flops(ready.net, plan.setting.network.in_channels, plan.setting.size)
    first = sum(clock(lambda work=work: work(2), device) for work in ready.works.values())  # type: ignore[misc]
    pipe.send((parameters, flops, first, list(ready.works)))
    while order := pipe.recv():
        work, repetitions = order
        pipe.send(clock(lambda: ready.works[work](repetitions), device))  # noqa: B023
    pipe.send((peak_bytes(device) - before) / 2**20)
