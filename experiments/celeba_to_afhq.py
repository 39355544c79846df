"""Faces into animals and back.

A face x0 is degraded into an animal z, x_t = a_t x0 + b_t z, and a network learns to restore the face: the animorphosis
of Bansal et al. (arXiv 2208.09392, 2022, section 5.2). Which is which:

    --restore celeba (default, the paper's direction)   x0 = CelebA, z = AFHQ: animals become faces
    --restore afhq                                      x0 = AFHQ, z = CelebA: faces become animals

Without data sets it draws its own faces and animals and is done in minutes on a CPU. With photographs:

    python experiments/celeba_to_afhq.py --celeba faces.zip --afhq animals/ --preset paper

The run's folder then holds its configuration, model, log, metrics and pictures; the pictures' paths are printed last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from degrade import Degradation, Source, make
from degrade.command_line import Options, UsageError, run_main, validated
from degrade.operators.interpolation import Coupling
from experiments.data.datasets import DataOptions as Reading
from experiments.data.datasets import load_data
from experiments.evaluation.translation import SAMPLERS, Sets, TranslationEvaluator, report
from experiments.report.content import evaluation_table, restoration_blocks
from experiments.run.options import Count
from experiments.run.presets import PAPER_NETWORK, PAPER_TRAINING
from experiments.run.training import Results, TrainerOptions, TrainingTask, start_run, train, write_results
from restore import DatasetInfo
from samplers import parse_sampler

__all__ = ["Config", "main"]

PROGRAM = "celeba_to_afhq"
AFHQ_ADVICE = (
    "AFHQ has no automatic download: get it with `bash download.sh afhq-v2-dataset` of github.com/clovaai/stargan-v2"
    " and name its folder or zip with --afhq"
)


class DataOptions(Options):
    """Data."""

    celeba: str | None = Field(None, description="folder or zip of faces (default: drawn faces)")
    afhq: str | None = Field(None, description="folder or zip of animals (default: drawn animals)")
    download: bool = Field(False, description="download CelebA into data/ with torchvision")
    restore: Literal["celeba", "afhq"] = Field("celeba", description="data set that is restored; the other one gives z")


class DegradationOptions(DataOptions):
    """Degradation and sampling."""

    T: Count = Field(200, description="number of severity levels")
    schedule: Literal["cosine", "linear_beta", "rectified"] = Field(
        "cosine", description="cosine, linear_beta or rectified"
    )
    coupling: Coupling = Field("optimal", description="pairs of faces and animals: independent or by optimal transport")
    sampler: str = Field(
        "algorithm2-fixed", description=f"sampler of the animation: {', '.join(SAMPLERS)}, or any other"
    )
    sample_steps: Count | None = Field(None, description="number of sampling steps (default: 20, or T if that is less)")
    eval_images: int = Field(48, ge=2, description="number of images in the evaluation")

    @model_validator(mode="after")
    def _fitting(self) -> DegradationOptions:
        try:
            parse_sampler(self.sampler).check_compatible(self.degradation())
        except ValueError as error:
            raise ValueError(f"--sampler {self.sampler}: {error}") from None
        if self.sample_steps is not None and self.sample_steps > self.T:
            raise ValueError(f"--sample-steps {self.sample_steps} is more than --T {self.T}; choose {self.T} or fewer")
        return self

    def degradation(self, source: Source | None = None) -> Degradation:
        """Return the degradation whose partners come from `source`."""
        return make("interpolation", T=self.T, schedule=self.schedule, coupling=self.coupling, source=source)


class Config(TrainerOptions, DegradationOptions):
    """Everything."""


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {},
    "paper": {
        **{**PAPER_TRAINING, **PAPER_NETWORK, "size": 128, "T": 200, "schedule": "cosine"},
        **{"coupling": "independent", "sample_steps": 200},
    },
}


def load_sets(config: Config, device: torch.device) -> tuple[Sets, DatasetInfo]:
    """Return the four sources of images, photographs or drawings, and what the first one is."""
    celeba = "celeba" if config.download else config.celeba
    if config.afhq is None and config.download:
        raise UsageError(AFHQ_ADVICE)
    if (celeba is None) != (config.afhq is None):
        given, missing = ("--celeba", "--afhq") if config.afhq is None else ("--afhq", "--celeba")
        raise UsageError(f"{given} is given and {missing} is not; give both, or neither for drawn pictures")
    reading = validated(Reading, {"channels": "3", "download": config.download})
    faces, animals = (
        load_data(reading, config.size, config.seed, device, name or drawn, option)
        for name, drawn, option in ((celeba, "drawn", "--celeba"), (config.afhq, "drawn-animals", "--afhq"))
    )
    clean, other = (faces, animals) if config.restore == "celeba" else (animals, faces)
    return Sets(clean.training, other.training, clean.validation, other.validation), clean.spec


def main(argv: Sequence[str]) -> None:
    """Train, measure, draw."""
    config, folder = start_run(Config, PRESETS, argv, PROGRAM, __doc__ or "")
    device = config.torch_device()
    sets, spec = load_sets(config, device)
    training, folder = train(config, folder, TrainingTask(config.degradation(sets.other), sets.clean, spec))
    if training.rank:  # the first process measures and draws
        return
    steps = config.sample_steps or 20
    study = TranslationEvaluator(training.ema, sets, device, config.seed, config.forward_size, steps)
    measured = study.measure(config.eval_images)
    pictures = [
        study.forward_strip(folder / "forward.png"),
        study.reverse_strip(folder / "reverse.png"),
        study.round_trip(folder / "round_trip.gif", config.sampler),
    ]
    x0, z = study.pairs(4, "pictures")
    blocks = [
        *restoration_blocks(training.ema, x0, z, config.sampler, study.times(config.T)),
        evaluation_table(f"Restored from severity {measured['half_way']}", measured["restored"]),
        evaluation_table("Made from partners alone, compared with real images", measured["made"]),
    ]
    title = f"{config.loss} loss of {PROGRAM}"
    write_results(folder, Results(measured, report(measured), pictures, title, blocks), device)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
