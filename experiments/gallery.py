"""The gallery: every registered degradation over t, on a drawn face and on a photograph of yours, in one picture.

    python experiments/gallery.py [--image PHOTO] [--out gallery.png] [--size 128] [--count 7]

A row is a degradation with one z, a column a severity. Arguments are the defaults, except where the default hides what
there is to see (`ARGUMENTS`). Interpolation turns the image into a drawn animal. With --image every degradation has a
second row with the photograph. Installed plugins take part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import degrade
from degrade.command_line import UsageError, run_main
from degrade.image_io import load_image
from degrade.rendering import SeverityRow, render_rows, severity_row
from experiments.data.drawn import DrawnAnimals, DrawnFaces

__all__ = ["gallery", "main"]

ARGUMENTS: dict[str, dict[str, Any]] = {"compose": {"noise_fraction": 0.15}}  # in full, the noise would drown the blur
SUBTITLES = {"compose": "blur, noise, heat 0.15", "interpolation": "to a drawn animal"}


def gallery(x0: Tensor, count: int = 7, seed: int = 0) -> list[SeverityRow]:
    """Return the strip of one square image (3, S, S) for every registered degradation, in alphabetical order."""
    animals = DrawnAnimals(x0.shape[-1], x0.device)
    strips = []
    for name in degrade.names():
        D = degrade.make(name, **ARGUMENTS.get(name, {}), **({"source": animals} if name == "interpolation" else {}))
        strips.append(severity_row(D, x0, count, SUBTITLES.get(name, ""), seed))
    return strips


def main(argv: Sequence[str]) -> None:
    """Write the picture and print where it is.

    Raises:
        UsageError: if the photograph cannot be read, the size does not suit a degradation, or nothing can be written.
    """
    parser = argparse.ArgumentParser(description="Draw every registered degradation over its severities.")
    parser.add_argument("--image", metavar="PHOTO", help="a picture of yours, as a second row each")
    parser.add_argument("--out", metavar="FILE", default="gallery.png")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--count", type=int, default=7, help="number of severities")
    parser.add_argument("--seed", type=int, default=2, help="of the face and of every z")
    options = parser.parse_args(argv)
    if options.size < 16 or options.count < 2:
        raise UsageError(f"--size {options.size} --count {options.count}: take 16 pixels and 2 severities at least")
    try:
        face = DrawnFaces(options.size, torch.device("cpu"))(1, torch.Generator().manual_seed(options.seed))[0]
        rows = gallery(face, options.count, options.seed)
        if options.image:
            photos = gallery(load_image(options.image, options.size), options.count, options.seed)
            rows = [row for face, photo in zip(rows, photos) for row in (face, photo._replace(title="", subtitle=""))]
        render_rows(rows).save(options.out)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    print(options.out)


if __name__ == "__main__":
    sys.exit(run_main(main, "gallery"))
