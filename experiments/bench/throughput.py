"""Throughput of the processes: images and operations a second, beside each other and beside the machine's peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch

from experiments.bench.measure import matmul_peak
from experiments.bench.process import BenchProcess
from experiments.bench.report import table
from restore.precision import has_fast_bfloat16

__all__ = ["peaks", "rate_table", "rates"]

RIVALS = ("lucidrains", "diffusers")


def peaks(device: torch.device, quick: bool) -> dict[str, float]:
    """Return the operations per second of a large matrix product, by precision, without one that is emulated."""
    side = 256 if quick else 8192 if device.type == "cuda" else 2048
    dtypes = (torch.float32, torch.bfloat16) if quick or has_fast_bfloat16(device) else (torch.float32,)
    with torch.no_grad():
        return {str(dtype).removeprefix("torch."): matmul_peak(device, dtype, side) for dtype in dtypes}


def rates(
    processes: Sequence[BenchProcess], work: str, images: int, passes: int, peak: dict[str, float]
) -> list[dict[str, Any]]:
    """Return a row for each process.

    Args:
        processes: measured ones.
        work: the kind of work that counts.
        images: number of images of one repetition.
        passes: forward passes that an image costs, in operations.
        peak: see `peaks`.
    """
    plain = {c.plan.title: median(c.seconds[work]) for c in processes if c.plan.title.endswith(", float32")}
    rows = []
    for c in processes:
        s, setting = c.seconds[work], c.plan.setting
        speed = c.flops * passes * images / median(s)
        rows.append(
            {
                "process": c.plan.title,
                "images_per_s": images / median(s),
                "range": [images / max(s), images / min(s)],
                "rounds": len(s),
                "times": {r: plain[f"{r}, float32"] / median(s) for r in RIVALS if f"{r}, float32" in plain},
                "forward_flops": c.flops,
                "parameters": c.parameters,
                "flops_per_s": speed,
                "of_peak": speed / peak[setting.precision],
                "peak_mib": c.peak_mib,
                "first_s": c.first_s,
                "setting": {k: v for k, v in asdict(setting).items() if k not in ("network", "folder")},
            }
        )
    return rows


def rate_table(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table under a title."""
    cells = [
        (
            row["process"],
            f"{row['images_per_s']:.2f}",
            "{:.2f}..{:.2f}".format(*row["range"]),
            *(f"{times:.2f}" for times in row["times"].values()),
            f"{row['forward_flops'] / 1e9:.3f}",
            f"{row['parameters']:,}",
            f"{row['flops_per_s'] / 1e9:,.0f}",
            f"{row['of_peak']:.0%}",
            f"{row['peak_mib']:,.0f}",
            f"{row['first_s']:.0f}",
        )
        for row in rows
    ]
    rivals = (f"times {rival}" for rival in rows[0]["times"])
    measure_remaining_detail = ("GFLOP", "parameters", "GFLOP/s", "of peak", "MiB", "first s")
    return table((title, "images/s", "range", *rivals, *measure_remaining_detail), cells)
