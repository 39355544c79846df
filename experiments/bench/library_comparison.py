"""A comparison with other libraries: the networks, the settings of ours, and the program around them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from tqdm import tqdm

from experiments.bench.process import BenchCase, BenchConfig, Workloads
from experiments.bench.report import machine, write_report
from experiments.bench.throughput import peaks
from restore import UNetConfig
from restore.precision import has_fast_bfloat16

__all__ = ["compare", "faster", "installed", "networks", "versions"]

Rows = list[dict[str, Any]]
TINY = UNetConfig(
    image_size=16,
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(8,),
    norm_groups=8,
    time_offset=-1,
)
# Half the width of the CIFAR-10 network, and one level less; for 64 pixels a quarter of it.
SMALL = (
    UNetConfig(model_channels=64, channel_mult=(1, 2, 2), time_offset=-1),
    UNetConfig(image_size=64, model_channels=32, channel_mult=(1, 2, 2, 2), time_offset=-1),
)
CIFAR = (UNetConfig(time_offset=-1), UNetConfig(image_size=64, time_offset=-1))


def networks(quick: bool, device: torch.device) -> Sequence[UNetConfig]:
    """Return the networks to compare, by what the machine can do in minutes."""
    return [TINY] if quick else CIFAR if device.type == "cuda" else SMALL


def faster(setting: BenchConfig, quick: bool) -> dict[str, BenchConfig]:
    """Return our faster settings by name: none where bfloat16 is emulated, for which a run would take hours."""
    low = replace(setting, precision="bfloat16", channels_last=True)
    if quick:
        return {"bfloat16": low}
    return {"bfloat16": low, "bfloat16, compiled": replace(low, compiled=True)} if not emulated(low) else {}


def emulated(setting: BenchConfig) -> bool:
    """Whether the device emulates the products of a setting."""
    return setting.precision == "bfloat16" and not has_fast_bfloat16(setting.device)


def versions(build: Callable[[BenchConfig], Workloads], setting: BenchConfig, quick: bool) -> list[BenchCase]:
    """Return ours in plain float32 and in the faster settings."""
    settings = {"float32": setting, **faster(setting, quick)}
    return [BenchCase(f"ours, {name}", build, changed) for name, changed in settings.items()]


def installed(plans: Sequence[BenchCase], quick: bool) -> list[BenchCase]:
    """Return the plans whose libraries are installed; of a quick run, those of others only in float32."""
    kept = [plan for plan in plans if (plan.title.endswith("float32") if quick else not emulated(plan.setting))]
    return [plan for plan in kept if all(find_spec(name.partition(".")[0]) for name in plan.modules)]


def compare(
    name: str,
    measured: Callable[[UNetConfig, argparse.Namespace, dict[str, float]], dict[str, Any]],
    summary: Callable[[Rows], str],
    options: argparse.Namespace,
) -> None:
    """Measure every network, print the tables and write them as JSON; `name` is the program's."""
    torch.set_num_threads(options.threads)
    peak = peaks(options.device, options.quick)
    report: dict[str, Any] = {"quick": options.quick, **machine(options.device), "peak_flops_per_s": peak}
    chosen = networks(options.quick, options.device)
    report["networks"] = [measured(net, options, peak) for net in tqdm(chosen, disable=None)]
    write_report(report, summary(report["networks"]), name, options)
