"""The `scheduler_config.json` of diffusers: the noise that a network was trained on, and what the network predicts.

A scheduler with the betas beta_1 .. beta_T is the degradation `gaussian_noise` with a_t^2 = alpha_bar_t,
b_t^2 = 1 - alpha_bar_t and alpha_bar_t = (1 - beta_1) ... (1 - beta_t). Linear and cosine betas have names in both
libraries; all other ones are listed in `trained_betas`, and are read as a table of a_t and b_t.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from degrade import Degradation, make
from degrade.functional.schedules import PUBLISHED, Cosine, LinearBeta, TableSchedule
from degrade.registry import build
from restore.choices import Predict
from restore.interop.diffusers_config import read_options
from restore.restorer import Restorer

__all__ = ["SchedulerInfo", "read_scheduler", "scheduler_options"]

SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
# Options with few possible values: the default of diffusers, then the values that can be expressed.
FIXED: dict[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "linear", "squaredcos_cap_v2"),
    "clip_sample": (True, True, False),
    "clip_sample_range": (1.0, 1.0),
    "prediction_type": ("epsilon", "epsilon", "sample", "v_prediction"),
    "rescale_betas_zero_snr": (False, False),
    "thresholding": (False, False),
}
FREE: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000, "trained_betas": None}
PREDICT: dict[str, Predict] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


class SchedulerInfo(NamedTuple):
    """The contents of a scheduler's configuration.

    Args:
        degradation: the noise on which the network was trained.
        prediction_type: meaning of the network's output.
        clip_sample: whether x0_hat is clamped to [-1, 1].
    """

    degradation: Degradation
    prediction_type: Predict
    clip_sample: bool


def read_scheduler(file: Path | None) -> SchedulerInfo:
    """Return the contents of a `scheduler_config.json`; without a file, the defaults of diffusers.

    Options of sampling (`variance_type`, `timestep_spacing`, ...) are not read: they belong to the sampler.

    Raises:
        ValueError: in one line, naming every option that cannot be expressed.

    >>> read_scheduler(None).degradation.arguments["schedule"]["name"]
    'linear_beta'
    """
    defaults = {name: default for name, (default, *_) in FIXED.items()} | FREE
    options = defaults if file is None else read_options(file, SCHEDULERS, FIXED, FREE)
    T, schedule = options["num_train_timesteps"], _schedule(options)
    if isinstance(schedule, TableSchedule) and len(schedule.a) != T + 1:
        raise ValueError(f"{file}: trained_betas has {len(schedule.a) - 1} entries, num_train_timesteps is {T}")
    degradation = make("gaussian_noise", T=T, schedule=schedule)
    return SchedulerInfo(degradation, PREDICT[options["prediction_type"]], options["clip_sample"])


def _schedule(options: dict[str, Any]) -> LinearBeta | Cosine | TableSchedule:
    betas = options["trained_betas"]
    if betas is not None:
        if not isinstance(betas, list) or not all(isinstance(b, float | int) and 0 < b <= 1 for b in betas):
            raise ValueError(f"trained_betas {betas!r:.60} cannot be expressed; only a list of numbers in (0, 1] can")
        alpha_bar = torch.cumprod(1 - torch.tensor([0.0, *betas], dtype=torch.float64), 0)
        return build(TableSchedule, a=tuple(alpha_bar.sqrt().tolist()), b=tuple((1 - alpha_bar).sqrt().tolist()))
    if options["beta_schedule"] != "linear":
        return Cosine()
    start, end = options["beta_start"], options["beta_end"]
    published = (options["num_train_timesteps"], start, end) == PUBLISHED
    return LinearBeta() if published else build(LinearBeta, beta_start=start, beta_end=end)


def scheduler_options(restorer: Restorer) -> dict[str, Any]:
    """Return the `scheduler_config.json` for the degradation and the output of a restorer.

    Raises:
        ValueError: unless the degradation adds Gaussian noise with a_t^2 + b_t^2 = 1.
    """
    D = restorer.degradation
    [prediction] = [theirs for theirs, ours in PREDICT.items() if ours == restorer.prediction_type]
    own = {"num_train_timesteps": D.T, "prediction_type": prediction, "clip_sample": restorer.clip_sample}
    return {"_class_name": SCHEDULERS[0]} | _beta_options(D) | own


def _beta_options(D: Degradation) -> dict[str, Any]:
    """Return the options for the betas of a degradation: by name where diffusers has one, else as a list."""
    betas = _betas(D)
    schedule = getattr(D, "schedule", None)
    if schedule == Cosine():
        return {"beta_schedule": "squaredcos_cap_v2"}
    # Without betas of its own, the linear schedule is that of diffusers for the published T only.
    if isinstance(schedule, LinearBeta) and (PUBLISHED[0] == D.T or schedule != LinearBeta()):
        start, end = schedule.beta_start or PUBLISHED[1], schedule.beta_end or PUBLISHED[2]
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    return {"trained_betas": betas}


def _betas(D: Degradation) -> list[float]:
    """Return beta_t = 1 - a_t^2 / a_{t-1}^2 for t = 1..T."""
    if D.additive and D.gaussian:
        like = torch.zeros(D.T + 1, 1, 1, 1, dtype=torch.float64)
        a, b = (table.flatten() for table in D.coefficients(torch.arange(D.T + 1), like))
        betas = 1 - (a[1:] / a[:-1]) ** 2
        if (a**2 + b**2 - 1).abs().max() < 1e-9 and bool((betas > 0).all()):
            return betas.tolist()
    raise ValueError(
        f"diffusers cannot express {D!r:.100}; only Gaussian noise with a_t^2 + b_t^2 = 1 can be written: write the"
        " network alone, to_diffusers(restorer.net, folder)"
    )
