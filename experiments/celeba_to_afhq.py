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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

if __package__ in (None, ""):  # run as a script: make the repository importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from pydantic import Field, model_validator
from torch import Tensor
from tqdm import tqdm

from degrade import Degradation, Source, make
from degrade.coupling import Coupling
from degrade.keyed import globally_keyed, keyed
from degrade.strip import Strip, severities, sheet
from experiments.cli import UserError, parse, run_main
from experiments.config import Count, NetworkOptions, RunOptions, TrainOptions
from experiments.drawn import DrawnAnimals, DrawnFaces
from experiments.figures import animate, curve
from experiments.fit import fit
from experiments.images import load_images
from experiments.metrics import frechet, resemblance, rmse, ssim
from experiments.runs import choose_folder, claim, read_log, stored_config, write_json
from restore import Restorer, Training, UNet, latest, resume
from samplers import Algorithm1, Algorithm2, OtherSet, Step, direct, reverse, sample, strided

__all__ = ["Config", "main"]

PROGRAM = "celeba_to_afhq"
SAMPLERS: dict[str, Step] = {
    "algorithm1": Algorithm1(),
    "algorithm1-fixed": Algorithm1(estimate=False),
    "algorithm2": Algorithm2(),
    "algorithm2-fixed": Algorithm2(estimate=False),
}
CAPTIONS = {
    "algorithm1": ("Algorithm 1", "z estimated"),
    "algorithm1-fixed": ("Algorithm 1", "z fixed"),
    "algorithm2": ("Algorithm 2", "z estimated"),
    "algorithm2-fixed": ("Algorithm 2", "z fixed"),
}
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
    coupling: Coupling = Field("independent", description="of faces and animals: independent or optimal")
    sampler: str = Field("algorithm2-fixed", description=f"of the animation: {', '.join(SAMPLERS)}")
    sample_steps: Count | None = Field(None, description="steps of a walk (default: 20, or T if that is less)")
    eval_images: int = Field(64, ge=2, description="images that are measured")

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

    def times(self, start: int) -> list[int]:
        """Return the severities that a walk from `start` visits."""
        return strided(start, min(self.sample_steps or 20, start))


class Config(TrainOptions, NetworkOptions, DegradationOptions):
    """Everything."""


PRESETS: dict[str, dict[str, Any]] = {
    "demo": {},
    "paper": {
        **{"size": 128, "width": 64, "multipliers": (1, 2, 4, 8), "blocks": 2, "attention": (16,), "patch": 1},
        **{"groups": 32, "T": 200, "schedule": "cosine", "loss": "l1", "steps": 700_000, "batch": 32, "accumulate": 2},
        **{"lr": 2e-5, "warmup": 0, "clip": None, "ema_decay": 0.995, "ema_every": 10, "ema_start": 2000},
        **{"sample_steps": 200, "eval_images": 1000, "log_every": 100, "save_every": 1000},
    },
}


class Sets(NamedTuple):
    """The set that is restored and the other one, for training and, unseen by it, for pictures and measurements."""

    clean: Source
    other: Source
    unseen_clean: Source
    unseen_other: Source


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


