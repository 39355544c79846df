"""Conditioned restorers beside deepinv: the same exact denoiser, the same operators, PSNR and time.

    python experiments/bench/deepinv_comparison.py --out experiments/results/deepinv.json

Images are draws of a Gaussian field with the spectrum S(f) ~ 1 / (f0 + f)^3 of photographs, 64 x 64 with periodic
borders, so the denoiser x0_hat = F^-1 S / (S + sigma^2) F x is exact at every noise, for both sides. They are blurred
by a Gaussian of 1.5 pixels (9 x 9, periodic) or miss half of their pixels, and have noise of 0.02 for images in
[-1, 1]. The noise schedule is that of DDPM, beta = 1e-4..0.02 in 1000 levels. What is between exact draws of the
posterior and its exact mean, 3 dB above, is smoother than it should be, which PSNR rewards.

A method of deepinv is followed by what is equal here: the same weight of the measurement, noise drawn again and levels
of noise.

* DiffPIR is `proximal`. With `sigma` in the units of [0, 1], its lambda of 7 is 3.5 here. zeta is the share of noise
  that is drawn again, eta^2; it is 0.1 there by default.
* DDRM lets a component of the measurement replace that of the prediction once its error, noise / s, is below sigma_t,
  which `proximal` does gradually, and draws the share eta^2 again. DDRM of deepinv divides the noise it
  draws by sqrt(2): the denoiser then removes more than there is, and PSNR gains 1 dB. "noise restored" undoes that.
* DPS is `gradient` with a given `scale`; by default the step has the best length. Its `weight` of 1 is next to nothing
  with guidance by the norm, which is the default and is summed over the pixels of [0, 1] (12 dB); it has the scale of a
  posterior with guidance "annealed".
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from degrade.command_line import Options, explicit_values, run_main, validated

__all__ = ["Config", "main"]


class Config(Options):
    """Comparison."""

    images: int = Field(4, ge=1, description="number of images")
    steps: int = Field(20, ge=2, le=1000, description="steps of every sampler")
    seed: int = Field(0, description="seed of all random numbers")
    out: str = Field("deepinv.json", description="the file of results")


def main(argv: Sequence[str]) -> None:
    """Compare, print a table and write the file."""
    config = validated(Config, explicit_values(Config, argv, "deepinv_comparison.py", __doc__ or ""))

    import torch

    from experiments.bench.deepinv_methods import compare

    rows = compare(config)
    record = {
        "command": " ".join(["python experiments/bench/deepinv_comparison.py", *argv]),
        "date": datetime.now().date().isoformat(),
        "machine": f"{platform.machine()}, one thread, shared with other programs",
        "versions": {"torch": torch.__version__, "deepinv": version("deepinv")},
        "options": config.model_dump(mode="json"),
        "rows": rows,
    }
    Path(config.out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(run_main(main, "deepinv_comparison"))
