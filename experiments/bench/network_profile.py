"""The time of the network by kinds of operation: the passes, the profiler and the table; see `network.py`."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from time import process_time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from experiments.bench.measure import clock
from experiments.bench.report import machine, table, write_report
from restore import UNet, UNetConfig
from restore.precision import has_fast_bfloat16

__all__ = ["profile_network"]

NETWORK = UNetConfig(model_channels=64, channel_mult=(1, 2, 2))
TINY = UNetConfig(
    image_size=16, model_channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8,), norm_groups=8
)
# A kind is the first whose words an operation's name holds.
KINDS = {
    "convolution": ("conv", "mkldnn_convolution"),
    "attention": ("attention", "softmax", "bmm"),
    "linear": ("addmm", "aten::mm", "linear"),
    "group norm": ("group_norm",),
    "SiLU": ("silu",),
    "sums": ("aten::add", "aten::sum"),
    "copies": ("copy", "cat", "contiguous", "upsample", "pad", "fill"),
}


def kind_of(operation: str) -> str:
    """Return the kind of an operation by its name."""
    return next((kind for kind, words in KINDS.items() if any(word in operation for word in words)), "the rest")


def own_share(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return the share of each kind of operation in the time that all take by themselves."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as record:
        work()
    taken: Counter[str] = Counter()
    for event in record.key_averages():
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        taken[kind_of(event.key)] += own
    return {kind: own / taken.total() for kind, own in taken.items()}


def processor_s(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `work` keeps a CPU busy, or takes on another device."""
    if device.type != "cpu":
        return clock(work, device)
    start = process_time()
    work()
    return process_time() - start


def measured(network: UNetConfig, low: bool, last: bool, batch: int, device: torch.device, rounds: int) -> list[Any]:
    """Return the rows of one precision and layout: forward, and a training step's two passes."""
    torch.manual_seed(0)
    layout = torch.channels_last if last else torch.contiguous_format
    net = UNet(network).to(device=device, memory_format=layout)  # type: ignore[call-overload]
    x = torch.randn(batch, network.in_channels, network.image_size, network.image_size, device=device).to(
        memory_format=layout
    )
    t = torch.arange(1, batch + 1, device=device)

    def forward() -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            return net(x, t)

    def step() -> None:
        forward().float().square().mean().backward()

    rows = []
    for name, work in (("forward", torch.no_grad()(forward)), ("training step", step)):
        work()
        ms = 1e3 * min(processor_s(work, device) for _ in range(rounds))
        setting = f"{name}, {'bfloat16' if low else 'float32'}, {'channels_last' if last else 'contiguous'}"
        rows.append({"setting": setting, "ms": ms, "kinds": own_share(work, device)})
    return rows


def summary(rows: list[dict[str, Any]], before: dict[str, dict[str, Any]]) -> str:
    """Return the table, with earlier rows, by their setting, in front of those of now."""
    kinds = [*KINDS, "the rest"]
    lines = []
    for row in rows:
        for version, some in (("before", before.get(row["setting"])), ("", row)):
            if some:
                shares = (f"{some['kinds'].get(kind, 0):.1%}" for kind in kinds)
                lines.append((f"{row['setting']} {version}", f"{some['ms']:.0f}", *shares))
    return table(("where the time goes", "ms", *kinds), lines)


def profile_network(options: argparse.Namespace) -> None:
    """Profile every setting, print the table and write it as JSON."""
    torch.set_num_threads(options.threads)
    device, network = options.device, TINY if options.quick else NETWORK
    report: dict[str, Any] = {"quick": options.quick, **machine(device), "network": asdict(network), "batch": 16}
    rounds = 1 if options.quick else options.rounds
    precisions = (False, True) if options.quick or has_fast_bfloat16(device) else (False,)
    settings = [(low, last) for low in precisions for last in (False, True)]
    report["rows"] = [row for low, last in settings for row in measured(network, low, last, 16, device, rounds)]
    if options.before:
        report["before"] = json.loads(options.before.read_text())["rows"]
    before = {row["setting"]: row for row in report.get("before", [])}
    write_report(report, summary(report["rows"], before), "network", options)
