"""Measure a model on whole pictures: PSNR and SSIM at several severities, as its card states them.

    python experiments/evaluate.py --model photo-noise --data photos/test --severities 15,25,50
    python experiments/evaluate.py --model runs/photo-blur --data photos.zip --severities 12,25,50 --out photo-blur.json
    python experiments/evaluate.py --model photo-blur --data photos/test --noise-model photo-noise --find-severity
    python experiments/evaluate.py --model photo-noise --data photos/test --images 12 --baseline cbm3d

Every picture is degraded as the model knows it and restored from that severity: as degraded, by the linear inverse if
there is one, and by one prediction of the model (direct), in tiles as `degrade-restore image` does. Degraded pictures
are rounded to 8 bits if the model was trained on such. --data is a folder or a zip of clean pictures of any sizes; of
one that is split into train and test, test is measured. With --noise-model, a model of Gaussian noise
restores the same pictures, too; with --find-severity, the model also estimates the severity. The file of the results
holds means over the pictures with their 95 % intervals, and the differences to `direct`, measured picture by picture.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from degrade.command_line import IntList, UsageError, explicit_values, run_main, validated
from experiments.evaluation.choices import InputPrecision
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions
from restore.choices import Precision

if TYPE_CHECKING:
    from experiments.data.packed import PackedImages
    from restore import CheckpointConfig, Restorer

__all__ = ["Config", "main"]

PROGRAM = "evaluate.py"


class Config(DeviceOptions):
    """Measurement."""

    model: str | None = Field(None, description="name of a model (see `python -m restore list`), or folder of a run")
    data: str | None = Field(None, description="folder or zip of clean pictures")
    severities: IntList = Field((), description="severities in 1..T (default: each quarter of T)")
    images: Count | None = Field(None, description="number of pictures, the first by name (default: all)")
    input_precision: Literal["auto", "8bit", "float32"] = Field(
        "auto", description="8bit rounds degraded pictures to 256 levels; auto: as the model was trained"
    )
    tile_size: Count | None = Field(None, description="side in pixels of the tiles of the network (default: about 128)")
    noise_model: str | None = Field(
        None, description="name or folder of a model of Gaussian noise that also restores, with the degradation known"
    )
    baseline: Literal["none", "cbm3d"] = Field(
        "none", description="cbm3d also denoises the pictures by CBM3D, told the noise; it needs `pip install bm3d`"
    )
    find_severity: bool = Field(False, description="also restore from the severity that the model estimates")
    precision: Precision = Field("float32", description="precision of the network: float32 or bfloat16")
    out: str = Field("evaluate.json", description="file of the results")


def load_restorer(name: str, option: str, config: Config) -> tuple[Restorer, CheckpointConfig]:
    """Return a model and how it was trained.

    Raises:
        UsageError: if it cannot be read.
    """
    from restore import latest, load, read_checkpoint_config

    try:
        R = load(name, config.torch_device())
        R.precision = config.precision
        return R, read_checkpoint_config(latest(name))
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {name}: {error}") from None


def load_pictures(data: str, images: int | None, channels: int | None) -> PackedImages:
    """Return the pictures at their own sizes, uint8.

    Raises:
        UsageError: if there are none, or 8-bit pictures do not have as many channels as the model.
    """
    from experiments.data.archives import held_out
    from experiments.data.decoding import ResizePolicy, decode_set
    from experiments.data.packed import PackedImages

    try:
        policy = ResizePolicy(1, "none", channels=channels)
    except ValueError as error:
        raise UsageError(f"--data {data}: the model takes pictures of {channels} channels ({error})") from None
    pictures = decode_set(held_out(Path(data), "--data")[:images], policy, "--data", data).images
    assert isinstance(pictures, PackedImages)
    return pictures


def main(argv: Sequence[str]) -> None:
    """Measure, print the tables, write the file."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from experiments.evaluation.cbm3d import CBM3D
    from experiments.evaluation.pictures import PictureOptions, measure_pictures
    from experiments.evaluation.tables import render_evaluation
    from experiments.run.environment import describe_environment

    if config.model is None or config.data is None:
        raise UsageError("--model and --data are both needed: a model or the folder of a run, and clean pictures")
    R, specification = load_restorer(config.model, "--model", config)
    D = R.degradation
    try:
        baseline = CBM3D(D) if config.baseline == "cbm3d" else None
    except ValueError as error:
        raise UsageError(f"--baseline {config.baseline}: {error}") from None
    noise_model = load_restorer(config.noise_model, "--noise-model", config)[0] if config.noise_model else None
    pictures = load_pictures(config.data, config.images, R.image_channels)
    trained: InputPrecision = "8bit" if specification.training.quantize_input else "float32"
    precision = trained if config.input_precision == "auto" else config.input_precision
    options = PictureOptions(
        precision,
        config.tile_size,
        config.seed,
        baseline=baseline,
        noise_model=noise_model,
        find_severity=config.find_severity,
    )
    severities = config.severities or tuple(sorted({max(1, round(D.T * k / 4)) for k in (1, 2, 3, 4)}))
    tables = []
    for severity in severities:
        try:
            evaluation = measure_pictures(R, pictures, severity, options)
        except ValueError as error:
            raise UsageError(f"--severities {severity}: {error}") from None
        tables.append({"severity": severity, "evaluation": evaluation.to_dict()})
        title = f"{len(pictures)} pictures, {D.name}, severity {severity} of {D.T}, {precision}:"
        print(render_evaluation(evaluation, title), end="\n\n")
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(config.torch_device()),
        "degradation": D.to_dict(),
        "trained_steps": specification.step,
        "data": {"name": config.data, "images": len(pictures), "sha256": pictures.sha256},
        "input_precision": precision,
        "tables": tables,
    }
    try:
        write_json(Path(config.out), described)
    except OSError as error:
        raise UsageError(f"--out {config.out} cannot be written: {error.strerror}; name another file") from None
    print(config.out)


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM.removesuffix(".py")))
