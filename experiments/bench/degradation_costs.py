"""The cost of D(x0, t) beside the naive loop: what is measured, and the tables; see `degradations.py`."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from tqdm import tqdm

from degrade.functional import padded_transform, wave_transform
from experiments.bench.cases import CASES, Batch, Case
from experiments.bench.measure import clock, in_turn, peak_mib, ratio
from experiments.bench.report import machine, table, write_report
from experiments.bench.shares import measure_shares, share_table

__all__ = ["measure_degradations"]

BUDGET = 20.0  # seconds of timing per case, though not less than two rounds
LARGE, LARGE_AIM = 1024, 4  # pixels of the side of a large image, and how many times faster than matrices
HEAD = (
    "case",
    "batch",
    "ours ms",
    "naive ms",
    "times",
    "aim",
    "t=T/t=1",
    "delta/D",
    "MiB ours",
    "MiB naive",
    "difference",
    "rounds",
)
REVERSE_HEAD = ("trajectory", "steps ours", "steps naive", "ours ms", "naive ms", "times", "aim")
LARGE_HEAD = ("blur of one image", "pixels", "times faster than matrices", "delta", "aim", "delta/D", "difference")


def timed(batch: Batch, repeats: int) -> dict[str, Any]:
    """Return the costs of both sides for one training batch, and how far their results are apart."""
    device = batch.x0.device
    naive, found = batch.naive(), batch.x0
    (batch._replace(t=batch.t.clamp(max=2))).naive()()  # warm, without an hour's work

    def loop() -> None:
        nonlocal found
        found = naive()

    batch.ours()
    ours_s, naive_s = in_turn([(batch.ours, 5), (loop, 1)], repeats, BUDGET, device)
    last, pairs = ratio(batch.at(batch.D.T).ours, batch.at(1).ours, 40 * repeats, BUDGET / 16, device)
    change, _ = ratio(batch.change, batch.ours, 20 * repeats, BUDGET / 16, device)
    return {
        "largest_t": int(batch.t.max()),
        "ours_ms": 1e3 * median(ours_s),
        "naive_ms": 1e3 * median(naive_s),
        "times_faster": median(naive_s) / median(ours_s),
        "rounds": len(naive_s),
        "last_over_first": last,
        "last_over_first_pairs": pairs,
        "delta_over_apply": change,
        "difference": (batch.ours() - found).abs().max().item(),
    }


def reverse_costs(batch: Batch) -> dict[str, Any]:
    """Return the costs of both sides over a trajectory from T to 0, once each, ours before and after."""
    D, x0, z, device = batch.D, batch.x0, batch.z, batch.x0.device
    levels = batch.levels()

    def ours() -> None:
        for t in range(D.T, 0, -1):
            D.delta(x0, batch.at(t).t, batch.at(t - 1).t, z)

    def naive() -> None:
        for t in range(D.T, 0, -1):
            x_t, x_s = (deque(islice(levels(), level + 1), maxlen=1)[0] for level in (t, t - 1))
            _ = x_s - x_t

    before, loop, after = (clock(side, device) for side in (ours, naive, ours))
    ours_s = (before + after) / 2
    steps = {"ours_steps": D.T, "naive_steps": D.T**2}
    return {**steps, "ours_ms": 1e3 * ours_s, "naive_ms": 1e3 * loop, "times_faster": loop / ours_s}


def measured(case: Case, repeats: int, threads: int, device: torch.device) -> dict[str, Any]:
    """Return everything about one case."""
    peaks = {f"peak_{side}_mib": peak_mib(case, side, device, threads) for side in ("ours", "naive")}
    batch = case.batch(device)
    setting = {"case": case.title, "degradation": case.name, "arguments": batch.D.arguments, "aim": case.aim}
    shape = {"shape": list(batch.x0.shape)}
    return {
        **setting,
        **shape,
        **timed(batch, repeats),
        **peaks,
        "trajectory": reverse_costs(batch) | {"aim": case.trajectory_aim} if case.trajectory_aim else None,
    }


def large_costs(padding_mode: str, side: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return how much faster the blur of one large image is than products of matrices, for images and for changes."""
    case = Case("blur", "blur", {"T": 50, "padding_mode": padding_mode}, side, 1)
    fast, dense = case.batch(device), case.batch(device)  # each with tables of its own

    def by_matrices(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        least: dict[str, Any] = dict.fromkeys(("LEAST_FOURIER", "LEAST_FOLDED", "LEAST_COSINE"), side + 1)
        patched = patch.multiple(wave_transform, **least)(work)
        unpadded: Callable[[], Tensor] = patch.object(padded_transform, "LEAST_SIDE", side + 1)(patched)
        return unpadded

    pairs = 5 * repeats
    return {
        "padding_mode": padding_mode,
        "side": side,
        "times_faster": ratio(by_matrices(dense.ours), fast.ours, pairs, BUDGET / 8, device)[0],
        "times_faster_delta": ratio(by_matrices(dense.change), fast.change, pairs, BUDGET / 8, device)[0],
        "delta_over_apply": ratio(fast.change, fast.ours, pairs, BUDGET / 8, device)[0],
        "difference": (fast.ours() - by_matrices(dense.ours)()).abs().max().item(),
    }


def summary(report: dict[str, Any]) -> str:
    """Return the tables."""
    cases = report["cases"]
    rows = [
        (
            f"{c['case']}, T = {c['arguments']['T']}",
            "x".join(map(str, c["shape"])),
            f"{c['ours_ms']:.2f}",
            f"{c['naive_ms']:,.1f}",
            f"{c['times_faster']:,.1f}",
            f"{c['aim']:,}" if c["aim"] else "-",
            f"{c['last_over_first']:.3f}",
            f"{c['delta_over_apply']:.2f}",
            f"{c['peak_ours_mib']:.1f}",
            f"{c['peak_naive_mib']:,.1f}",
            f"{c['difference']:.1e}",
            str(c["rounds"]),
        )
        for c in cases
    ]
    reverse_rows = [
        (f"{c['case']}, T = {c['arguments']['T']}", *(f"{w[k]:,}" for k in ("ours_steps", "naive_steps")),
         f"{w['ours_ms']:.1f}", f"{w['naive_ms']:,.1f}", f"{w['times_faster']:,.1f}", str(w["aim"]))
        for c in cases if (w := c["trajectory"])
    ]  # fmt: skip
    large_rows = [
        (c["padding_mode"], str(c["side"]), f"{c['times_faster']:.1f}", f"{c['times_faster_delta']:.1f}",
         str(LARGE_AIM), f"{c['delta_over_apply']:.2f}", f"{c['difference']:.1e}")
        for c in report["large"]
    ]  # fmt: skip
    tables = (table(HEAD, rows), table(REVERSE_HEAD, reverse_rows), table(LARGE_HEAD, large_rows))
    return "\n\n".join([*tables, share_table(report["shares"])])


def measure_degradations(options: argparse.Namespace) -> None:
    """Measure every case, print the tables and write them as JSON."""
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {"quick": options.quick, **machine(options.device)}
    report |= {"cases": [], "large": []}
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for case in tqdm(CASES, disable=None):
            small = case.small() if options.quick else case
            report["cases"].append(measured(small, options.repeats, options.threads, options.device))
        for padding_mode in ("circular", "symmetric", "reflect"):
            side = 64 if options.quick else LARGE
            report["large"].append(large_costs(padding_mode, side, options.repeats, options.device))
    report["shares"] = measure_shares(options.quick, options.repeats, options.device)
    write_report(report, summary(report), "degradations", options)
