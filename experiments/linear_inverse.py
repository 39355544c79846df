"""Measure what an operator knows: degraded images, and their linear inverses, without any training.

    python experiments/linear_inverse.py --data cifar10 --download
    python experiments/linear_inverse.py --data mnist.zip --resize pad --images 1000 --out linear-inverse.json

The degradations are those of the presets of train.py for images of 32 pixels, at their last severity, and Gaussian
noise at a severity that leaves something of an image. Each is measured twice: on degraded images as computed in
float32, and rounded to 8 bits, as a file holds them. With --steps, rows of Algorithm 1 and 2 are added, which use the
linear inverse as their restorer, for each of these numbers of steps (`restore.linear_inverse` says what to expect).
Every number comes with its 95 % interval over the images.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field

from degrade.command_line import IntList, UsageError, explicit_values, run_main, validated
from experiments.data.options import DataOptions
from experiments.evaluation.choices import InputPrecision
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions
from experiments.run.presets import PRESETS

if TYPE_CHECKING:
    from torch import Tensor

    from degrade import Degradation
    from experiments.evaluation.evaluator import Evaluation

__all__ = ["Config", "main", "measure"]

PROGRAM = "linear_inverse.py"
METRICS = ("rmse", "ssim", "psnr")
COLOR = ("blur", "pixelate", "inpaint", "decolor")
GRAY = ("blur", "pixelate", "inpaint")  # a gray picture has no color to lose
NOISE: Mapping[str, Any] = {"T": 200, "schedule": "cosine"}
NOISE_SEVERITY = 50  # of 200


class Config(DataOptions, DeviceOptions):
    """Measurement."""

    size: Count = Field(32, description="side of the images in pixels")
    images: int = Field(500, ge=2, description="number of images")
    steps: IntList = Field((), description="numbers of steps of Algorithms 1 and 2 that use the inverse, as 2,50")
    out: str = Field("linear-inverse.json", description="file of the results")


def settings(channels: int) -> list[tuple[Degradation, int]]:
    """Return the degradations of the presets for gray or color images, each with the severity that is measured."""
    from degrade import make

    data, names = ("mnist", GRAY) if channels == 1 else ("cifar10", COLOR)
    presets = [PRESETS[f"{data}-{name}"] for name in names]
    found = [make(preset["degradation"], **preset["degradation_args"]) for preset in presets]
    return [*((D, D.T) for D in found), (make("gaussian_noise", **NOISE), NOISE_SEVERITY)]


def measure(
    D: Degradation, severity: int, x0: Tensor, seed: int, steps: Sequence[int] = ()
) -> dict[InputPrecision, Evaluation]:
    """Return the table of degraded images and linear inverses for each precision of the input.

    Args:
        D: an affine degradation.
        severity: 1..T.
        x0: (N, C, H, W) clean images.
        seed: seed of what D draws and of the intervals.
        steps: numbers of steps, at most `severity` of them, of trajectories with the linear inverse.
    """
    from degrade import expand_level
    from degrade.random import seeded_generator
    from experiments.evaluation.evaluator import Evaluator
    from experiments.evaluation.linear import linear_inverse, linear_restorer, to_input_precision
    from samplers import sample, spaced_timesteps

    t = expand_level(severity, x0)
    z = D.draw(x0, [seeded_generator(x0.device, seed, "degraded", i) for i in range(len(x0))])
    found: dict[InputPrecision, Evaluation] = {}
    for precision in get_args(InputPrecision):
        x_t = to_input_precision(D(x0, t, z), precision)
        rows = {"degraded": x_t, "linear inverse": linear_inverse(D, x_t, t, z, precision)}
        R = linear_restorer(D, x_t, z, precision)
        for count in sorted({min(n, severity) for n in steps}):
            for sampler in ("algorithm1", "algorithm2"):
                end = sample(R, sampler, x_t, R.z, spaced_timesteps(severity, count))
                rows[f"{sampler}, {count} steps"] = end
        found[precision] = Evaluator(METRICS, seed=seed).evaluate(rows, truth=x0, baseline="degraded")
    return found


def main(argv: Sequence[str]) -> None:
    """Measure, print the tables, write the file."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    import torch

    from degrade.random import seeded_generator
    from experiments.data.datasets import load_data
    from experiments.evaluation.accumulate import tensor_sha256
    from experiments.evaluation.tables import render_evaluation
    from experiments.run.environment import describe_environment

    device = config.torch_device()
    data = load_data(config, config.size, config.seed, device, config.data, "--data")
    x0 = data.validation(config.images, seeded_generator(device, config.seed, "restored"))
    tables = []
    for D, severity in settings(data.channels):
        with torch.inference_mode():
            found = measure(D, severity, x0, config.seed, config.steps)
        for precision, evaluation in found.items():
            tables.append(
                {
                    "degradation": D.to_dict(),
                    "severity": severity,
                    "input_precision": precision,
                    "evaluation": evaluation.to_dict(),
                }
            )
            print(render_evaluation(evaluation, f"{D.name}, severity {severity} of {D.T}, {precision}:"), end="\n\n")
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(device),
        "data": {"name": data.name, "images": len(x0), "sha256": tensor_sha256(x0)},
    }
    try:
        write_json(Path(config.out), described | {"tables": tables})
    except OSError as error:
        raise UsageError(f"--out {config.out} cannot be written: {error.strerror}; name another file") from None
    print(config.out)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM.removesuffix(".py")))
