"""Every case recorded from the official Cold Diffusion code and from diffusers, reproduced.

The folder named by the environment variable DEGRADE_PARITY (default: tests/parity) holds `vectors.npz`, arrays named
CASE/ARRAY, and `vectors.json`, the settings of each case under the names that the original code uses. Nothing else is
known about a case: every argument is derived from its settings, and a setting without a translation is a failure.

The reverse runs used the stand-in restorer `tests.oracles.imperfect`, those of DDPM and DDIM the network `eps` below.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import degrade
import samplers.steps.diffusion
from degrade.functional.sigmas import Cifar10, Constant, Exponential, Incremental
from restore import FunctionRestorer
from samplers import DDIM, DDPM, Algorithm1, Algorithm2, direct, sample
from tests.oracles import imperfect

FOLDER = Path(os.environ.get("DEGRADE_PARITY", Path(__file__).parents[1] / "parity"))
SETTINGS: dict[str, dict[str, Any]] = json.loads((FOLDER / "vectors.json").read_text())
D_TOLERANCE, WALK_TOLERANCE = 2e-5, 1e-4

BLUR = {  # routine -> widths from kernel_std, boundary
    "Incremental": (lambda std: Incremental(step=std), "circular"),
    "Constant": (lambda std: Constant(sigma=std), "circular"),
    "Constant_reflect": (lambda std: Constant(sigma=std), "reflect"),
    "Exponential": (lambda std: Exponential(rate=std), "circular"),
    "Exponential_reflect": (lambda std: Exponential(rate=std), "reflect"),
    "Special_6_routine": (lambda std: Cifar10(), "reflect"),
}
FADE = {  # routine -> widths from kernel_std and initial_mask, center
    "Incremental": (lambda std, first: Incremental(step=std, offset=first), "middle"),
    "Constant": (lambda std, first: Constant(sigma=std), "middle"),
    "Random_Incremental": (lambda std, first: Incremental(step=std, offset=first), "random"),
}
RESOLUTION = {  # routine -> sizes, filter
    f"Incremental{filter}{sizes}": (ours_sizes, ours_filter)
    for sizes, ours_sizes in {"_factor_2": "halve", "": "decrement"}.items()
    for filter, ours_filter in {"": "bicubic", "_bilinear": "bilinear", "_area": "area"}.items()
}
SATURATION = {"Linear": "linear", "Constant": "constant"}


def translate(case: str, settings: dict[str, Any]) -> degrade.Degradation:
    """Return our degradation for the settings of a case.

    Raises:
        ValueError: naming what has no translation.
    """
    left = {key: value for key, value in settings.items() if key not in {"t", "note"}}

    def take(key: str, table: dict[Any, Any] | None = None) -> Any:
        value = left.pop(key)
        if table is not None and value not in table:
            raise ValueError(f"{case}: {key} = {value!r} has no translation")
        return value if table is None else table[value]

    arguments: dict[str, Any] = {"T": take("T")}
    if "blur_routine" in left:
        name = "blur"
        rule, arguments["padding_mode"] = take("blur_routine", BLUR)
        arguments |= {"sigmas": rule(take("kernel_std")), "kernel_size": take("kernel_size")}
        arguments["mean_at_T"] = left.pop("discrete", False)
    elif "fade_routine" in left:
        name = "inpaint"
        rule, arguments["center"] = take("fade_routine", FADE)
        arguments["sigmas"] = rule(take("kernel_std"), take("initial_mask"))
    elif "reverse" in left:
        name = "mask_to_color"
        arguments["sigmas"] = Incremental(step=take("kernel_std"), offset=take("initial_mask"))
        arguments["outside_in"] = take("reverse")
    elif "resolution_routine" in left:
        name = "pixelate"
        arguments["sizes"], arguments["filter"] = take("resolution_routine", RESOLUTION)
        arguments["allow_uneven"] = True
    elif "snow_level" in left:
        name = "snow"
        arguments |= {"strength": int(take("snow_level")), "fix_brightness": take("fix_brightness")}
    elif "decolor_routine" in left:
        name = "decolor"
        arguments["saturation"] = take("decolor_routine", SATURATION)
        arguments |= {"factor": take("factor"), "gray_at_T": take("total_remove")}
    elif "schedule" in left:
        name = "interpolation"
        arguments["schedule"] = cosine(case, take("schedule"))
    elif "steps" in left:
        name = "gaussian_noise"
        take("steps")
        beta_start, beta_end = left.pop("beta", (1e-4, 0.02))  # what diffusers takes where nothing is said
        arguments["schedule"] = {"name": "linear_beta", "arguments": {"beta_start": beta_start, "beta_end": beta_end}}
    else:
        raise ValueError(f"{case}: {settings} has no translation")
    if left:
        raise ValueError(f"{case}: {left} has no translation")
    return degrade.make(name, **arguments)


def cosine(case: str, text: str) -> dict[str, Any]:
    """Return the arguments of the cosine schedule that `text` describes."""
    found = re.fullmatch(r"cosine s=([\d.]+), betas clipped at ([\d.]+)", text)
    if not found:
        raise ValueError(f"{case}: schedule = {text!r} has no translation")
    return {"name": "cosine", "arguments": {"s": float(found[1]), "max_beta": float(found[2])}}


def latent(D: degrade.Degradation, arrays: dict[str, Tensor]) -> Any:
    """Take from the arrays of a case what is its z."""
    if D.name == "inpaint" and "row_offset" in arrays:
        return arrays.pop("row_offset"), arrays.pop("col_offset")
    if D.name == "snow":
        B, _, H, W = arrays["x0"].shape
        # There, one plane and one direction for the whole batch.
        return arrays.pop("base").expand(B, H, W), arrays.pop("vertical").expand(B)
    return arrays.pop("colour", arrays.pop("z", None))


def load(case: str) -> dict[str, Tensor]:
    """Return the arrays of a case."""
    with np.load(FOLDER / "vectors.npz") as file:
        return {key.removeprefix(f"{case}/"): torch.from_numpy(file[key]) for key in file if key.startswith(f"{case}/")}


def eps_restorer(D: degrade.AffinePath) -> Callable[[Tensor, Tensor], Tensor]:
    """The stand-in for a network that predicts noise, as a restorer."""

    def R(x_t: Tensor, t: Tensor) -> Tensor:
        eps = 0.7 * torch.tanh(x_t) + 0.1 * torch.roll(x_t, 1, -1) + 0.02 * torch.cos(t.to(x_t)).view(-1, 1, 1, 1)
        a_t, b_t = D.coefficients(t, x_t)
        return (x_t - b_t * eps) / a_t

    return R


def gap(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest absolute difference."""
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).abs().max())


