"""Training beside other libraries: the processes, what is measured of them, and the tables; see `training.py`."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from typing import Any

from experiments.bench.library_comparison import faster, installed, versions
from experiments.bench.precision_error import of_step
from experiments.bench.process import BenchCase, BenchConfig, interleaved
from experiments.bench.report import table
from experiments.bench.throughput import rate_table, rates
from experiments.bench.training_backends import (
    DIFFUSERS,
    LUCIDRAINS,
    diffusers_loop,
    lucidrains_trainer,
    ours,
    pictures,
    write_pictures,
)
from restore import UNetConfig

__all__ = ["measured", "summary"]

APART = ("difference", "loss", "loss apart", "gradient, relative", "largest", "mean")


def plans(setting: BenchConfig, quick: bool) -> list[BenchCase]:
    """Return the cases whose libraries are installed."""
    low = replace(setting, precision="bfloat16")
    made = [
        *versions(ours, setting, quick),
        BenchCase("lucidrains, float32", lucidrains_trainer, setting, LUCIDRAINS),
        BenchCase("lucidrains, bfloat16", lucidrains_trainer, low, LUCIDRAINS),
        BenchCase("diffusers, float32", diffusers_loop, setting, DIFFUSERS),
        BenchCase("diffusers, bfloat16", diffusers_loop, low, DIFFUSERS),
    ]
    return installed(made, quick)


def measured(network: UNetConfig, options: argparse.Namespace, peak: dict[str, float]) -> dict[str, Any]:
    """Return everything about one network."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        setting = BenchConfig(network, options.batch, str(options.device), options.threads, folder=folder)
        write_pictures(pictures(setting), folder)
        processes = interleaved(plans(setting, options.quick), 2 if options.quick else options.rounds)
    return {
        "network": asdict(network),
        "processes": rates(processes, "step", setting.batch, 3, peak),
        "differences": {title: of_step(setting, fast) for title, fast in faster(setting, options.quick).items()},
    }


def summary(networks: list[dict[str, Any]]) -> str:
    """Return two tables for each network."""
    texts = []
    for net in networks:
        side = net["network"]["image_size"]
        rows = [
            (f"{title}, {side} pixels", *(f"{v:.1e}" if k != "loss" else f"{v:.4f}" for k, v in apart.items()))
            for title, apart in net["differences"].items()
        ]
        texts += [rate_table(f"training, {side} pixels", net["processes"]), table(APART, rows)]
    return "\n\n".join(texts)
