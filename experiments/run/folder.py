"""Run folders: one folder holds one run, with its configuration beside its results.

config.json   every option, seed included
log.jsonl     one line per logged step
model/        checkpoints, see `restore.checkpoint.api`
samples/      previews drawn while training, by step
tensorboard/  event files for TensorBoard, with --tensorboard
metrics.json  measurements made at the end
report.html   the report page
*.png, *.gif  pictures
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from degrade.command_line import Options, UsageError, validated
from degrade.files import replace_file
from experiments.run.options import RunOptions

if TYPE_CHECKING:
    from restore import DatasetInfo, Trainer

__all__ = ["choose_folder", "create_run_dir", "read_log", "resume_run", "stored_config", "write_json"]

O = TypeVar("O", bound=Options)  # noqa: E741

# Options that may differ when a run is continued: its length, its reports, and its device.
RESUMABLE = {
    "out",
    "resume",
    "device",
    "compile",
    "steps",
    "log_every",
    "save_every",
    "preview_every",
    "keep",
    "tensorboard",
    "sample_steps",
    "eval_images",
    "sampler",
}


def choose_folder(options: RunOptions, program: str) -> Path:
    """Return the folder named by --out, or a numbered one under runs/: a new one, or with --resume the newest.

    Only the first of several processes checks the folder.

    Args:
        options: the options of the run.
        program: the name of the program, which numbered folders begin with.

    Raises:
        UsageError: if there is nothing to resume, if the folder holds another run, or if several processes are started
            without --out, since each would choose a number of its own.
    """
    from restore.distributed import get_world_size

    if get_world_size() > 1 and options.out is None:
        raise UsageError("several processes need the same folder: name it with --out")
    if options.out is not None:
        folder = Path(options.out)
    else:
        number = _newest(program)
        if options.resume and not number:
            raise UsageError(f"--resume: there is no run under runs/{program}-*; name one with --out")
        folder = _numbered(program, number if options.resume else number + 1)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; name a folder")
    if not _is_first():
        return folder
    holds = folder.is_dir() and any(folder.iterdir())
    if options.resume and not (folder / "config.json").is_file():
        raise UsageError(f"--resume: {folder} holds no run; leave --resume out to start one there")
    if holds and not options.resume:
        raise UsageError(f"--out {folder} already holds files; name another folder, or continue a run with --resume")
    return folder


def stored_config(folder: Path, model: type[O], explicit: Mapping[str, Any]) -> O:
    """Return the configuration of the run in `folder`, with explicit values for the options that may differ.

    Args:
        folder: the folder of the run.
        model: the class of the configuration.
        explicit: values given on the command line.

    Raises:
        UsageError: if its file cannot be read, or if an explicit value contradicts it.
    """
    try:
        values = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'config.json'} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(
            f"{folder / 'config.json'} holds a {type(values).__name__}; it should be a JSON object of options"
        )
    stored = validated(model, values)
    merged = validated(model, {**stored.model_dump(), **explicit, "resume": True})
    for name in explicit:
        was, now = getattr(stored, name), getattr(merged, name)
        if name not in RESUMABLE and was != now:
            raise UsageError(
                f"--{name.replace('_', '-')} {now}: this run was started with {was}; start another with --out"
            )
    return merged


def _numbered(program: str, number: int) -> Path:
    return Path("runs") / f"{program}-{number:03d}"


def _newest(program: str) -> int:
    """Return the highest number of a folder under runs/, 0 if there is none."""
    found = (re.fullmatch(rf"{re.escape(program)}-(\d{{3,}})", path.name) for path in Path("runs").glob(f"{program}-*"))
    return max((int(match[1]) for match in found if match), default=0)


def create_run_dir(folder: Path, options: RunOptions) -> Path:
    """Create the folder of a run and write its configuration; of several processes the first one does so.

    If several runs are started at the same time, one gets the folder, and the others get the next numbers.

    Args:
        folder: the folder that `choose_folder` returned.
        options: the options of the run.

    Returns:
        The folder of the run.

    Raises:
        UsageError: if it cannot be created or written, or if another run has taken the folder that --out names.
    """
    if not _is_first():
        return folder
    try:
        while not (options.resume or _is_ours(folder, new=options.out is None)):
            if options.out is not None:
                raise UsageError(f"--out {folder} was taken by another run just now; name another folder")
            program, _, number = folder.name.rpartition("-")
            folder = _numbered(program, int(number) + 1)
        # Without --out and --resume, so that the file can be the --config of another run.
        write_json(folder / "config.json", options.model_dump(mode="json", exclude={"out", "resume"}))
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None
    return folder


def _is_ours(folder: Path, new: bool) -> bool:
    """Try to claim `folder`, which only one of several runs can: it must be `new`, or hold no run yet."""
    try:
        folder.mkdir(parents=True, exist_ok=not new)
        (folder / "config.json").open("x").close()
    except FileExistsError:
        if folder.is_dir():
            return False
        raise
    return True


def _is_first() -> bool:
    """Whether this is the first of several processes, by the environment: they may not be connected yet."""
    return os.environ.get("RANK", "0") == "0"


def resume_run(folder: Path, training: Trainer, data: DatasetInfo | None = None) -> None:
    """Load the newest checkpoint of the run in `folder` into `training`; without a checkpoint it starts from step 0.

    Args:
        folder: the folder of the run.
        training: a training of the same network and degradation.
        data: description of the data it continues with.

    Raises:
        UsageError: if the run is of another network, degradation or data set, or none of its checkpoints is whole.
    """
    from restore import resume

    try:
        step = resume(folder / "model", training, data)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise UsageError(f"--resume: {error}; start another run with --out") from None
    if training.rank == 0:
        print(f"continuing after step {step}", file=sys.stderr)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    replace_file(path, (json.dumps(value, indent=2) + "\n").encode())


def read_log(path: Path, before: int | None = None) -> list[dict[str, Any]]:
    """Return the lines of a log up to step `before`, without a line that a crash left incomplete.

    A resumed run repeats the steps after its checkpoint, so of two lines for one step the later counts.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
            rows[row["step"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return [rows[step] for step in sorted(rows) if before is None or step <= before]
