"""The tasks of the paper's tables (Bansal et al., arXiv 2208.09392, 2022), each one training, at three scales.

    MNIST, CIFAR-10 or CelebA with a degradation   restoration, the presets of `experiments.run.presets`
    generation-blur, generation-noise              generation, cold from blur and hot from noise
    levels-5, levels-20, levels-50, levels-200     the same blur of CIFAR-10 in T levels, at equal training

`tiny` is for a test of the whole in two minutes, `small` for hours on a CPU, `paper` for the published settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from degrade.command_line import KeyValues, validated
from experiments.data.options import DataOptions
from experiments.run.options import Count, TrainerOptions
from experiments.run.presets import PRESETS, shrink
from samplers.choices import PriorKind

if TYPE_CHECKING:
    from degrade import Degradation

__all__ = ["DATA", "LEVELS", "TASKS", "Scale", "TaskConfig", "blur_in_levels", "task_config", "task_kind"]

Scale = Literal["tiny", "small", "paper"]
DATA = ("mnist", "cifar10", "celeba")
LEVELS = (5, 20, 50, 200)
TOTAL_SIGMA = 4.2  # pixels, of the whole blur that is published for CIFAR-10
GENERATION = ("generation-blur", "generation-noise")
TASKS = (
    # Networks that see the inverse and those for photographs are ours, not the paper's.
    *(name for name in PRESETS if not name.startswith(("generation-", "photo-")) and not name.endswith("-inverse")),
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
    "steps": 150,
    "batch_size": 16,
    "micro_batch_size": None,
    "optimizer": "adam:lr=2e-3",
    "lr_schedule": "cosine:warmup=10",
    "max_grad_norm": 1.0,
    "ema_decay": 0.95,
    "ema_every": 1,
    "ema_start": 20,
    "eval_images": 256,
    "sample_steps": 10,
    "log_every": 10,
    "save_every": 50,
}


class TaskConfig(TrainerOptions, DataOptions):
    """One task: a training and its evaluation."""

    degradation: str = Field("blur", description="name of the degradation")
    degradation_args: KeyValues = Field({}, description="arguments of the degradation")
    prior: PriorKind | None = Field(None, description="kind of prior over x_T, for generation")
    jitter: float = Field(0.0, ge=0, description="standard deviation of the noise that the prior adds to x_T")
    sample_steps: Count | None = Field(None, description="number of sampling steps (default: T)")
    eval_images: Count = Field(64, description="number of images in the evaluation")

    def make_degradation(self) -> Degradation:
        """Return the degradation of the task."""
        from degrade import make

        return make(self.degradation, **self.degradation_args)


def task_kind(name: str) -> Literal["restoration", "generation", "levels"]:
    """Return what a task measures.

    >>> task_kind("cifar10-blur"), task_kind("generation-noise"), task_kind("levels-20")
    ('restoration', 'generation', 'levels')
    """
    if name.startswith("levels-"):
        return "levels"
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
    if kind == "levels":
        values["sample_steps"] = None  # one step for each level is what T means
    if values["data"] == "mnist" and given.get("data", "mnist").startswith("drawn"):
        values["channels"] = "1"
    return validated(TaskConfig, {**values, **given, "resume": True})
