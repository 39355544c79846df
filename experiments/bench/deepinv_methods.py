"""Methods of deepinv and those here, on the same measurements; see `deepinv_comparison.py`."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor

import degrade
from degrade import MissingPixels, expand_level
from degrade.command_line import UsageError
from degrade.functional.conjugate_gradient import conjugate_gradient
from restore import Conditioned, FunctionRestorer, Measurement
from samplers import sample, spaced_timesteps

if TYPE_CHECKING:
    from experiments.bench.deepinv_comparison import Config

__all__ = ["compare"]

SIDE, WIDTH, KERNEL, NOISE = 64, 1.5, 9, 0.02
D_NOISE = degrade.make("gaussian_noise", T=1000)
Restoration = Callable[[], Tensor]
# Rule, sampler, and whose levels of noise: evenly spaced ones, or those of a method of deepinv.
OURS = [
    ("proximal", "ddpm", "even"),
    ("proximal", "ancestral:variance=constant", "even"),
    ("pseudo_inverse", "ddpm", "even"),
    ("pseudo_inverse:scale=1,spread=4", "ddpm", "even"),
    ("proximal:weight=3.5", f"ancestral:eta={math.sqrt(0.1):.3f},variance=constant", "diffpir"),
    ("proximal:weight=3.5", "ancestral:variance=constant", "diffpir"),
    ("projection", "ancestral:eta=0.85,variance=constant", "ddrm"),
    ("proximal", "ancestral:eta=0.85,variance=constant", "ddrm"),
    ("proximal", "ancestral:variance=constant", "ddrm"),
    ("gradient", "ddpm", "even"),
    ("gradient:scale=1,spread=4", "ddpm", "even"),
    ("gradient:scale=2,spread=4", "ddpm", "even"),
]


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


def levels(whose: str, steps: int) -> list[int]:
    """Return the severities of a trajectory of about so many steps, of which neighbors that are equal count once."""
    if whose == "even":
        return spaced_timesteps(D_NOISE.T, steps)
    if whose == "diffpir":
        return sorted({0, *(round(1000 - u) for u in torch.linspace(0, 1000**2, steps).sqrt().tolist())}, reverse=True)
    t = torch.arange(1, D_NOISE.T + 1)
    a_t, b_t = (v.flatten() for v in D_NOISE.coefficients(t, torch.zeros(len(t), 1, 1, 1)))
    return sorted({0, *(int((b_t / a_t - 2 * sigma).abs().argmin()) + 1 for sigma in ddrm_sigmas(steps))}, reverse=True)


def ddrm_sigmas(steps: int) -> list[float]:
    """Return the standard deviations of noise that DDRM visits, for images in [0, 1]."""
    sigmas: list[float] = torch.logspace(1, -2.3, steps).tolist()
    return sigmas


def ours(m: Measurement, rule: str, sampler: str, severities: list[int], seed: int) -> Restoration:
    """Return a restoration by a conditioned restorer and a sampler."""

    def restore(x_t: Tensor, t: Tensor) -> Tensor:
        a_t, b_t = D_NOISE.coefficients(t, x_t)
        return denoise(x_t / a_t, b_t / a_t)

    def run() -> Tensor:
        R = Conditioned(FunctionRestorer(restore, D_NOISE), m, rule)
        generator = torch.Generator().manual_seed(seed + 2)  # not that of the images
        return sample(R, sampler, D_NOISE.draw(m.y, generator), None, severities, generator)

    return run


def exact(m: Measurement, seed: int) -> dict[str, Restoration]:
    """Return the mean of the posterior, S A^T (A S A^T + noise^2)^-1 y, and a draw of it."""
    D, S = m.degradation, spectrum().double()

    def filtered(x: Tensor, gain: Tensor) -> Tensor:
        x_hat: Tensor = torch.fft.ifft2(gain * torch.fft.fft2(x)).real
        return x_hat

    def covariance(u: Tensor) -> Tensor:
        return filtered(D.adjoint(u, m.t, m.z), S)

    def mean(y: Tensor) -> Tensor:
        def system(u: Tensor) -> Tensor:
            return D(covariance(u), m.t, m.z) + NOISE**2 * u

        return covariance(conjugate_gradient(system, y.double(), max_iterations=3000))

    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(seed + 2)
        white, error = (torch.randn(m.y.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        x = filtered(white, S.sqrt())
        return x + mean(m.y - D(x, m.t, m.z) - NOISE * error)

    return {"exact, mean of the posterior": lambda: mean(m.y), "exact, a draw of the posterior": draw}


def theirs(dinv: Any, physics: Any, y: Tensor, steps: int, seed: int) -> dict[str, Restoration]:
    """Return the restorations of deepinv, in [-1, 1]."""

    class Exact(dinv.models.Denoiser):  # type: ignore[misc]  # a class of a package that may be missing
        """The exact denoiser, for images in [0, 1]."""

        def forward(self, x: Tensor, sigma: Any, *_: Any, **__: Any) -> Tensor:
            s = 2 * torch.as_tensor(sigma, dtype=x.dtype)
            return (denoise(2 * x - 1, s.view(-1, 1, 1, 1)) + 1) / 2

    def signed(sampler: Callable[[], Any], noise: float = 1.0) -> Restoration:
        def run() -> Tensor:
            torch.manual_seed(seed + 2)
            draw = torch.randn_like
            with mock.patch.object(torch, "randn_like", lambda like: noise * draw(like)):
                x: Tensor = sampler()((y + 1) / 2, physics)
            return 2 * x.float() - 1

        return run

    fit = dinv.optim.data_fidelity.L2()

    def diffpir(zeta: float) -> Restoration:
        return signed(lambda: dinv.sampling.DiffPIR(Exact(), fit, sigma=NOISE / 2, max_iter=steps, zeta=zeta))

    def ddrm(eta: float, noise: float = 1.0) -> Restoration:
        return signed(lambda: dinv.sampling.DDRM(Exact(), sigmas=ddrm_sigmas(steps), eta=eta), noise)

    def dps(**options: Any) -> Restoration:
        return signed(lambda: dinv.sampling.DPS(Exact(), num_steps=steps, **options))

    return {
        "diffpir": diffpir(0.1),
        "diffpir, zeta=1": diffpir(1.0),
        "ddrm": ddrm(0.85),
        "ddrm, noise restored": ddrm(0.85, math.sqrt(2)),
        "ddrm, eta=1, noise restored": ddrm(1.0, math.sqrt(2)),
        "dps": dps(),
        "dps, annealed": dps(guidance="annealed"),
        "dps, annealed, weight=3": dps(guidance="annealed", weight=3.0),
    }


def operators(dinv: Any, x0: Tensor, seed: int) -> dict[str, tuple[Measurement, Any]]:
    """Return the two measurements, each with the operator of deepinv."""
    generator = torch.Generator().manual_seed(seed + 1)
    blur = degrade.make("blur", T=1, sigmas=(WIDTH,), kernel_size=KERNEL, padding_mode="circular")
    d = torch.arange(KERNEL) - KERNEL // 2
    row = torch.exp(-(d**2) / (2 * WIDTH**2))
    kernel = (row[:, None] * row / row.sum() ** 2)[None, None]
    known = torch.rand(1, 1, SIDE, SIDE, generator=generator) >= 0.5
    size, error = tuple(x0.shape[1:]), {"noise_model": dinv.physics.GaussianNoise(NOISE / 2)}
    found = {}
    for name, D, z, physics in (
        ("blur", blur, None, dinv.physics.BlurFFT(size, kernel, **error)),
        ("missing pixels", MissingPixels(T=1), known, dinv.physics.Inpainting(size, known[0].float(), **error)),
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
    """Return a row for each operator and method: PSNR in dB and seconds of processor time."""
    dinv = _deepinv()
    torch.set_num_threads(1)
    white = torch.randn(config.images, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(config.seed))
    x0 = torch.fft.ifft2(spectrum().sqrt() * torch.fft.fft2(white)).real
    rows: list[dict[str, Any]] = []
    for name, (m, physics) in operators(dinv, x0, config.seed).items():
        # An operator that loses pixels as 0 of [0, 1] has -1 there in [-1, 1].
        y = m.y if m.z is None else torch.where(m.z, -1, m.y)
        runs = exact(m, config.seed)
        for rule, sampler, whose in OURS:
            title = f"ours, {rule}, {sampler}, {whose} levels"
            runs[title] = ours(m, rule, sampler, levels(whose, config.steps), config.seed)
        runs |= {f"deepinv, {k}": run for k, run in theirs(dinv, physics, y, config.steps, config.seed).items()}
        for method, run in runs.items():
            began = time.process_time()
            x = run()
            seconds = time.process_time() - began
            rows.append({"operator": name, "method": method, "psnr": psnr(x, x0), "seconds": seconds})
            print(f"{name:<15} {method:<75} {rows[-1]['psnr']:6.2f} dB {seconds:6.2f} s")
    return rows
