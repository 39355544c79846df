"""Sampling beside other libraries: the processes, what is measured of them, and the tables; see `sampling.py`."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from experiments.bench.library_comparison import faster, installed, versions
from experiments.bench.precision_error import of_trajectory
from experiments.bench.process import BenchCase, BenchConfig, BenchProcess, interleaved
from experiments.bench.report import table
from experiments.bench.sampling_backends import diffusers_pipeline, ours
from experiments.bench.throughput import rate_table, rates
from restore import UNetConfig

__all__ = ["measured", "summary"]

OUTSIDE = ("outside the network", "loop ms/step", "network ms/step", "share outside")
MS = ("loop_ms", "network_ms")
APART = ("difference", "step, largest", "step, mean", "end, largest", "end, mean")


def plans(setting: BenchConfig, quick: bool) -> list[BenchCase]:
    """Return the cases whose libraries are installed."""
    low = replace(setting, precision="bfloat16")
    made = [
        *versions(ours, setting, quick),
        BenchCase("diffusers, float32", diffusers_pipeline, setting, ("diffusers",)),
        BenchCase("diffusers, bfloat16", diffusers_pipeline, low, ("diffusers",)),
    ]
    return installed(made, quick)


def outside(process: BenchProcess) -> dict[str, Any]:
    """Return the share of the time of a trajectory that the network does not take."""
    steps = process.plan.setting.steps
    whole, network = (process.seconds[work] for work in ("trajectory", "network"))
    # Each round's pair of neighbors is compared: what slows the machine down slows both.
    share = median(1 - n / w for w, n in zip(whole, network))
    return {
        "process": process.plan.title,
        "loop_ms": 1e3 * median(whole) / steps,
        "network_ms": 1e3 * median(network) / steps,
        "share_outside": share,
    }


def measured(network: UNetConfig, options: argparse.Namespace, peak: dict[str, float]) -> dict[str, Any]:
    """Return everything about one network."""
    steps = 2 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as folder:
        setting = BenchConfig(network, options.batch, str(options.device), options.threads, steps=steps, folder=folder)
        processes = interleaved(plans(setting, options.quick), 2 if options.quick else options.rounds)
    return {
        "network": asdict(network),
        "steps": steps,
        "processes": rates(processes, "trajectory", setting.batch, steps, peak),
        "outside": [outside(c) for c in processes if "network" in c.seconds],
        "differences": {title: of_trajectory(setting, fast) for title, fast in faster(setting, options.quick).items()},
    }


def summary(networks: list[dict[str, Any]]) -> str:
    """Return three tables for each network."""
    texts = []
    for net in networks:
        pixels = f"{net['network']['image_size']} pixels"
        loops = [
            (
                f"{o['process']}, {pixels}",
                f"{o['loop_ms']:.2f}",
                f"{o['network_ms']:.2f}",
                f"{o['share_outside']:.1%}",
            )
            for o in net["outside"]
        ]
        apart = [
            (f"{title}, {pixels}", *(f"{value:.1e}" for value in values.values()))
            for title, values in net["differences"].items()
        ]
        title = f"{net['steps']} steps, {pixels}"
        texts += [rate_table(title, net["processes"]), table(OUTSIDE, loops), table(APART, apart)]
    return "\n\n".join(texts)
