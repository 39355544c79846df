"""The tasks of the paper's tables (Bansal et al., arXiv 2208.09392, 2022), each one training, at three scales.

    MNIST, CIFAR-10 or CelebA with a degradation   restoration, the presets of `experiments.run.presets`
    the same with -inverse                         a network that sees the linear inverse of its input
    generation-blur, generation-noise              generation, cold from blur and hot from noise
    levels-5, levels-20, levels-50, levels-200     the same blur of CIFAR-10 in T levels, at equal training

`tiny` is for a test of the whole in minutes, `small` for hours on a CPU, `paper` for the published settings. At
`tiny` and `small`, networks that restore are trained on images rounded to 8 bits, so that those with and without sight
of the inverse differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from degrade.command_line import validated
from experiments.data.options import DataOptions
from experiments.run.degradation_options import DegradationOptions
from experiments.run.options import TrainerOptions
from experiments.run.presets import PRESETS, shrink

if TYPE_CHECKING:
    from degrade import Degradation

__all__ = ["DATA", "LEVELS", "TASKS", "Scale", "TaskConfig", "blur_in_levels", "task_config", "task_kind"]

Scale = Literal["tiny", "small", "paper"]
Kind = Literal["restoration", "inverse", "generation", "levels"]
DATA = ("mnist", "cifar10", "celeba")
LEVELS = (5, 20, 50, 200)
TOTAL_SIGMA = 4.2  # pixels, of the whole blur that is published for CIFAR-10
GENERATION = ("generation-blur", "generation-noise")
TASKS = (
    *(name for name in PRESETS if name.startswith(("mnist-", "cifar10-", "celeba-"))),
    *GENERATION,
    *(f"levels-{T}" for T in LEVELS),
)

TINY: Mapping[str, Any] = {
    "size": 16,
    "model_channels": 16,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "num_heads": 4,
    "attention_resolutions": (),
    "norm_groups": 4,
    "patch_size": 2,
    "dropout": 0.0,
    "steps": 60,
    "batch_size": 16,
    "micro_batch_size": None,
    "optimizer": "adam:lr=2e-3",
    "lr_schedule": "cosine:warmup=10",
    "max_grad_norm": 1.0,
    "ema_decay": 0.95,
    "ema_every": 1,
    "ema_start": 20,
    "eval_images": 256,
    "sample_steps": 5,
    "log_every": 10,
    "save_every": 50,
}


class TaskConfig(DegradationOptions, TrainerOptions, DataOptions):
    """One task: a training and its evaluation."""

    def make_degradation(self) -> Degradation:
        """Return the degradation of the task."""
        from degrade import make

        return make(self.degradation, **self.degradation_args)


def task_kind(name: str) -> Kind:
    """Return what a task measures.

    >>> task_kind("cifar10-blur"), task_kind("generation-noise"), task_kind("levels-20")
    ('restoration', 'generation', 'levels')
    """
    if name.startswith("levels-"):
        return "levels"
    if name.endswith("-inverse"):
        return "inverse"
    return "generation" if name in GENERATION else "restoration"


def blur_in_levels(T: int) -> dict[str, Any]:
    """Return the arguments of a blur to 4.2 pixels in T levels that add equal variances; x_T is the same for every T.

    >>> [round(sigma, 3) for sigma in blur_in_levels(4)["cumulative_sigma"]]
    [2.1, 2.97, 3.637, 4.2]
    """
    return {"T": T, "cumulative_sigma": tuple(TOTAL_SIGMA * (t / T) ** 0.5 for t in range(1, T + 1))}


def task_config(name: str, scale: Scale, given: Mapping[str, Any]) -> TaskConfig:
    """Return the configuration of a task at a scale, with the given values over it.

    Raises:
        UsageError: for a value that is wrong.

    >>> task_config("celeba-snow", "small", {"data": "drawn"}).degradation_args
    {'T': 200, 'strength': 4}
    """
    kind = task_kind(name)
    preset = PRESETS["cifar10-blur" if kind == "levels" else name]
    if kind == "levels":
        preset = {**preset, "degradation_args": blur_in_levels(int(name.removeprefix("levels-")))}
    values: dict[str, Any] = dict(shrink(preset) if scale == "small" else preset)
    values |= TINY if scale == "tiny" else {}
    values["eval_images"] = {"tiny": 256, "small": 1000, "paper": 10_000}[scale]
    if scale != "paper" and kind != "generation":
        values["quantize_input"] = True
    if kind == "levels":
        values["sample_steps"] = None  # one step for each level is what T means
    if values["data"] == "mnist" and given.get("data", "mnist").startswith("drawn"):
        values["channels"] = "1"
    return validated(TaskConfig, {**values, **given, "resume": True})
