"""What a degradation adds to a training step and to a sampling step of the network of the demo.

The network is that of `celeba_to_afhq.py` without options: 64 pixels, 16 images a step, bfloat16 where the processor
computes in it. A training step draws z and degrades the batch at mixed severities. A step of Algorithm 2 degrades it
twice, or once where the degradation knows the difference; it is measured with a restorer that costs nothing. All times
are processor times, so that other programs matter less. The images of another set that `interpolation` draws count as
data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import torch
from torch import Tensor

import degrade
from experiments.bench.measure import clock
from experiments.bench.report import table
from restore import FunctionRestorer, Restorer, TrainConfig, Trainer, UNet, UNetConfig
from restore.optimizers import Adam
from restore.precision import choose_precision
from samplers import trajectory

__all__ = ["NETWORK", "measure_shares", "share_table"]

NETWORK = UNetConfig(
    image_size=64,
    patch_size=2,
    model_channels=48,
    channel_mult=(1, 2, 4),
    num_res_blocks=1,
    attention_resolutions=(8,),
    num_heads=4,
    norm_groups=8,
)
TINY = dataclasses.replace(NETWORK, patch_size=4, model_channels=8, channel_mult=(1, 2), attention_resolutions=())
BATCH = 16
AIM = 0.05  # largest share of either step
HEAD = ("degradation", "draw ms", "apply ms", "of a training step", "algorithm2 ms", "of a call of the network")


def measure_shares(quick: bool, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the milliseconds of a training step, of a call of the network, and of every registered degradation.

    Args:
        quick: whether a tiny network is measured.
        rounds: runs of each, of which the median counts.
        device: the device that computes.
    """
    torch.manual_seed(0)
    net = UNet(TINY if quick else NETWORK).to(device).to(memory_format=torch.channels_last)
    x0 = torch.rand(BATCH, 3, NETWORK.image_size, NETWORK.image_size, device=device) * 2 - 1
    R = Restorer(net, degrade.make("gaussian_noise", T=200))
    precision = choose_precision("auto", device)
    config = TrainConfig(batch_size=BATCH, micro_batch_size=None, optimizer=Adam(lr=1e-5), precision=precision)
    steps = Trainer(R, config).run(lambda n, generator: x0[:n])
    step_s = _median_seconds(lambda: next(steps), rounds, device)
    R.precision = precision
    with torch.inference_mode():
        call_s = _median_seconds(lambda: R(x0, torch.full((BATCH,), 100, device=device)), rounds, device)
    rows = {name: _costs(name, x0, rounds) for name in degrade.names()}
    for row in rows.values():
        row["of_step"] = (row["draw_ms"] + row["apply_ms"]) / (1e3 * step_s)
        row["of_call"] = row["algorithm2_ms"] / (1e3 * call_s)
    return {"step_ms": 1e3 * step_s, "call_ms": 1e3 * call_s, "batch": BATCH, "aim": AIM, "rows": rows}


def _costs(name: str, x0: Tensor, rounds: int) -> dict[str, float]:
    """Return the milliseconds of a degradation's draw, of its application, and of Algorithm 2 without the network."""
    device, needs_source = x0.device, "source" in {field.name for field in dataclasses.fields(degrade.get(name))}
    D = degrade.make(name, **({"source": lambda n, generator: x0[:n].flip(0)} if needs_source else {}))
    generator = torch.Generator(device).manual_seed(0)
    t = torch.randint(1, D.T + 1, (BATCH,), generator=generator, device=device)
    with torch.inference_mode():
        z, start = D.draw(x0, generator), D.T // 2 + 1
        x_t = D(x0, degrade.expand_level(start, x0), z)
        known = FunctionRestorer(lambda x_t, t: x0, D)
        works: dict[str, Callable[[], object]] = {
            "draw_ms": lambda: D.draw(x0, generator),
            "apply_ms": lambda: D(x0, t, z),
            "algorithm2_ms": lambda: list(trajectory(known, "algorithm2", x_t, z, [start, start - 1])),
        }
        return {key: 1e3 * _median_seconds(work, 3 * rounds, device) for key, work in works.items()}


def _median_seconds(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Return the median time of a work that has run before: of the processor, or of another device as it passes."""
    work()
    if device.type != "cpu":
        return median(clock(work, device) for _ in range(rounds))
    seconds = []
    for _ in range(rounds):
        start = process_time()
        work()
        seconds.append(process_time() - start)
    return median(seconds)


def share_table(shares: dict[str, Any]) -> str:
    """Return the table of what `measure_shares` found."""
    rows = [
        (
            name,
            f"{row['draw_ms']:.2f}",
            f"{row['apply_ms']:.2f}",
            f"{row['of_step']:.2%}",
            f"{row['algorithm2_ms']:.2f}",
            f"{row['of_call']:.2%}",
        )
        for name, row in shares["rows"].items()
    ]
    said = "training step {step_ms:.0f} ms, call of the network {call_ms:.0f} ms, {batch} images; aim {aim:.0%}"
    return f"{table(HEAD, rows)}\n{said.format(**shares)}"
