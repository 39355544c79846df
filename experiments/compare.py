"""Compare samplers honestly: the same trained model and images, counted in calls of R.

    python experiments/compare.py --model runs/train-001
    python experiments/compare.py --model runs/train-001 --samplers algorithm2,heun,repaint:repeats=2 --steps 4,16

Each sampler restores the same unseen images at each number of steps, evenly spaced and respaced by equal shares of
the change of R's guess (`samplers.respacing`, measured on a walk of training images), beside the restoration at one
go. Numbers and curves go to the folder `compare` of the run, or to --out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from degrade import Degradation
from degrade.command_line import IntList, UsageError, explicit_values, run_main, validated
from degrade.seeding import seeded_generator
from experiments.evaluation.comparison import Comparison, draw, table
from experiments.run.folder import write_json
from experiments.run.model import ModelSource, load_model
from experiments.run.options import Count, DeviceOptions
from samplers import parse_sampler

__all__ = ["Config", "main"]

PROGRAM = "compare.py"


def _words(value: Any) -> Any:
    # At blanks and at commas, but not at those between the arguments of one sampler.
    return tuple(filter(None, re.split(r"\s+|,(?![^,:]*=)", value))) if isinstance(value, str) else value


class ModelOptions(DeviceOptions):
    """The model."""

    model: str | None = Field(None, description="folder of a run, or of its model")
    data: str | None = Field(None, description="images, as --data of train.py (default: those of the run)")
    other: str | None = Field(None, description="images that `interpolation` turns into (default: those of the run)")
    out: str | None = Field(None, description="folder for what is measured (default: compare, in the run)")


class Config(ModelOptions):
    """The comparison."""

    samplers: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        ("algorithm1", "algorithm2", "heun", "indi", "averaged_prediction"),
        description="such as algorithm2-fixed,ddim:eta=0.5",
    )
    steps: IntList = Field((2, 5, 10, 20), description="numbers of steps")
    start: Count | None = Field(None, description="severity that is restored from (default: the last)")
    images: int = Field(64, ge=2, description="images that are restored, and on which the change is measured")
    batch: Count = Field(32, description="images a forward pass")


def check(config: Config, D: Degradation) -> int:
    """Return the severity to start from, with samplers and numbers of steps found to suit D.

    Raises:
        UsageError: if they do not.
    """
    start = D.T if config.start is None else config.start
    if start > D.T:
        raise UsageError(f"--start {start} is more than T = {D.T}; choose {D.T} or less")
    if not config.steps or min(config.steps) > start:
        raise UsageError(f"--steps {','.join(map(str, config.steps))}: name one of at most {start}, the start")
    if not config.samplers:
        raise UsageError("--samplers is empty; name one, such as algorithm2")
    for name in config.samplers:
        try:
            parse_sampler(name).check_compatible(D)
        except ValueError as error:
            raise UsageError(f"--samplers {name}: {error}") from None
    return start


def main(argv: Sequence[str]) -> None:
    """Restore, measure, draw."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    device = config.torch_device()
    model = load_model(ModelSource(config.model, config.data, config.other, config.seed), device)
    if model.data is None:
        raise UsageError("the images of the run are not known; name some with --data, or --data drawn")
    D = model.R.degradation
    start = check(config, D)
    folder = Path(config.out) if config.out else model.folder / "compare"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None

    x0 = model.data.validation(config.images, seeded_generator(device, config.seed, "restored"))
    z = D.draw(x0, seeded_generator(device, config.seed, "degraded"))
    comparison = Comparison(D, model.R, x0, z, start, config.seed, config.batch)
    data = model.data.training(config.images, seeded_generator(device, config.seed, "measured"))
    measured = {
        **{"model": str(config.model), "trained_steps": model.specification.step, "data": model.data.name},
        **{"degradation": {"name": D.name, "arguments": D.arguments}, "device": str(device)},
        **comparison.run(config.samplers, config.steps, data),
    }
    write_json(folder / "compare.json", measured)
    picture = draw(folder / "compare.png", measured, f"{D.name}, from severity {start} of {D.T}")
    print("\n".join([*table(measured), str(picture)]))


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