def cold_differences(D: degrade.Degradation, settings: dict[str, Any], arrays: dict[str, Tensor]) -> dict[str, float]:
    """Return the difference of every recorded array of a case with clean images."""
    z = latent(D, arrays)
    x0 = arrays.pop("x0")
    x_t = torch.stack([D(x0, torch.full((len(x0),), t), z) for t in settings["t"]])
    x_T = z if D.name == "interpolation" else D(x0, torch.full((len(x0),), D.T), z)
    ours = {
        "x_t": lambda: x_t,
        "x_T": lambda: x_T,
        "direct": lambda: direct(FunctionRestorer(imperfect, D), x_T, D.T),
        "alg1": lambda: sample(FunctionRestorer(imperfect, D), Algorithm1(), x_T, z),
        "alg2": lambda: sample(FunctionRestorer(imperfect, D), Algorithm2(), x_T, z),
        "alg2_estimated": lambda: sample(FunctionRestorer(imperfect, D), Algorithm2(), x_T, z),
        "alg2_fixed": lambda: sample(FunctionRestorer(imperfect, D), Algorithm2(estimate=False), x_T, z),
        "alpha_bar": lambda: D.coefficients(torch.arange(1, D.T + 1), x0)[0].flatten() ** 2,
    }
    return {key: gap(ours[key](), theirs) for key, theirs in arrays.items()}


def hot_differences(D, case, settings, arrays, monkeypatch) -> dict[str, float]:
    """Return the difference at the end of a reverse walk of DDPM, with the recorded noise, or of DDIM."""
    if "noise" in arrays:
        noise = iter(arrays.pop("noise"))
        monkeypatch.setattr(samplers.steps.diffusion, "randn_like", lambda x, generator: next(noise))
        step = DDPM("large" if "fixed_large" in case else "small")
        times = range(D.T, D.T - settings["steps"] - 1, -1)
    else:
        step, times = DDIM(), settings["t"]
    x = sample(FunctionRestorer(eps_restorer(D), D), step, arrays.pop("x_T"), steps=times)
    (theirs,) = arrays.values()
    # DDIM ends at values in the hundreds, where float32 has no more digits.
    return {"x": gap(x, theirs) / max(1.0, float(theirs.abs().max()))}


@pytest.mark.parametrize("case", SETTINGS)
def test_recorded_case(case, monkeypatch, capsys):
    settings, arrays = SETTINGS[case], load(case)
    D = translate(case, settings)
    if "x0" in arrays:
        differences = cold_differences(D, settings, arrays)
    else:
        differences = hot_differences(D, case, settings, arrays, monkeypatch)
    with capsys.disabled():
        print(f"\n{case:<30}", *(f"{key} {value:.1e}" for key, value in differences.items()), sep="  ")
    for key, value in differences.items():
        assert value <= (D_TOLERANCE if key in {"x_t", "alpha_bar"} else WALK_TOLERANCE), (
            f"{case}: {key} off by {value}"
        )


def test_a_case_without_translation_fails():
    for settings in ({"T": 3, "blur_routine": "Sideways"}, {"T": 3, "swirl": 2}, {**SETTINGS["blur_mnist"], "new": 1}):
        with pytest.raises(ValueError, match="no translation"):
            translate("unknown", settings)
