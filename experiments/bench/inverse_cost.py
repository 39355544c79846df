"""What the adjoint, the proximal map and the linear inverse cost, in applications of the degradation itself.

    python experiments/bench/inverse_cost.py --out experiments/results/inverse-cost-cpu.json

Processor time of one thread, which other programs on the machine change little; the three and D itself run in turn, and
the medians of all rounds are divided. Severities are mixed, images have three channels. Conjugate gradients, which
motion blur under reflected borders and compositions take, are counted at 32 pixels only: their number of applications
depends little on the size.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import Field

from degrade.command_line import IntList, Options, explicit_values, run_main, validated
from experiments.run.folder import write_json

if TYPE_CHECKING:
    from torch import Tensor

    import degrade

__all__ = ["Config", "cost", "main"]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "blur, circular": ("blur", {"padding_mode": "circular"}),
    "blur, symmetric": ("blur", {"padding_mode": "symmetric"}),
    "blur, reflect": ("blur", {"padding_mode": "reflect"}),
    "blur, reflect, T = 50": ("blur", {"padding_mode": "reflect", "T": 50}),
    "inpaint": ("inpaint", {}),
    "inpaint, random places": ("inpaint", {"center": "random"}),
    "mask_to_color": ("mask_to_color", {"T": 100}),
    "pixelate, bicubic": ("pixelate", {"T": 3}),
    "pixelate, area": ("pixelate", {"T": 3, "filter": "area"}),
    "decolor": ("decolor", {}),
    "gaussian_noise": ("gaussian_noise", {}),
    "motion_blur, circular": ("motion_blur", {"padding_mode": "circular"}),
    "motion_blur, reflect": ("motion_blur", {}),
}
ITERATIVE = ("motion_blur, reflect",)
IMAGES = {32: 16, 128: 4, 512: 1}  # images of a batch by their size in pixels


class Config(Options):
    """Measurement."""

    sizes: IntList = Field((32, 128, 512), description="sides of the images in pixels")
    rounds: int = Field(15, ge=1, description="rounds in which everything is run once")
    seed: int = Field(0, description="seed of images and of what is drawn")
    out: str = Field("inverse-cost-cpu.json", description="the file of results")


def cost(D: degrade.Degradation, side: int, rounds: int, seed: int) -> dict[str, float]:
    """Return milliseconds of D for a batch, and its adjoint, prox and invert as multiples of that."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    x0 = torch.rand(IMAGES.get(side, 1), 3, side, side, generator=generator) * 2 - 1
    t = torch.randint(1, D.T + 1, (len(x0),), generator=generator)
    z = D.draw(x0, generator)
    x_t = D(x0, t, z)
    works: dict[str, Callable[[], Tensor]] = {
        "apply": lambda: D(x0, t, z),
        "adjoint": lambda: D.adjoint(x_t, t, z),
        "prox": lambda: D.prox(-x0, x_t, t, z, 0.01),
        "invert": lambda: D.invert(x_t, t, z),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for done in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            work()
            if done:  # the first round builds tables
                taken[name].append(time.process_time() - began)
    own = median(taken.pop("apply"))
    return {"apply_ms": 1e3 * own} | {name: median(seconds) / own for name, seconds in taken.items()}


def main(argv: Sequence[str]) -> None:
    """Measure every case, print the table and write the file."""
    config = validated(Config, explicit_values(Config, argv, "inverse_cost.py", __doc__ or ""))

    import torch

    import degrade
    from experiments.run.environment import describe_environment

    torch.set_num_threads(1)
    rows = []
    with torch.inference_mode():
        for title, (name, arguments) in CASES.items():
            for side in config.sizes:
                if title in ITERATIVE and side > 32:
                    continue
                rounds = 1 if title in ITERATIVE else config.rounds
                found = cost(degrade.make(name, **arguments), side, rounds, config.seed)
                rows.append({"case": title, "size": side, "images": IMAGES.get(side, 1)} | found)
                numbers = "  ".join(f"{key} {value:.2f}" for key, value in found.items())
                print(f"{title:<24} {side:>4} px  {numbers}", flush=True)
    described = {
        "command": " ".join(["python experiments/bench/inverse_cost.py", *argv]),
        "date": datetime.now().date().isoformat(),
        "options": config.model_dump(mode="json"),
        "environment": describe_environment(torch.device("cpu")),
    }
    write_json(Path(config.out), described | {"rows": rows})


if __name__ == "__main__":
    sys.exit(run_main(main, "inverse_cost"))
