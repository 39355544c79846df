"""The gallery: every registered degradation over t, on a drawn face and on a photograph of yours, in one picture.

    python experiments/gallery.py [--image PHOTO] [--out gallery.png] [--size 128] [--count 7]

A row is a degradation with one z, a column a severity. Arguments are the defaults, except where the default hides what
there is to see (`ARGUMENTS`). Interpolation turns the image into a drawn animal. With --image every degradation has a
second row with the photograph. Installed plugins take part.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

import degrade
from degrade.command_line import Options, UsageError, explicit_values, run_main, validated

if TYPE_CHECKING:
    from torch import Tensor

    from degrade.rendering import SeverityRow

__all__ = ["Config", "gallery", "main"]

ARGUMENTS: dict[str, dict[str, Any]] = {"compose": {"noise_fraction": 0.15}}  # in full, the noise would drown the blur
SUBTITLES = {"compose": "blur, noise, heat 0.15", "interpolation": "to a drawn animal"}


def gallery(x0: Tensor, count: int = 7, seed: int = 0) -> list[SeverityRow]:
    """Return the row of one square image (3, S, S) for every registered degradation, in alphabetical order.

    Args:
        x0: the image, in [-1, 1].
        count: number of severities.
        seed: seed of every z.
    """
    from degrade.rendering import severity_row
    from experiments.data.drawn import DrawnAnimals

    animals = DrawnAnimals(x0.shape[-1], x0.device)
    strips = []
    for name in degrade.names():
        D = degrade.make(name, **ARGUMENTS.get(name, {}), **({"source": animals} if name == "interpolation" else {}))
        strips.append(severity_row(D, x0, count, SUBTITLES.get(name, ""), seed))
    return strips


class Config(Options):
    """Options."""

    image: str | None = Field(None, description="a picture of yours; every degradation gets a second row with it")
    out: str = Field("gallery.png", description="file that is written")
    size: int = Field(128, ge=16, description="side of the images in pixels, at least 16")
    count: int = Field(7, ge=2, description="number of severities, at least 2")
    seed: int = Field(2, description="seed of the drawn face and of every z")


def main(argv: Sequence[str]) -> None:
    """Write the picture and print where it is.

    Raises:
        UsageError: if the photograph cannot be read, the size does not suit a degradation, or nothing can be written.
    """
    config = validated(Config, explicit_values(Config, argv, "gallery.py", __doc__ or ""))
    import torch

    from degrade.image_io import load_image
    from degrade.rendering import render_rows
    from experiments.data.drawn import DrawnFaces

    try:
        face = DrawnFaces(config.size, torch.device("cpu"))(1, torch.Generator().manual_seed(config.seed))[0]
        rows = gallery(face, config.count, config.seed)
        if config.image:
            photos = gallery(load_image(config.image, config.size), config.count, config.seed)
            rows = [row for face, photo in zip(rows, photos) for row in (face, photo._replace(title="", subtitle=""))]
        render_rows(rows).save(config.out)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    print(config.out)


if __name__ == "__main__":
    sys.exit(run_main(main, "gallery"))
