"""Measure a model on whole pictures: PSNR and SSIM at several severities, as its card states them.

    python experiments/evaluate.py --model photo-noise --data photos/test --severities 15,25,50
    python experiments/evaluate.py --model runs/photo-blur --data photos.zip --severities 12,25,50 --out photo-blur.json
    python experiments/evaluate.py --model photo-blur --data photos/test --noise-model photo-noise --find-severity
    python experiments/evaluate.py --model photo-noise --data photos/test --images 12 --baseline cbm3d
    python experiments/evaluate.py --model photo-blur --pairs clean/ blurred/ --data photos/train

Every picture is degraded as the model knows it and restored from that severity: as degraded, by the linear inverse if
there is one, and by one prediction of the model (direct), in tiles as `degrade-restore image` does. Degraded pictures
are rounded to 8 bits if the model was trained on such. --data is a folder or a zip of clean pictures of any sizes; of
one that is split into train and test, test is measured. With --noise-model, a model of Gaussian noise
restores the same pictures, too; with --find-severity, the model also estimates the severity. With --pairs, pictures are
restored that something else has degraded, from --severities or from the severity that is estimated of each. The file of
the results holds means over the pictures with their 95 % intervals, and the differences to `direct`, measured picture
by picture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from degrade.command_line import IntList, UsageError, explicit_values, run_main, validated
from experiments.evaluation.choices import InputPrecision
from experiments.run.folder import write_json
from experiments.run.options import Count, DeviceOptions
from restore.choices import PrecisionChoice

if TYPE_CHECKING:
    from experiments.data.packed import PackedImages
    from experiments.evaluation.evaluator import Evaluation
    from experiments.evaluation.pictures import PictureOptions
    from restore import CheckpointConfig, Restorer

    Table = tuple[str, int | None, list[int] | None, Evaluation]

__all__ = ["Config", "main"]

PROGRAM = "evaluate.py"


class Config(DeviceOptions):
    """Measurement."""

    model: str | None = Field(None, description="name of a model (see `python -m restore list`), or folder of a run")
    data: str | None = Field(
        None,
        description="folder or zip of clean pictures; with --pairs other ones, by which severities are estimated",
    )
    pairs: tuple[str, str] | None = Field(
        None, description="folders or zips of clean pictures and of degraded ones of the same names"
    )
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
    precision: PrecisionChoice = Field(
        "float32", description="precision of the network; auto: bfloat16 on a device that computes in it, else float32"
    )
    out: str = Field("evaluate.json", description="file of the results")


def load_restorer(name: str, option: str, config: Config) -> tuple[Restorer, CheckpointConfig]:
    """Return a model and how it was trained.

    Raises:
        UsageError: if it cannot be read.
    """
    from restore import latest, load, read_checkpoint_config
    from restore.precision import choose_precision

    try:
        R = load(name, config.torch_device())
        R.precision = choose_precision(config.precision, config.torch_device())
        return R, read_checkpoint_config(latest(name))
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {name}: {error}") from None


def load_pictures(data: str, config: Config, channels: int | None, degraded: str | None = None) -> PackedImages:
    """Return pictures at their own sizes, uint8: clean ones, or with `degraded` both as 2 C channels.

    Raises:
        UsageError: if there are none, or 8-bit pictures do not have as many channels as the model.
    """
    from experiments.data.archives import held_out
    from experiments.data.decoding import ResizePolicy, decode_set
    from experiments.data.packed import PackedImages

    option = "--pairs" if config.pairs and data == config.pairs[0] else "--data"
    try:
        policy = ResizePolicy(1, "none", channels=channels)
    except ValueError as error:
        raise UsageError(f"{option} {data}: the model takes pictures of {channels} channels ({error})") from None
    entries = held_out(Path(data), option, Path(degraded) if degraded else None)
    pictures = decode_set(entries[: config.images], policy, option, data).images
    assert isinstance(pictures, PackedImages)
    return pictures


def measurements(R: Restorer, pictures: PackedImages, options: PictureOptions, config: Config) -> Iterator[Table]:
    """Yield (title, severity or None, the severities found, evaluation) of each table.

    Raises:
        UsageError: for a severity that the model does not know.
    """
    from experiments.evaluation.pictures import measure_pairs, measure_pictures

    D = R.degradation
    quarters = tuple(sorted({max(1, round(D.T * k / 4)) for k in (1, 2, 3, 4)}))
    for severity in config.severities or ((None,) if config.pairs else quarters):
        given = "found" if severity is None else f"{severity} of {D.T}"
        found: list[int] | None = None
        try:
            if config.pairs:
                evaluation, severities = measure_pairs(R, pictures, severity, options)
                found = severities if severity is None else None
            else:
                assert severity is not None
                evaluation = measure_pictures(R, pictures, severity, options)
        except ValueError as error:
            raise UsageError(f"--severities {severity}: {error}") from None
        title = f"{len(pictures)} pictures, {D.name}, severity {given}, {options.input_precision}:"
        yield title, severity, found, evaluation


def main(argv: Sequence[str]) -> None:
    """Measure, print the tables, write the file."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from experiments.evaluation.cbm3d import CBM3D
    from experiments.evaluation.pictures import PictureOptions
    from experiments.evaluation.tables import render_evaluation
    from experiments.run.environment import describe_environment
    from samplers.commands.clean_pictures import clean_pictures
    from samplers.commands.restoration import NUM_REFERENCE

    clean = config.pairs[0] if config.pairs else config.data
    if config.model is None or clean is None:
        raise UsageError(
            "--model and --data (or --pairs) are both needed: a model or the folder of a run, and pictures"
        )
    R, specification = load_restorer(config.model, "--model", config)
    D = R.degradation
    try:
        baseline = CBM3D(D) if config.baseline == "cbm3d" else None
    except ValueError as error:
        raise UsageError(f"--baseline {config.baseline}: {error}") from None
    noise_model = load_restorer(config.noise_model, "--noise-model", config)[0] if config.noise_model else None
    pictures = load_pictures(clean, config, R.image_channels, config.pairs[1] if config.pairs else None)
    reference = clean_pictures(R, config.data, NUM_REFERENCE, surrounded=True) if config.pairs else None
    trained: InputPrecision = "8bit" if specification.training.quantize_input else "float32"
    precision = trained if config.input_precision == "auto" else config.input_precision
    if config.pairs:
        precision = "8bit"  # as all files are
    options = PictureOptions(
        precision,
        config.tile_size,
        config.seed,
        baseline=baseline,
        noise_model=noise_model,
        find_severity=config.find_severity,
        reference=reference,
    )
    tables = []
    for title, severity, found, evaluation in measurements(R, pictures, options, config):
        tables.append({"severity": severity, "found": found, "evaluation": evaluation.to_dict()})
        print(render_evaluation(evaluation, title), end="\n\n")
    described = {
        "configuration": config.model_dump(mode="json"),
        "environment": describe_environment(config.torch_device()),
        "degradation": D.to_dict(),
        "trained_steps": specification.step,
        "data": {"name": clean, "images": len(pictures), "sha256": pictures.sha256},
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
