"""Training images per second, beside lucidrains' trainer and the diffusers example, in one run.

    python experiments/bench/training.py [--out FILE] [--rounds N] [--batch N] [--threads N] [--device cpu] [--quick]

Every library (`experiments.bench.training_backends`) has a process of its own; they take their steps in turn, and the
median round counts. Columns: images a second, with the range over the rounds; how many times that is of each other
library in float32; operations of a forward pass, which are matched, and parameters; operations a second (a step is
three forward passes) and their share of the largest matrix product's in the same precision, measured in this run;
memory, by which the process grew, compiler included; seconds until everything had run once.

Then what the fast settings change, on random weights and one batch: the loss, and the gradient of all weights.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, replace
from typing import Any

from experiments.bench.library_comparison import compare, faster, installed, versions
from experiments.bench.precision_error import of_step
from experiments.bench.process import BenchCase, BenchConfig, interleaved
from experiments.bench.report import parser, table
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

__all__ = ["main"]

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


def main(argv: list[str] | None = None) -> None:
    """Measure every network, print the tables and write them as JSON."""
    command = parser("Time training steps beside other libraries.", "training")
    command.add_argument("--rounds", type=int, default=7, help="turns of each process")
    command.add_argument("--batch", type=int, default=16, help="images a step; lucidrains takes no fewer than 16")
    compare(command, measured, summary, argv)


if __name__ == "__main__":
    main()
