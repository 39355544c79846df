"""The report page of a run: what a restorer does, what was measured, and what the run depended on.

sliders         D(x0, t, z) over t, and x_t along the trajectory of a sampler
divider         the degraded images and the restored ones
tables          the evaluations
pictures        those that the program drew, and the learning curve
facts           configuration, command, versions, device, data and their fingerprint
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.report.blocks import Block, Facts, Gallery
from experiments.report.page import Page, write_report
from experiments.run.environment import describe_environment
from experiments.run.folder import read_log
from restore import latest, read_checkpoint_config

__all__ = ["write_run_report"]


def write_run_report(
    folder: Path, title: str, blocks: Sequence[Block], pictures: Sequence[Path], device: torch.device
) -> Path:
    """Write `report.html` into the folder of a run and return its path.

    Args:
        folder: the folder of the run, with its configuration, log and checkpoints.
        title: name of what was trained.
        blocks: the content of the top of the page.
        pictures: files that the program drew.
        device: device that the run used.
    """
    log = read_log(folder / "log.jsonl")
    end = f"; its loss was {log[-1]['loss']:.4g} at step {log[-1]['step']}" if log else ""
    checkpoint = read_checkpoint_config(latest(folder / "model"))
    facts = describe_environment(device)
    data = {"data": str(checkpoint.data or "not recorded"), "sha256": checkpoint.data and checkpoint.data.sha256}
    still = [path for path in pictures if path.suffix != ".gif"]
    names = [path.stem.replace("_", " ") for path in still]
    page = Page(
        f"{folder.name}: {title}",
        f"A run in {folder}{end}.",
        [
            *blocks,
            *([Gallery("Pictures", "", still, names)] if still else []),
            Facts("Configuration", "All options, as in config.json.", json.loads((folder / "config.json").read_text())),
            Facts("Run", "", {**facts, "command": " ".join(facts["command"]), **data}),
        ],
    )
    return write_report(folder / "report.html", page)
