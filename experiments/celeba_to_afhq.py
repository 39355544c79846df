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
from pathlib import Path
from typing import Any, Literal

if __package__ in (None, ""):  # run as a script: make the repository importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from pydantic import Field, model_validator

from degrade import Degradation, Source, make
from degrade.coupling import Coupling
from degrade.keyed import globally_keyed
from experiments.cli import UserError, parse, run_main
from experiments.config import Count, NetworkOptions, RunOptions, TrainOptions
from experiments.drawn import DrawnAnimals, DrawnFaces
from experiments.figures import curve
from experiments.fit import fit
from experiments.images import load_images
from experiments.runs import choose_folder, claim, read_log, stored_config, write_json
from experiments.study import SAMPLERS, Sets, Study, report
from restore import Restorer, Training, UNet, latest, resume

__all__ = ["Config", "main"]

PROGRAM = "celeba_to_afhq"
AFHQ_ADVICE = (
    "AFHQ has no automatic download: get it with `bash download.sh afhq-v2-dataset` of github.com/clovaai/stargan-v2"
    " and name its folder or zip with --afhq"
)


class DataOptions(RunOptions):
    """The data."""

    celeba: str | None = Field(None, description="folder or zip of faces (default: drawn faces)")
    afhq: str | None = Field(None, description="folder or zip of animals (default: drawn animals)")
    download: bool = Field(False, description="fetch CelebA into data/ with torchvision")
    restore: Literal["celeba", "afhq"] = Field("celeba", description="the set that is restored, celeba or afhq")


class DegradationOptions(DataOptions):
    """The degradation and its walks back."""

    T: Count = Field(200, description="number of severity levels")
    schedule: Literal["cosine", "linear", "straight"] = Field("cosine", description="cosine, linear or straight")
    coupling: Coupling = Field("optimal", description="of faces and animals: independent or optimal")
    sampler: str = Field("algorithm2-fixed", description=f"of the animation: {', '.join(SAMPLERS)}")
    sample_steps: Count | None = Field(None, description="steps of a walk (default: 20, or T if that is less)")
    eval_images: int = Field(48, ge=2, description="images that are measured")

    @model_validator(mode="after")
    def _fitting(self) -> DegradationOptions:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"--sampler {self.sampler}: choose from {', '.join(SAMPLERS)}")
        if self.sample_steps is not None and self.sample_steps > self.T:
            raise ValueError(f"--sample-steps {self.sample_steps} is more than --T {self.T}; choose {self.T} or fewer")
        return self

    def degradation(self, source: Source) -> Degradation:
        """Return the degradation whose partners come from `source`."""
        return make("interpolation", T=self.T, schedule=self.schedule, coupling=self.coupling, source=source)


class Config(TrainOptions, NetworkOptions, DegradationOptions):
    """Everything."""


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {},
    "paper": {
        **{"size": 128, "width": 64, "multipliers": (1, 2, 4, 8), "blocks": 2, "attention": (16,), "patch": 1},
        **{
            "groups": 32,
            "T": 200,
            "schedule": "cosine",
            "coupling": "independent",
            "loss": "l1",
            "steps": 700_000,
            "batch": 32,
            "accumulate": 2,
        },
        **{
            "lr": 2e-5,
            "warmup": 0,
            "decay": "constant",
            "clip": None,
            "ema_decay": 0.995,
            "ema_every": 10,
            "ema_start": 2000,
        },
        **{"sample_steps": 200, "eval_images": 1000, "log_every": 100, "save_every": 1000},
    },
}


def load_sets(config: Config, device: torch.device) -> Sets:
    """Return the four sources of images, photographs or drawings."""
    celeba = _download_celeba(config) if config.download else config.celeba
    if (celeba is None) != (config.afhq is None):
        given, missing = ("--celeba", "--afhq") if config.afhq is None else ("--afhq", "--celeba")
        raise UserError(f"{given} is given and {missing} is not; give both, or neither for drawn pictures")
    if celeba is None or config.afhq is None:
        faces: tuple[Source, Source] = (DrawnFaces(config.size, device),) * 2
        animals: tuple[Source, Source] = (DrawnAnimals(config.size, device),) * 2
    else:
        faces = load_images(Path(celeba), config.size, device, "--celeba").split(config.seed)
        animals = load_images(Path(config.afhq), config.size, device, "--afhq").split(config.seed)
    clean, other = (faces, animals) if config.restore == "celeba" else (animals, faces)
    return Sets(clean[0], other[0], clean[1], other[1])


def _download_celeba(config: Config) -> str:
    if config.afhq is None:
        raise UserError(AFHQ_ADVICE)
    from torchvision.datasets import CelebA  # slow to import

    try:
        CelebA("data", download=True)
    except Exception as error:  # whatever its downloader raises
        raise UserError(
            f"--download: torchvision could not fetch CelebA ({error}); fetch it and use --celeba"
        ) from None
    return "data/celeba/img_align_celeba"


def main(argv: Sequence[str]) -> None:
    """Train, measure, draw."""
    config, explicit = parse(Config, PRESETS, argv, f"{PROGRAM}.py", __doc__ or "")
    folder = choose_folder(config, PROGRAM)
    if config.resume:
        config = stored_config(folder, Config, explicit)
    device, network = config.torch_device(), config.network()
    sets = load_sets(config, device)
    claim(folder, config)

    with globally_keyed("cpu", config.seed, "weights"):
        net = UNet(network)
    net = net.to(device).to(memory_format=torch.channels_last)
    training = Training(Restorer(net, config.degradation(sets.other)), config.training(config.seed))
    if config.resume and (folder / "model").is_dir():
        print(f"continuing after step {resume(folder / 'model', training)}", file=sys.stderr)
    fit(training, sets.clean, folder, config)

    D = config.degradation(sets.unseen_other)
    study = Study(D, training.ema, sets, device, config.seed, config.batch, config.sample_steps or 20)
    measured = study.measure(config.eval_images)
    write_json(folder / "metrics.json", measured)
    pictures = [
        study.forward_strip(folder / "forward.png"),
        study.reverse_strip(folder / "reverse.png"),
        study.round_trip(folder / "round_trip.gif", config.sampler),
        curve(folder / "learning_curve.png", read_log(folder / "log.jsonl"), f"{config.loss} loss of {PROGRAM}"),
    ]
    print("\n".join(report(measured)))
    print(f"model: {latest(folder / 'model')}\n" + "\n".join(map(str, pictures)))


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
