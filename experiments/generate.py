"""Generate images with a trained model and its prior over x_T, and measure them.

    python experiments/generate.py --model runs/train-001
    python experiments/generate.py --model runs/train-001 --sweep 0,0.002,0.01     the effect of jitter
    python experiments/generate.py --model runs/ddpm-001 --sampler ddim --sample-steps 50 --label 7 --guidance-scale 2
    python experiments/generate.py --model runs/train-001 --prior low_resolution --k 2 --data faces.zip

It does what `python -m samplers generate` does, and measures the images. The prior is the one saved with the model, or
it is fitted to the images that the model was trained on, or to those named with --data. Pictures, the prior
(prior.json) and measurements go to the folder `generate` of the run, or to --out, in place of earlier ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from degrade.command_line import UsageError, explicit_values, run_main, validated
from experiments.run.folder import write_json
from samplers.commands.generate import GenerationOptions
from samplers.commands.options import Count

__all__ = ["Config", "main"]

PROGRAM = "generate.py"


class Config(GenerationOptions):
    """Evaluation."""

    out: str | None = Field(None, description="folder for the results (default: generate, in the folder of the run)")
    images: int = Field(36, ge=2, description="number of images")
    batch_size: Count = Field(36, description="images in one forward pass")
    data: str | None = Field(None, description="real images, as --data of train.py (default: those of the run)")
    partner_data: str | None = Field(
        None, description="images that `interpolation` starts from (default: those of the run)"
    )
    sweep: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (), description="values of --jitter to compare, such as 0,0.002,0.01"
    )

    def run(self) -> None:
        """Generate, measure, draw; print the measurements and the paths of the pictures."""
        from experiments.evaluation.generation import GenerationEvaluator, prior_report, table
        from experiments.run.model import ModelSource, load_model
        from samplers import spaced_timesteps

        device = self.torch_device()
        model = load_model(ModelSource(self.model, self.data, self.partner_data, self.seed), device)
        R, D = model.R, model.R.degradation
        sampler, timesteps = self.read_sampler(D), spaced_timesteps(D.T, self.sample_steps)
        prior = self.find_prior(
            R, model.data.training if model.data else None, model.other.training if model.other else None
        )
        guided = self.guide(R)
        folder = Path(self.out) if self.out else model.folder / "generate"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "prior.json", prior.to_dict())
        except OSError as error:
            raise UsageError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None

        study = GenerationEvaluator(guided, sampler, prior, timesteps, self.seed, self.batch_size)
        generated = {value: study.images(self.images, value) for value in dict.fromkeys([prior.jitter, *self.sweep])}
        unseen = model.data.validation if model.data else None
        measured: dict[str, Any] = {
            **{"model": str(self.model), "trained_steps": model.specification.step, "images": self.images},
            **{"sampler": self.sampler, "steps": len(timesteps) - 1, "evaluation": study.measure(generated, unseen)},
            **({} if self.label is None else {"label": self.label, "guidance_scale": self.guidance_scale}),
            "prior": {"name": prior.name, "jitter": prior.jitter, "k": getattr(prior, "k", None)},
            "prior_report": prior_report(prior, D, unseen, seed=self.seed, device=device) if unseen else None,
        }
        swept = {value: generated[value] for value in self.sweep}
        measured["diversity_from_one_start"] = study.sweep(folder / "sweep.png", swept) if swept else {}
        write_json(folder / "metrics.json", measured)
        pictures = [
            study.grid(folder / "grid.png", generated[prior.jitter]),
            study.trajectories(folder / "trajectories.png", min(5, self.images), prior.jitter),
            study.film(folder / "trajectories.gif", min(6, self.images), prior.jitter),
            study.starts(folder / "starts.png", unseen),
        ]
        pictures += [folder / "sweep.png"] if swept else []
        print("\n".join([*table(measured), *map(str, pictures)]))


def main(argv: Sequence[str]) -> None:
    """Generate, measure, draw."""
    validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or "")).run()


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
