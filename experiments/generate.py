"""Generate images from nothing but a trained model and its prior over x_T.

    python experiments/generate.py --model runs/train-001
    python experiments/generate.py --model runs/train-001 --sweep 0,0.002,0.01     what broken symmetry does
    python experiments/generate.py --model runs/train-001 --prior low_resolution --k 2 --data faces.zip

Any degradation will do: from blur and pixels the prior is a mixture on a low-resolution version, from masks to a color
it is a color, from noise noise, from interpolation the other set. It is the one saved with the model, or it is fitted
to the images the model was trained on, or to those named with --data. Pictures, the prior (prior.json) and measurements
go to the folder `generate` of the run, or to --out, in the place of earlier ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
from pydantic import Field

from degrade import Degradation
from degrade.command_line import UsageError, explicit_values, run_main, validated
from experiments.evaluation.generation import GenerationEvaluator, prior_report, table
from experiments.run.folder import write_json
from experiments.run.model import Model, ModelSource, load_model
from experiments.run.options import Count, DeviceOptions
from samplers import (
    FitOptions,
    Prior,
    Sampler,
    fit_prior,
    load_prior,
    measure_remaining_detail,
    parse_sampler,
    spaced_timesteps,
)
from samplers.priors.fit import Kind

__all__ = ["Config", "main"]

PROGRAM = "generate.py"
JITTER = 0.002  # of a prior that is fitted here
KINDS = get_args(Kind)


class WalkOptions(DeviceOptions):
    """The model and its walks."""

    model: str | None = Field(None, description="folder of a run, or name of a model")
    out: str | None = Field(None, description="folder for what is made (default: generate, in the run)")
    images: int = Field(36, ge=2, description="how many images")
    batch: Count = Field(36, description="images a forward pass")
    sampler: str = Field("algorithm2", description="such as algorithm1, algorithm2-fixed, ddim:eta=0.5")
    sample_steps: Count | None = Field(None, description="steps of a walk (default: as many as there are levels)")


class PriorOptions(WalkOptions):
    """The prior."""

    prior: str = Field("auto", description=f"auto (the saved one, or what suits), or {', '.join(KINDS[1:])}")
    k: Count | None = Field(None, description="side of low_resolution's pictures (default: the least that suits)")
    components: Count = Field(1, description="of low_resolution's mixture")
    fit_images: Count = Field(2000, description="images that a prior is fitted to")
    jitter: float | None = Field(None, ge=0, description=f"of the starts (default: the prior's own, or {JITTER})")
    sweep: tuple[Annotated[float, Field(ge=0)], ...] = Field((), description="jitters to compare, such as 0,0.002,0.01")


class Config(PriorOptions):
    """The data."""

    data: str | None = Field(None, description="real images, as --data of train.py (default: those of the run)")
    partner_data: str | None = Field(
        None, description="images that `interpolation` starts from (default: those of the run)"
    )


def find_prior(config: Config, model: Model, device: torch.device) -> Prior:
    """Return the prior asked for: the saved one, or one that is fitted.

    Raises:
        UsageError: if it cannot be had.
    """
    D, spec = model.R.degradation, model.specification.prior
    try:
        if config.prior == "auto" and config.k is None and spec is not None:
            source = model.other if spec.name == "dataset" else model.data
            live = {"source": source.training} if source else {}
            return load_prior(config.model or "", D=D, device=device, **live)
        # k says what is meant.
        kind: Any = "low_resolution" if config.prior == "auto" and config.k else config.prior
        images = model.data.training if model.data else _probes(D, model, kind, device)
        return fit_prior(
            D,
            images,
            kind,
            FitOptions(
                n=config.fit_images,
                k=config.k,
                components=config.components,
                jitter=JITTER if config.jitter is None else config.jitter,
                seed=config.seed,
            ),
        )
    except (ValueError, ImportError) as error:
        raise UsageError(f"--prior {config.prior}: {error}") from None


def _probes(D: Degradation, model: Model, kind: str, device: torch.device) -> torch.Tensor:
    """Return black and white images, plain and speckled: what D forgets of these, it forgets of any."""
    network = model.specification.network.arguments
    shape = (network.get("out_channels") or network["in_channels"], network["image_size"], network["image_size"])
    generator = torch.Generator().manual_seed(0)
    signs = torch.rand(32, *shape, generator=generator).round() * 2 - 1
    x0 = torch.cat([signs, signs[:, :, :1, :1].expand_as(signs)]).to(device)
    if kind not in ("degraded_zero", "standard_normal") and not (
        kind == "auto" and measure_remaining_detail(D, x0, sizes=[0])
    ):
        raise ValueError(f"{D.name} leaves something of an image at T = {D.T}; name images to fit it to with --data")
    return x0


def read_walk(config: Config, D: Degradation) -> tuple[Sampler, list[int]]:
    """Return the sampler and the severities it visits.

    Raises:
        UsageError: if they do not suit D.
    """
    if config.sample_steps is not None and config.sample_steps > D.T:
        raise UsageError(f"--sample-steps {config.sample_steps} is more than T = {D.T}; choose {D.T} or fewer")
    try:
        step = parse_sampler(config.sampler)
        step.check_compatible(D)
    except ValueError as error:
        raise UsageError(f"--sampler {config.sampler}: {error}") from None
    return step, spaced_timesteps(D.T, config.sample_steps)


def main(argv: Sequence[str]) -> None:
    """Generate, measure, draw."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    device = config.torch_device()
    model = load_model(ModelSource(config.model, config.data, config.partner_data, config.seed), device)
    D = model.R.degradation
    step, times = read_walk(config, D)
    prior = find_prior(config, model, device)
    folder = Path(config.out) if config.out else model.folder / "generate"
    jitter = prior.jitter if config.jitter is None else config.jitter
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "prior.json", {"name": prior.name, "arguments": prior.arguments})
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None

    study = GenerationEvaluator(D, model.R, step, prior, times, config.seed, config.batch)
    made = {value: study.images(config.images, value) for value in dict.fromkeys([jitter, *config.sweep])}
    unseen = model.data.validation if model.data else None
    measured: dict[str, Any] = {
        **{"model": str(config.model), "trained_steps": model.specification.step, "images": config.images},
        **{"sampler": config.sampler, "steps": len(times) - 1, "evaluation": study.measure(made, unseen)},
        "prior": {"name": prior.name, "jitter": jitter, "k": getattr(prior, "k", None)},
        "prior_report": prior_report(prior, D, unseen, seed=config.seed, device=device) if unseen else None,
    }
    swept = {value: made[value] for value in config.sweep}
    measured["diversity_from_one_start"] = study.sweep(folder / "sweep.png", swept) if swept else {}
    write_json(folder / "metrics.json", measured)
    pictures = [
        study.grid(folder / "grid.png", made[jitter]),
        study.trajectories(folder / "trajectories.png", min(5, config.images), jitter),
        study.film(folder / "walks.gif", min(6, config.images), jitter),
        study.starts(folder / "starts.png", unseen),
    ]
    pictures += [folder / "sweep.png"] if swept else []
    print("\n".join([*table(measured), *map(str, pictures)]))


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
