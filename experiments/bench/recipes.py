"""Recipes of training at equal processor time: ours beside others, and ours with one choice changed.

    python experiments/bench/recipes.py --comparison noise --data cifar10 --seconds 240
    python experiments/bench/recipes.py --comparison cold --data cifar10 --seconds 240
    python experiments/bench/recipes.py --comparison cold --data cifar10 --seconds 120 --only float32,lr-2e-3,seed

noise    `recipe` (--quick, noise predicted) beside `v`, the same with v predicted, and beside the settings of the
         README of denoising-diffusion-pytorch (`lucidrains`) and of the unconditional example of diffusers
         (`diffusers`), with their networks and, `-sized`, with narrower ones of about as many operations as ours
cold     `recipe` (--preset cifar10-blur --quick) beside the settings of Bansal et al. (arXiv 2208.09392, 2022), with
         their network (`paper`) and with ours (`paper-sized`); and beside the recipe with one choice changed:
         float32, lr-5e-4, lr-2e-3, l2, ema-0.999, ema-none, patch-1, channels-48, batch-16, batch-64, stable-decay;
         `seed` changes nothing but the seed

Everything runs on one thread, and every training has the same processor time and the same pictures, mirrored at random
where its recipe does so. Averaged weights are measured, in float32, on the same held-out images
(`experiments.bench.recipe_errors`). Intervals of 95 % and differences to `recipe` are over these images: what another
seed changes they do not contain, and the row `seed` shows it. Peers that are not installed are left out.

The file of results keeps the comparisons it has of other kinds, and is written after every training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from degrade.command_line import UsageError, explicit_values, run_main, validated
from degrade.files import read_json_object
from degrade.options import Names
from experiments.data.options import DataOptions
from experiments.run.folder import write_json
from experiments.run.options import Count
from experiments.run.presets import PAPER_TRAINING, PRESETS, shrink

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.bench.equal_time import Trained
    from experiments.bench.recipe_errors import Errors
    from experiments.run.tasks import TaskConfig

__all__ = ["CHOICES", "Config", "main", "trainings"]

PROGRAM = "recipes"
BASELINE = "recipe"
DRAWN = 1000  # training pictures that are taken of data that are not all in memory
PEERS = {"lucidrains": "denoising_diffusion_pytorch", "diffusers": "diffusers"}

PAPER: Mapping[str, Any] = {**PAPER_TRAINING, "precision": "float32"}
CHOICES: Mapping[str, Mapping[str, Any]] = {
    "seed": {"seed": 1},
    "float32": {"precision": "float32"},
    "lr-5e-4": {"optimizer": "adam:lr=5e-4"},
    "lr-2e-3": {"optimizer": "adam:lr=2e-3"},
    "l2": {"loss": "l2"},
    "ema-0.999": {"ema_decay": 0.999},
    "ema-none": {"ema_decay": 0.0},
    "patch-1": {"patch_size": 1, "attention_resolutions": (16,)},  # the lower level, as before
    "channels-48": {"model_channels": 48},
    "batch-16": {"batch_size": 16},
    "batch-64": {"batch_size": 64},
    "stable-decay": {"lr_schedule": "warmup_stable_decay:warmup=50,decay=0.2"},
}


class Config(DataOptions):
    """Comparison."""

    comparison: Literal["noise", "cold"] = Field("noise", description="noise or cold, as above")
    only: Names = Field((), description="trainings beside `recipe`, by name as NAME,NAME (default: all)")
    seconds: float = Field(240.0, gt=0, description="processor time of each training")
    size: Count = Field(32, description="side of the images in pixels")
    oversize: float = Field(1.0, ge=1, description="ratio of the side of the pictures that is kept to --size")
    images: int = Field(200, ge=2, description="number of held-out images")
    sample_steps: Count = Field(5, description="steps of Algorithm 2, for cold")
    seed: int = Field(0, description="seed of all random numbers")
    out: str = Field("recipes-cpu.json", description="file of the results")

    @model_validator(mode="after")
    def _check_size(self) -> Config:
        if self.comparison == "noise" and self.size % 32:
            raise ValueError(f"--size {self.size}: the example of diffusers halves it five times; use 32 or 64")
        return self


Training = tuple[dict[str, Any], Callable[["Tensor"], "Trained"]]  # its settings, and what trains on pictures


def task(config: Config, **changes: Any) -> TaskConfig:
    """Return the quick CIFAR-10 blur of the presets, with changes."""
    from experiments.run.tasks import TaskConfig

    values = {**shrink(PRESETS["cifar10-blur"]), "seed": config.seed, "device": "cpu", **changes}
    return validated(TaskConfig, {**values, "size": config.size})


def ours(config: Config, predict: Literal["x0", "eps", "v"] = "x0", **changes: Any) -> Training:
    """Return a training of this library."""
    from experiments.bench.equal_time import train_recipe

    chosen = task(config, **changes)
    settings = chosen.model_dump(mode="json", exclude={*DataOptions.model_fields, "steps", "out", "resume", "preset"})
    return settings | {"prediction_type": predict}, lambda x: train_recipe(chosen, predict, x, config.seconds)


def peers(config: Config) -> dict[str, Training]:
    """Return the trainings of other libraries that are installed."""
    from torch import nn

    from experiments.bench.equal_time import PeerNetwork, diffusers_unet, train_diffusers, train_lucidrains
    from experiments.bench.flops import forward_flops, matched
    from experiments.bench.process import BenchConfig
    from experiments.bench.training_backends import lucidrains_unet
    from restore import UNetConfig

    def theirs(library: str, width: int, setting: BenchConfig) -> Training:
        train = train_lucidrains if library == "lucidrains" else train_diffusers
        settings = {"width": width, "batch": setting.batch, "levels": setting.network.channel_mult}
        return settings, lambda x: train(width, setting, x, config.seconds, config.seed)

    def width_like_ours(build: Callable[[int], nn.Module], every: int) -> int:
        flops = forward_flops(task(config).build_network(3, 1000), 3, config.size)
        return matched(lambda width: PeerNetwork(build(width)), flops, 3, config.size, every)

    found: dict[str, Training] = {}
    if find_spec(PEERS["lucidrains"]):
        setting = BenchConfig(UNetConfig(image_size=config.size, channel_mult=(1, 2, 4, 8)), 32)
        sized = width_like_ours(lambda width: lucidrains_unet(width, setting), 4)
        found |= {"lucidrains-sized": theirs("lucidrains", sized, setting)}
        found |= {"lucidrains": theirs("lucidrains", 64, setting)}
    if find_spec(PEERS["diffusers"]):
        setting = BenchConfig(UNetConfig(image_size=config.size, channel_mult=(1, 1, 2, 2, 4, 4)), 16)
        sized = width_like_ours(lambda width: diffusers_unet(width, config.size), 32)
        found |= {"diffusers-sized": theirs("diffusers", sized, setting)}
        found |= {"diffusers": theirs("diffusers", 128, setting)}
    return dict(sorted(found.items(), key=lambda item: not item[0].endswith("-sized")))  # the slow ones last


def trainings(config: Config) -> dict[str, Training]:
    """Return the trainings that are asked for, the recipe first.

    Raises:
        UsageError: for the name of none.
    """
    if config.comparison == "noise":
        noise = {"degradation": "gaussian_noise", "degradation_args": {"T": 1000}}
        found = {BASELINE: ours(config, "eps", **noise), "v": ours(config, "v", **noise), **peers(config)}
    else:
        full = {**PRESETS["cifar10-blur"], "precision": "float32"}
        found = {BASELINE: ours(config), "paper-sized": ours(config, **PAPER), "paper": ours(config, **full)}
        found |= {name: ours(config, **changed) for name, changed in CHOICES.items()}
    if unknown := [name for name in config.only if name not in found]:
        raise UsageError(f"--only {','.join(unknown)}: --comparison {config.comparison} has {', '.join(found)}")
    return {name: found[name] for name in (BASELINE, *(config.only or found))}


def images(config: Config) -> tuple[Tensor, Tensor]:
    """Return the training pictures (N, C, S, S) uint8, and the held-out images (n, C, S, S) in [-1, 1]."""
    import torch

    from degrade.random import seeded_generator
    from experiments.data.datasets import load_data
    from experiments.data.examples import take_examples
    from experiments.data.images import InMemoryImages

    data = load_data(config, config.size, config.seed, torch.device("cpu"), config.data, "--data")
    held = take_examples(data.validation, config.images, seeded_generator("cpu", config.seed, "held out"))
    source = data.training
    if isinstance(source, InMemoryImages) and source.images.shape[2] == config.size:
        pictures = source.images
    else:
        x0 = source(DRAWN, seeded_generator("cpu", config.seed, "training"))
        pictures = ((x0 + 1) * 127.5).round().to(torch.uint8)
    assert isinstance(held, torch.Tensor)
    return pictures, held


def record(config: Config, argv: Sequence[str], pictures: Tensor, held: Tensor) -> dict[str, Any]:
    """Return what the numbers depend on."""
    from experiments.evaluation.accumulate import tensor_sha256
    from experiments.run.environment import describe_environment

    environment = describe_environment("cpu")
    environment["command"] = " ".join(["python experiments/bench/recipes.py", *argv])
    environment["versions"] |= {name: version(name) for name in PEERS.values() if find_spec(name)}
    data = {name: {"images": len(x), "sha256": tensor_sha256(x)} for name, x in (("train", pictures), ("held", held))}
    return {"configuration": config.model_dump(mode="json"), "environment": environment, "data": data}


def compare(config: Config, argv: Sequence[str]) -> None:
    """Train, measure and write, one training after the other, and print the tables."""
    from experiments.bench.recipe_errors import ColdErrors, NoiseErrors, evaluate
    from experiments.evaluation.tables import render_evaluation

    chosen = trainings(config)
    pictures, held = images(config)
    noise = config.comparison == "noise"
    errors: Errors = NoiseErrors(held, config.seed) if noise else ColdErrors(held, config.seed, config.sample_steps)
    ours(config.model_copy(update={"seconds": 1e-9}))[1](pictures)  # what torch imports and builds in a first step
    described, observed, results = record(config, argv, pictures, held), {}, {}
    for name, (settings, train) in chosen.items():
        done = train(pictures)
        took = {"steps": done.steps, "seconds": done.seconds, "images": done.images, "parameters": done.parameters}
        observed[name] = errors.observe(done.R)
        results[name] = {**took, "levels": errors.levels(done.R), "settings": settings}
        tables = evaluate(errors, observed, BASELINE)
        stored = {title: table.to_dict() for title, table in tables.items()}
        write(config, {**described, "trainings": results, "tables": stored})
        print(f"{name}: {done.steps} steps, {done.images} images, {done.seconds:.1f} s", flush=True)
    for title, table in tables.items():
        print(render_evaluation(table, f"\n{title}:"))


def write(config: Config, result: Mapping[str, Any]) -> None:
    """Put the result beside those of the other comparisons in --out.

    Raises:
        UsageError: if the file cannot be written.
    """
    try:
        write_json(Path(config.out), {**read_json_object(Path(config.out)), config.comparison: result})
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {config.out} cannot be written ({error}); name another file") from None


def main(argv: Sequence[str]) -> None:
    """Compare, print the tables and write the file."""
    config = validated(Config, explicit_values(Config, argv, f"{PROGRAM}.py", __doc__ or ""))
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        compare(config, argv)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
