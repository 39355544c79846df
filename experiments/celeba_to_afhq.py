"""Faces into animals and back.

A face x0 is degraded into an animal z, x_t = a_t x0 + b_t z, and a network learns to restore the face: the animorphosis
of Bansal et al. (arXiv 2208.09392, 2022, section 5.2). Which is which:

    --restore celeba (default, the paper's direction)   x0 = CelebA, z = AFHQ: animals become faces
    --restore afhq                                      x0 = AFHQ, z = CelebA: faces become animals

Without data sets it draws its own faces and animals. It then starts from the model `faces-from-animals`, which comes
with the package, trains for some steps more, and is done in a minute on a CPU:

    python experiments/celeba_to_afhq.py
    python experiments/celeba_to_afhq.py --from-scratch                 the same network from random weights: minutes
    python experiments/celeba_to_afhq.py --preset faces-from-animals    as the model was at first: 45 minutes of a core
    python experiments/celeba_to_afhq.py --celeba faces.zip --afhq animals/ --preset paper    photographs: a GPU, days

The run's folder then holds its configuration, model, log, metrics and pictures; the pictures' paths are printed last.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from degrade.choices import Coupling
from degrade.command_line import Options, UsageError, run_main, validated
from experiments.data.options import DataOptions as Reading
from experiments.evaluation.choices import TRANSLATION_SAMPLERS
from experiments.run.options import Count, TrainerOptions
from experiments.run.presets import PAPER_NETWORK, PAPER_TRAINING
from experiments.run.start import start_run

if TYPE_CHECKING:
    import torch

    from degrade import Degradation, Source
    from experiments.evaluation.translation import Sets
    from restore import DatasetInfo

__all__ = ["Config", "main"]

PROGRAM = "celeba_to_afhq"
MODEL = "faces-from-animals"  # it comes with the package
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
        "algorithm2", description=f"sampler of the animation: {', '.join(TRANSLATION_SAMPLERS)}, or any other"
    )
    sample_steps: Count | None = Field(None, description="number of sampling steps (default: 20, or T if that is less)")
    eval_images: int = Field(48, ge=2, description="number of images in the evaluation")

    @model_validator(mode="after")
    def _fitting(self) -> DegradationOptions:
        from samplers import parse_sampler

        try:
            parse_sampler(self.sampler).check_compatible(self.degradation())
        except ValueError as error:
            raise ValueError(f"--sampler {self.sampler}: {error}") from None
        if self.sample_steps is not None and self.sample_steps > self.T:
            raise ValueError(f"--sample-steps {self.sample_steps} is more than --T {self.T}; choose {self.T} or fewer")
        return self

    def degradation(self, source: Source | None = None) -> Degradation:
        """Return the degradation whose partners come from `source`."""
        from degrade import make

        return make("interpolation", T=self.T, schedule=self.schedule, coupling=self.coupling, source=source)


class Config(TrainerOptions, DegradationOptions):
    """Demo."""

    from_scratch: bool = Field(
        False, description=f"train the network of the demo from random weights, instead of the model {MODEL}"
    )

    @classmethod
    def merge(cls, preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with those given over them; the demo continues a model if it can.

        It cannot where random weights are asked for, where the images are others than those that the shipped model was
        trained on, or where that model is not installed, which a warning says.
        """
        from restore.models.catalog import find_model

        other_images = any(given.get(name) for name in ("celeba", "afhq", "download")) or given.get("restore") == "afhq"
        if given.get("preset", "demo") == "demo" and given.get("from_scratch") is not True:
            if "pretrained" in given:
                preset = {**preset, **CONTINUED} if given["pretrained"] is not None else preset
            elif not other_images and find_model(MODEL):
                preset = {**preset, **CONTINUED}
            elif not other_images and not given.get("resume"):
                warnings.warn(f"the model {MODEL} is not installed; training from random weights", stacklevel=2)
        return super().merge(preset, given)

    @model_validator(mode="after")
    def _check_start(self) -> Config:
        if self.from_scratch and self.pretrained is not None:
            raise ValueError(f"--pretrained {self.pretrained}: --from-scratch is given, too; leave one of them out")
        return self


# How the shipped model was first trained; its card says how it was continued.
FACES: dict[str, Any] = {
    **{"patch_size": 2, "model_channels": 48, "channel_mult": (1, 2, 4), "precision": "auto"},
    **{"steps": 4600, "optimizer": "adam:lr=6e-4", "lr_schedule": "warmup_stable_decay:warmup=200,decay=0.25"},
    **{"ema_decay": 0.999, "ema_start": 200, "log_every": 100},
}
# A short training from random weights.
SHORT: dict[str, Any] = {
    **{"steps": 800, "lr_schedule": "warmup_stable_decay:warmup=50,decay=0.25"},
    **{"ema_decay": 0.99, "ema_start": 100, "log_every": 20},
}
# A shorter one that leaves good weights good.
CONTINUED: dict[str, Any] = {
    **{"pretrained": MODEL, "steps": 30, "optimizer": "adam:lr=1e-5", "lr_schedule": "constant:warmup=10"},
    **{"ema_decay": 0.95, "ema_start": 0, "log_every": 5, "sample_steps": 20, "eval_images": 16},
}
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {**FACES, **SHORT},
    MODEL: FACES,
    "paper": {
        **{**PAPER_TRAINING, **PAPER_NETWORK, "size": 128, "T": 200, "schedule": "cosine"},
        **{"coupling": "independent", "sample_steps": 200},
    },
}


def load_sets(config: Config, device: torch.device) -> tuple[Sets, DatasetInfo]:
    """Return the four sources of images, photographs or drawings, and what the first one is."""
    from experiments.data.datasets import load_data
    from experiments.evaluation.translation import Sets

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
    from experiments.evaluation.translation import TranslationEvaluator, report
    from experiments.report.content import evaluation_table, restoration_blocks
    from experiments.run.training import Results, TrainingTask, train, write_results

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
    title = f"{PROGRAM}, {config.loss} loss"
    write_results(folder, Results(measured, report(measured), pictures, title, blocks), device)
    print("\n".join(advice(config, folder)))


def advice(config: Config, folder: Path) -> Iterator[str]:
    """Yield the lines that say what to look at, and how to train the network from random weights."""
    x0, z = ("faces", "animals") if config.restore == "celeba" else ("animals", "faces")
    yield f"\nlook at {folder / 'report.html'}: sliders over the severity and the sampling, and still pictures"
    yield f"        {folder / 'round_trip.gif'}: {x0} become {z} and {x0} again"
    if config.pretrained is not None:
        yield f"This run continued the model {config.pretrained}. From random weights:"
        yield f"  python experiments/{PROGRAM}.py --from-scratch    minutes; soft {x0}"
        yield f"  python experiments/{PROGRAM}.py --preset {MODEL}    as the model was at first: 45 minutes of a core"


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
