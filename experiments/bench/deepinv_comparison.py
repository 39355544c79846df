"""Conditioned restorers beside deepinv: the same exact denoiser, the same operators, PSNR and time.

    python experiments/bench/deepinv_comparison.py --out experiments/results/deepinv.json

Images are draws of a Gaussian field with the spectrum S(f) ~ 1 / (f0 + f)^3 of photographs, 64 x 64 with periodic
borders, so the denoiser x0_hat = F^-1 S / (S + sigma^2) F x is exact at every noise, for both sides. They are blurred
by a Gaussian of 1.5 pixels (9 x 9, periodic) or miss half of their pixels, and have noise of 0.02 for images in
[-1, 1]. The noise schedule is that of DDPM, beta = 1e-4..0.02 in 1000 levels. `proximal` is the method of DiffPIR,
`projection` that of DDNM, which DDRM is compared with. DDRM of deepinv divides the noise it draws by sqrt(2).
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

import degrade
from degrade import expand_level
from degrade.command_line import Options, UsageError, explicit_values, run_main, validated
from restore import Conditioned, FunctionRestorer, Measurement
from samplers import sample
from samplers.applications.conditioning import MissingPixels

__all__ = ["Config", "main"]

SIDE, WIDTH, KERNEL, NOISE = 64, 1.5, 9, 0.02
D_NOISE = degrade.make("gaussian_noise", T=1000)
Restoration = Callable[[], Tensor]
OURS = [("proximal", "ddim:eta=0.3"), ("proximal", "ddim"), ("proximal", "ddpm"), ("projection", "ddim:eta=0.85")]
OURS += [("pseudo_inverse:spread=4", "ddim"), ("gradient:spread=4", "ddim")]


class Config(Options):
    """Comparison."""

    images: int = Field(4, ge=1, description="number of images")
    steps: int = Field(100, ge=2, le=1000, description="steps of every sampler")
    seed: int = Field(0, description="seed of all random numbers")
    out: str = Field("deepinv.json", description="the file of results")


def spectrum() -> Tensor:
    """Return S(f) (H, W), scaled so that pixels have the standard deviation 0.4."""
    f = torch.fft.fftfreq(SIDE)
    power = 1 / (0.02 + torch.hypot(f[:, None], f[None])) ** 3
    return power * 0.16 / power.mean()


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """Return E[x0 | x0 + sigma eps = x] of images (B, C, H, W) in [-1, 1], for sigma (B, 1, 1, 1) or a number."""
    S = spectrum().to(x)
    x0_hat: Tensor = torch.fft.ifft2(S / (S + sigma**2) * torch.fft.fft2(x)).real.to(x.dtype)
    return x0_hat


def ours(m: Measurement, rule: str, sampler: str, steps: int, seed: int) -> Restoration:
    """Return a restoration by a conditioned restorer and a sampler."""

    def restore(x_t: Tensor, t: Tensor) -> Tensor:
        a_t, b_t = D_NOISE.coefficients(t, x_t)
        return denoise(x_t / a_t, b_t / a_t)

    def run() -> Tensor:
        R = Conditioned(FunctionRestorer(restore, D_NOISE), m, rule)
        generator = torch.Generator().manual_seed(seed + 2)  # not that of the images
        return sample(R, sampler, D_NOISE.draw(m.y, generator), None, steps, generator)

    return run


def theirs(dinv: Any, physics: Any, y: Tensor, steps: int, seed: int) -> dict[str, Restoration]:
    """Return the restorations of deepinv, in [-1, 1]."""

    class Exact(dinv.models.Denoiser):  # type: ignore[misc]  # a class of a package that may be missing
        """The exact denoiser, for images in [0, 1]."""

        def forward(self, x: Tensor, sigma: Any, *_: Any, **__: Any) -> Tensor:
            s = 2 * torch.as_tensor(sigma, dtype=x.dtype)
            return (denoise(2 * x - 1, s.view(-1, 1, 1, 1)) + 1) / 2

    def signed(sampler: Callable[[], Any]) -> Restoration:
        def run() -> Tensor:
            torch.manual_seed(seed + 2)
            x: Tensor = sampler()((y + 1) / 2, physics)
            return 2 * x.float() - 1

        return run

    sigmas = (torch.logspace(1, -2.3, steps)).tolist()
    return {
        "diffpir": signed(
            lambda: dinv.sampling.DiffPIR(Exact(), dinv.optim.data_fidelity.L2(), sigma=NOISE / 2, max_iter=steps)
        ),
        "ddrm": signed(lambda: dinv.sampling.DDRM(Exact(), sigmas=sigmas)),
    }


def operators(dinv: Any, x0: Tensor, seed: int) -> dict[str, tuple[Measurement, Any]]:
    """Return the two measurements, each with the operator of deepinv."""
    generator = torch.Generator().manual_seed(seed + 1)
    blur = degrade.make("blur", T=1, sigmas=(WIDTH,), kernel_size=KERNEL, padding_mode="circular")
    d = torch.arange(KERNEL) - KERNEL // 2
    row = torch.exp(-(d**2) / (2 * WIDTH**2))
    kernel = (row[:, None] * row / row.sum() ** 2)[None, None]
    hole = torch.rand(1, 1, SIDE, SIDE, generator=generator) < 0.5
    size, error = tuple(x0.shape[1:]), {"noise_model": dinv.physics.GaussianNoise(NOISE / 2)}
    found = {}
    for name, D, z, physics in (
        ("blur", blur, None, dinv.physics.BlurFFT(size, kernel, **error)),
        ("missing pixels", MissingPixels(), hole, dinv.physics.Inpainting(size, (~hole[0]).float(), **error)),
    ):
        t = expand_level(1, x0)
        z = None if z is None else z.expand(len(x0), -1, -1, -1)
        clean = D(x0, t, z)
        gap = float((D((x0 + 1) / 2, t, z) - physics.A((x0 + 1) / 2)).abs().max())
        if gap > 1e-4:
            raise ValueError(f"{name}: the operators of the two packages differ by {gap:.2g}")
        y = clean + NOISE * torch.randn(x0.shape, generator=generator)
        found[name] = (Measurement(D, y, t, z, NOISE), physics)
    return found


def psnr(x: Tensor, x0: Tensor) -> float:
    """Return the mean over images of the PSNR in dB for images in [-1, 1]."""
    return float((-10 * ((x - x0) / 2).square().mean((1, 2, 3)).log10()).mean())


def _deepinv() -> Any:
    try:
        return importlib.import_module("deepinv")
    except ImportError as error:
        raise UsageError(f"the comparison needs deepinv ({error}); install it: pip install deepinv==0.5.0") from None


def compare(config: Config) -> list[dict[str, Any]]:
    """Return a row for each operator and method: PSNR in dB and seconds."""
    dinv = _deepinv()
    torch.set_num_threads(1)
    white = torch.randn(config.images, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(config.seed))
    x0 = torch.fft.ifft2(spectrum().sqrt() * torch.fft.fft2(white)).real
    rows: list[dict[str, Any]] = []
    for name, (m, physics) in operators(dinv, x0, config.seed).items():
        # An operator that loses pixels as 0 of [0, 1] has -1 there in [-1, 1].
        y = m.y if m.z is None else torch.where(m.z, -1, m.y)
        runs = {
            f"ours, {rule}, {sampler}": ours(m, rule, sampler, config.steps, config.seed) for rule, sampler in OURS
        } | {f"deepinv, {k}": run for k, run in theirs(dinv, physics, y, config.steps, config.seed).items()}
        for method, run in runs.items():
            began = time.perf_counter()
            x = run()
            seconds = time.perf_counter() - began
            rows.append({"operator": name, "method": method, "psnr": psnr(x, x0), "seconds": seconds})
            print(f"{name:<15} {method:<40} {rows[-1]['psnr']:6.2f} dB {seconds:6.2f} s")
    return rows


def main(argv: Sequence[str]) -> None:
    """Compare, print a table and write the file."""
    config = validated(Config, explicit_values(Config, argv, "deepinv_comparison.py", __doc__ or ""))
    rows = compare(config)
    record = {
        "command": " ".join(["python experiments/bench/deepinv_comparison.py", *argv]),
        "date": datetime.now().date().isoformat(),
        "machine": f"{platform.machine()}, one thread, shared with other programs",
        "versions": {"torch": torch.__version__, "deepinv": _deepinv().__version__},
        "options": config.model_dump(mode="json"),
        "rows": rows,
    }
    Path(config.out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(run_main(main, "deepinv_comparison"))
