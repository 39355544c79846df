"""What one model of Gaussian noise restores: five degradations of one picture, which it was not trained on.

    python experiments/restorations.py                                              a drawn landscape
    python experiments/restorations.py --image photo.jpg --size 320 --model photo-noise --out restored.png
    python experiments/restorations.py --sampler ddim --rule pseudo_inverse         another sampler, another rule

The picture is degraded, rounded to 8 bits as a file is, and restored by `samplers.restore_image` with the degradation
named (`restore.conditioned`). A row shows it clean, degraded, restored by the linear inverse, which needs no model but
an affine degradation, and restored by the model, with PSNR in dB. A JSON file of the same name has the numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

import degrade
from degrade.command_line import UsageError, explicit_values, run_main, validated
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions

if TYPE_CHECKING:
    from torch import Tensor

    from restore import BaseRestorer

__all__ = ["CASES", "Case", "Config", "main"]


class Case(NamedTuple):
    """A degradation, its arguments, the severity, the rule by which the picture conditions the model, a subtitle."""

    name: str
    arguments: Mapping[str, Any]
    severity: int
    rule: str
    subtitle: str


CASES = (
    Case("blur", {"T": 1, "cumulative_sigma": (2.0,), "padding_mode": "symmetric"}, 1, "proximal", "sigma = 2 pixels"),
    Case("motion_blur", {"T": 1, "kernel_size": 9, "padding_mode": "circular"}, 1, "proximal", "9 pixels"),
    Case("pixelate", {"T": 1}, 1, "proximal", "2 x 2 pixels"),
    Case("missing_pixels", {"T": 2}, 1, "proximal", "half of them"),
    Case("decolor", {"T": 10}, 9, "proximal", "nine tenths of the color"),
)


class Config(DeviceOptions):
    """Options."""

    model: str = Field("photo-noise", description="name of a model of Gaussian noise, or folder of a run")
    image: str | None = Field(None, description="a picture of yours (default: a drawn landscape)")
    size: int = Field(192, ge=16, description="side in pixels to which the middle square is scaled, at least 16")
    steps: Count = Field(20, description="steps of the sampler")
    sampler: str = Field("ancestral:variance=constant", description="sampler, such as ddpm or ddim:eta=0.5")
    rule: str | None = Field(None, description="rule for all degradations (default: proximal for each)")
    out: str = Field("restorations.png", description="file of the picture; the numbers go beside it, as .json")


def restorations(
    R: BaseRestorer, x0: Tensor, case: Case, steps: int, seed: int, sampler: str | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield names and images: a picture (1, C, H, W) clean, degraded, and restored in each way.

    Raises:
        ValueError: if R is no model of Gaussian noise, or the picture does not suit the degradation.
    """
    from degrade import expand_level, quantize_8bit
    from degrade.random import seeded_generator
    from experiments.evaluation.linear import has_linear_inverse, linear_inverse
    from samplers import RestoreOptions, restore_image

    D = degrade.make(case.name, **case.arguments)
    t, z = (
        expand_level(case.severity, x0),
        D.draw(x0, seeded_generator(x0.device, seed, case.name)) if D.random else None,
    )
    y = quantize_8bit(D(x0, t, z))
    yield "clean", x0
    yield "degraded", y
    if has_linear_inverse(D):
        yield "linear inverse", linear_inverse(D, y, t, z, "8bit").clamp(-1, 1)
    options = RestoreOptions(steps=steps, degradation=D, z=z, rule=case.rule)
    generator = seeded_generator(x0.device, seed, case.name, "sampled")
    yield "restored", restore_image(R, y, case.severity, sampler, options, generator).image


def _psnr(x: Tensor, x0: Tensor) -> float:
    from experiments.evaluation.metrics.paired import PSNR

    return float(PSNR().per_image((x + 1) / 2, (x0 + 1) / 2))


def main(argv: Sequence[str]) -> None:
    """Restore, print the table, write the picture and the numbers."""
    config = validated(Config, explicit_values(Config, argv, "restorations.py", __doc__ or ""))
    import torch
    from tqdm import tqdm

    from degrade.demo_image import demo_image
    from degrade.image_io import load_image
    from degrade.rendering import SeverityRow, render_rows
    from experiments.run.environment import describe_environment
    from restore import load

    rows, numbers = [], {}
    try:
        R = load(config.model, config.torch_device())
        picture = load_image(config.image, config.size) if config.image else demo_image(config.size)
        x0 = picture[None].to(config.torch_device())
        for each in tqdm(CASES, "restoring", disable=None, leave=False):
            case = each if config.rule is None else each._replace(rule=config.rule)
            made = dict(restorations(R, x0, case, config.steps, config.seed, config.sampler))
            found = {name: _psnr(x, x0) for name, x in made.items() if name != "clean"}
            captions = [name if name == "clean" else f"{name} {found[name]:.1f}" for name in made]
            rows.append(SeverityRow(case.name, case.subtitle, torch.cat(list(made.values())), captions))
            numbers[case.name] = {**case._asdict(), "psnr": found}
            print(f"{case.name:<16}" + "  ".join(f"{name} {value:.2f}" for name, value in found.items()))
        render_rows(rows).save(config.out)
        written = Path(config.out).with_suffix(".json")
        environment = describe_environment(config.torch_device())
        write_json(
            written, {"configuration": config.model_dump(mode="json"), "restored": numbers, "environment": environment}
        )
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    print(f"{config.out}\n{written}")


if __name__ == "__main__":
    sys.exit(run_main(main, "restorations"))
