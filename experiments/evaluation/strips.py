"""Pictures of an evaluation: rows of images with captions, and the images along a trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from degrade import Params
from degrade.random import Generators
from degrade.rendering import SeverityRow, render_rows
from restore import BaseRestorer
from samplers import Sampler, trajectory
from samplers.loop import inference_mode

__all__ = ["image_rows", "save_rows", "visited_states"]


def save_rows(path: Path, rows: Sequence[SeverityRow], side: int = 96) -> Path:
    """Draw rows of images below each other, save them as a picture, and return its path.

    Args:
        path: file that is written.
        rows: rows of equally large images.
        side: pixels that an image takes at least; small images are enlarged by a whole factor up to it.
    """
    render_rows(rows, scale=max(1, side // rows[0].panels.shape[-1])).save(path)
    return path


def image_rows(columns: Mapping[str, Tensor], subtitle: str = "", noun: str = "image") -> list[SeverityRow]:
    """Return one row for each image, with one panel for each column.

    Args:
        columns: caption of the column -> images (n, C, H, W).
        subtitle: second line of the title of each row.
        noun: what an image is called in the title, before its number.

    >>> [row.title for row in image_rows({"a": torch.zeros(2, 3, 4, 4), "b": torch.zeros(2, 3, 4, 4)})]
    ['image 1', 'image 2']
    """
    panels = torch.stack(list(columns.values()), dim=1)
    return [SeverityRow(f"{noun} {i + 1}", subtitle, row, list(columns)) for i, row in enumerate(panels)]


def visited_states(
    R: BaseRestorer,
    sampler: Sampler | str,
    x_T: Tensor,
    z: Params,
    severities: Sequence[int],
    generator: Generators = None,
) -> dict[int, Tensor]:
    """Return the images (B, C, H, W) at every severity of a trajectory, those it starts from included."""
    with inference_mode(R):
        steps = trajectory(R, sampler, x_T, z, list(severities), generator)
        return {severities[0]: x_T} | {step.s: step.x_s for step in steps}
