"""What trained restorers are measured by, on the same held-out images: errors of noise, and errors of restoration.

noise   x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps at the ratios SNR = alpha_bar / (1 - alpha_bar) of signal to
        noise; x0 and eps, and so x_t, are the same for all. Each restorer is called with the level t of its own
        schedule whose alpha_bar is nearest. Measured are x0_hat, and eps_hat = (x_t - a x0_hat) / b, whose error is
        that of x0_hat times a / b
cold    x_T = D(x0, T), restored by one prediction and by Algorithm 2

Rows of a metric are kept for every restorer and table, so that any two can be compared image by image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from degrade import Degradation, expand_level
from degrade.random import seeded_generator
from experiments.evaluation.accumulate import Rows
from experiments.evaluation.evaluator import Evaluation, Evaluator
from experiments.evaluation.restoration import compare_algorithms
from restore import Restorer

__all__ = ["SNRS", "ColdErrors", "Errors", "NoiseErrors", "evaluate", "nearest_level"]

SNRS = (100.0, 10.0, 1.0, 0.1, 0.01)
WAYS = ("degraded", "linear inverse", "direct", "algorithm2")
Tables = dict[str, Rows]  # title of a table -> rows of the metrics of one restorer


class Errors(Protocol):
    """How restorers are measured."""

    evaluator: Evaluator

    def observe(self, R: Restorer) -> Tables:
        """Return the rows of one restorer in each table."""

    def levels(self, R: Restorer) -> dict[str, object]:
        """Return JSON values: at which levels it is called."""


def nearest_level(D: Degradation, alpha_bar: float) -> tuple[int, float]:
    """Return the level t in 1..T whose a_t^2 / (a_t^2 + b_t^2) is nearest to `alpha_bar`, and that value.

    >>> from degrade import make
    >>> nearest_level(make("gaussian_noise", T=4, schedule="rectified"), 0.5)
    (2, 0.5)
    """
    t = torch.arange(1, D.T + 1)
    a_t, b_t = (v.flatten() for v in D.coefficients(t, torch.zeros(D.T, 1, 1, 1, dtype=torch.float64)))
    own = a_t**2 / (a_t**2 + b_t**2)
    k = int((own - alpha_bar).abs().argmin())
    return k + 1, float(own[k])


class NoiseErrors:
    """Root mean squared errors of eps_hat and x0_hat at several ratios of signal to noise.

    Args:
        x0: (n, C, H, W) held-out images in [-1, 1].
        seed: seed of the noise and of the intervals.
        batch_size: images in a forward pass.
    """

    def __init__(self, x0: Tensor, seed: int, batch_size: int = 50) -> None:
        self.evaluator = Evaluator(["rmse"], batch_size=batch_size, seed=seed)
        generators = [seeded_generator("cpu", seed, "yardstick", i) for i in range(len(x0))]
        eps = [torch.randn(x0.shape[1:], generator=generator, dtype=x0.dtype) for generator in generators]
        self.x0, self.eps = x0, torch.stack(eps)

    def noisy(self, snr: float) -> tuple[Tensor, float, float]:
        """Return x_t (n, C, H, W) and the weights (a, b) of image and noise."""
        a, b = (snr / (1 + snr)) ** 0.5, (1 / (1 + snr)) ** 0.5
        return a * self.x0 + b * self.eps, a, b

    @torch.inference_mode()
    def observe(self, R: Restorer) -> Tables:
        """Return the rows of eps and x0 at every ratio, and of eps over all of them.

        Those of eps are squared errors (n, 1) of noise with standard deviation 1; those of x0 are of images in [0, 1].
        """
        tables: Tables = {}
        for snr in SNRS:
            x_t, a, b = self.noisy(snr)
            t = expand_level(nearest_level(R.degradation, a * a)[0], x_t)
            size = self.evaluator.batch_size
            x0_hat = torch.cat([R(x, k) for x, k in zip(torch.split(x_t, size), torch.split(t, size), strict=True)])
            error = ((x_t - a * x0_hat) / b - self.eps).double().square().flatten(1).mean(1, keepdim=True)
            tables[f"eps, SNR {snr:g}"] = {"rmse": error}
            tables[f"x0, SNR {snr:g}"] = self.evaluator.observe(x0_hat, self.x0)
        mean = torch.stack([tables[f"eps, SNR {snr:g}"]["rmse"] for snr in SNRS]).mean(0)
        return {"eps, all": {"rmse": mean}, **tables}

    def levels(self, R: Restorer) -> dict[str, object]:
        """Return by SNR the level of R's schedule and its alpha_bar."""
        return {f"{snr:g}": nearest_level(R.degradation, snr / (1 + snr)) for snr in SNRS}


class ColdErrors:
    """RMSE and SSIM of images restored from severity T, as computed in float32.

    Args:
        x0: (n, C, H, W) held-out images in [-1, 1].
        seed: seed of the degradation, the samplers and the intervals.
        steps: steps of Algorithm 2, at most T.
        batch_size: images in a forward pass.
    """

    def __init__(self, x0: Tensor, seed: int, steps: int, batch_size: int = 50) -> None:
        self.evaluator = Evaluator(["rmse", "ssim"], batch_size=batch_size, seed=seed)
        self.x0, self.seed, self.steps = x0, seed, steps

    def observe(self, R: Restorer) -> Tables:
        """Return the rows of one prediction and of Algorithm 2, and of what needs no network."""
        comparison, methods = compare_algorithms(R, self.x0, self.evaluator, self.steps, "float32", self.seed)
        return comparison.observe([("R", method) for method in methods if method.row in WAYS]).rows

    def levels(self, R: Restorer) -> dict[str, object]:
        """Return the severity of the images and the number of steps."""
        return {"severity": R.degradation.T, "steps": min(self.steps, R.degradation.T)}


def evaluate(errors: Errors, observed: Mapping[str, Tables], baseline: str) -> dict[str, Evaluation]:
    """Return the tables by title: what each restorer reaches, and its difference to the baseline image by image.

    Args:
        errors: what measured them.
        observed: name of the restorer -> its rows.
        baseline: name of the restorer that the others are compared with.
    """
    return {
        title: errors.evaluator.summarize({name: own[title] for name, own in observed.items()}, baseline=baseline)
        for title in observed[baseline]
    }