class Study:
    """A trained restorer of one set, the other set, and what one asks of them."""

    def __init__(self, config: Config, R: Restorer, sets: Sets, device: torch.device) -> None:
        self.config, self.R, self.sets, self.device = config, R, sets, device
        self.D = config.degradation(sets.unseen_other)

    def generator(self, use: str) -> torch.Generator:
        """Return the generator for one use."""
        return keyed(self.device, self.config.seed, use)

    def full(self, t: int, x: Tensor) -> Tensor:
        """Return severity t for each image."""
        return torch.full((len(x),), t, device=self.device)

    def pairs(self, n: int, use: str) -> tuple[Tensor, Tensor]:
        """Return n unseen clean images and their partners."""
        generator = self.generator(use)
        x0 = self.sets.unseen_clean(n, generator)
        return x0, self.D.draw(x0, generator)

    def measure(self) -> dict[str, Any]:
        """Measure restorations from half-way against the truth, and what comes of a partner alone as a set."""
        n, half = self.config.eval_images, max(1, self.D.T // 2)
        x0, z = self.pairs(n, "measure")
        x_half = self.D(x0, self.full(half, x0), z)
        starts, _ = OtherSet(self.sets.unseen_other)(n, self.generator("starts"))
        real = self.sets.clean(n, self.generator("real"))
        table = {}
        for name in tqdm(["direct", *SAMPLERS], "measuring", disable=None, leave=False):
            restored = self.walk(name, x_half, z, half)
            made = self.walk(name, starts, starts, self.D.T)
            table[name] = {
                "rmse": rmse(restored, x0),
                "ssim": ssim(restored, x0),
                "frechet": frechet(made, real),
                "resemblance": resemblance(made, starts),
            }
        floor = frechet(self.sets.clean(n, self.generator("real again")), real)
        return {"half_way": half, "images": n, "samplers": table, "frechet_of_real_images": floor}

    def walk(self, name: str, x: Tensor, z: Tensor, start: int) -> Tensor:
        """Return the images at the end of the sampler's walk from severity `start`, in batches."""
        ends = []
        for x_part, z_part in zip(*(torch.split(v, self.config.batch) for v in (x, z))):
            if name == "direct":
                ends.append(direct(self.R, x_part, start))
            else:
                ends.append(sample(self.D, self.R, SAMPLERS[name], x_part, z_part, self.config.times(start)))
        return torch.cat(ends)

    def pictures(self, folder: Path) -> list[Path]:
        """Draw everything that is worth looking at; return the files."""
        log = read_log(folder / "log.jsonl")
        return [
            self.forward_strip(folder / "forward.png"),
            self.reverse_strip(folder / "reverse.png"),
            self.round_trip(folder / "round_trip.gif"),
            curve(folder / "learning_curve.png", log, f"{self.config.loss} loss of {PROGRAM}"),
        ]

    def forward_strip(self, path: Path) -> Path:
        """Rows of x0 -> D(x0, t, z) -> z."""
        x0, z = self.pairs(5, "pictures")
        times = strided(self.D.T, min(7, self.D.T))[::-1]
        panels = torch.stack([self.D(x0, self.full(t, x0), z) for t in times] + [z], dim=1)
        captions = ["x0", *(f"t = {t}" for t in times[1:]), "z"]
        return self.save([Strip(f"image {i + 1}", "D(x0, t, z)", row, captions) for i, row in enumerate(panels)], path)

    def reverse_strip(self, path: Path) -> Path:
        """Rows of the reverse walk, for each sampler, from the same starts."""
        starts, _ = OtherSet(self.sets.unseen_other)(2, self.generator("pictures"))
        times = self.config.times(self.D.T)
        shown = [times[k] for k in severities(len(times) - 1, 9)]
        guess = direct(self.R, starts, self.D.T)
        walks = {name: self.visited(name, starts) for name in SAMPLERS}
        rows = []
        for i, start in enumerate(starts):
            rows.append(Strip("direct", "R(x_T, T)", torch.stack([start, guess[i]]), [f"t = {self.D.T}", "t = 0"]))
            for name, walk in walks.items():
                panels = torch.stack([walk[t][i] for t in shown])
                rows.append(Strip(*CAPTIONS[name], panels, [f"t = {t}" for t in shown]))
        return self.save(rows, path)

    def save(self, rows: Sequence[Strip], path: Path) -> Path:
        """Save strips at a size at which faces can be judged."""
        sheet(rows, scale=max(1, 128 // self.config.size)).save(path)
        return path

    @torch.no_grad()
    def visited(self, name: str, x_T: Tensor) -> dict[int, Tensor]:
        """Return the images at every severity that the sampler visits from x_T = z."""
        walk = reverse(self.D, self.R, SAMPLERS[name], x_T, x_T, self.config.times(self.D.T))
        return {self.D.T: x_T} | {visit.s: visit.x_s for visit in walk}

    def round_trip(self, path: Path) -> Path:
        """Clean images turn into their partners, and back into clean images."""
        x0, z = self.pairs(5, "pictures")
        there = [self.D(x0, self.full(t, x0), z) for t in strided(self.D.T, min(24, self.D.T))[::-1]]
        back = list(self.visited(self.config.sampler, z).values())
        frames = [*there, *back]
        hold = (0, len(there), len(frames) - 1)
        return animate(path, frames, scale=max(1, 192 // self.config.size), seconds=0.08, hold=hold)


def report(measured: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table that a run ends with."""
    half, n = measured["half_way"], measured["images"]
    yield f"{n} unseen images; restored from severity {half} against the truth, and made from partners alone:"
    yield f"{'':<18}{'RMSE':>8}{'SSIM':>8}{'distance':>11}{'resemblance':>13}"
    for name, row in measured["samplers"].items():
        numbers = f"{row['rmse']:>8.3f}{row['ssim']:>8.3f}{row['frechet']:>11.2f}{row['resemblance']:>13.2f}"
        yield f"{name:<18}{numbers}"
    yield f"{'real images':<18}{'':>16}{measured['frechet_of_real_images']:>11.2f}"
    yield "RMSE, SSIM: a fixed z is the true partner. distance: Fréchet, of 8 x 8 thumbnails, to the real images."


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

    study = Study(config, training.ema, sets, device)
    measured = study.measure()
    write_json(folder / "metrics.json", measured)
    pictures = study.pictures(folder)
    print("\n".join(report(measured)))
    print(f"model: {latest(folder / 'model')}\n" + "\n".join(map(str, pictures)))


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
