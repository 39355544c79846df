"""Run folders: one folder holds one run, with its configuration beside its results.

config.json   every option, seed included
log.jsonl     one line per logged step
model/        checkpoints, see `restore.checkpoint`
metrics.json  what was measured at the end
*.png, *.gif  pictures
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from experiments.cli import Options, UserError, validated
from experiments.config import RunOptions

__all__ = ["choose_folder", "claim", "read_log", "stored_config", "write_json"]

O = TypeVar("O", bound=Options)  # noqa: E741

# What may differ when a run is continued: how long, how often it reports, and where it computes.
FREE = {
    "preset",
    "out",
    "resume",
    "device",
    "steps",
    "log_every",
    "save_every",
    "sample_steps",
    "eval_images",
    "sampler",
}


def choose_folder(options: RunOptions, program: str) -> Path:
    """Return the folder named by --out, or a numbered one under runs/: a new one, or with --resume the newest.

    Raises:
        UserError: if there is nothing to resume, or if the folder holds another run.
    """
    if options.out is not None:
        folder = Path(options.out)
    else:
        numbered = sorted(Path("runs").glob(f"{program}-[0-9][0-9][0-9]"))
        if options.resume and not numbered:
            raise UserError(f"--resume: there is no run under runs/{program}-*; name one with --out")
        number = int(numbered[-1].name[-3:]) if numbered else 0
        folder = Path("runs") / f"{program}-{number if options.resume else number + 1:03d}"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; name a folder")
    holds = folder.is_dir() and any(folder.iterdir())
    if options.resume and not (folder / "config.json").is_file():
        raise UserError(f"--resume: {folder} holds no run; leave --resume out to start one there")
    if holds and not options.resume:
        raise UserError(f"--out {folder} already holds files; name another folder, or continue a run with --resume")
    return folder


def stored_config(folder: Path, model: type[O], explicit: Mapping[str, Any]) -> O:
    """Return the configuration of the run in `folder`, with the explicit values that may differ.

    Raises:
        UserError: if its file cannot be read, or if an explicit value contradicts it.
    """
    try:
        stored = validated(model, json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'} cannot be read: {error}") from None
    merged = validated(model, {**stored.model_dump(), **explicit, "resume": True})
    for name in explicit:
        was, now = getattr(stored, name), getattr(merged, name)
        if name not in FREE and was != now:
            raise UserError(
                f"--{name.replace('_', '-')} {now}: this run was started with {was}; start another with --out"
            )
    return merged


def claim(folder: Path, options: Options) -> None:
    """Make the folder and write its configuration.

    Raises:
        UserError: if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where it lies and how it was started are not part of what it is: the file serves another run as --config.
        write_json(folder / "config.json", options.model_dump(mode="json", exclude={"out", "resume"}))
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}; name another folder") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file all at once: under another name first, then renamed."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(partial, path)


def read_log(path: Path, before: int | None = None) -> list[dict[str, Any]]:
    """Return the lines of a log up to step `before`; a line torn by a crash is left out.

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
