"""Pictures of degradations: rows that show one image at growing severity, with captions, drawn by Pillow.

A row is D(x0, t, z) for one image, one z and several t, with a title on the left and the severities underneath.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from degrade.base import Degradation, map_params
from degrade.image_io import to_pil_image
from degrade.optional import require

__all__ = ["SeverityRow", "render_rows", "severity_row"]

BACKGROUND, INK, PALE = "#ffffff", "#1d2433", "#8a91a0"
MARGIN, GAP, CAPTION = 28, 6, 26


class SeverityRow(NamedTuple):
    """A title, a subtitle, and panels (n, C, H, W) with one caption each."""

    title: str
    subtitle: str
    panels: Tensor
    captions: Sequence[str]


def spaced_levels(T: int, count: int) -> list[int]:
    """Return at most `count` different severities spread evenly over 0..T, both ends included.

    >>> spaced_levels(200, 5), spaced_levels(3, 5)
    ([0, 50, 100, 150, 200], [0, 1, 2, 3])
    """
    return sorted({round(t) for t in torch.linspace(0, T, min(count, T + 1)).tolist()})


def severity_row(
    D: Degradation, x0: Tensor, levels: int | Sequence[int] = 7, subtitle: str = "", seed: int = 0
) -> SeverityRow:
    """Degrade one image (C, H, W) under one z to so many severities evenly spaced in 0..T, or to those given.

    >>> import degrade
    >>> severity_row(degrade.make("gaussian_noise", T=20), torch.zeros(3, 8, 8), levels=3).captions
    ['t = 0', 't = 10', 't = 20']
    """
    levels = spaced_levels(D.T, levels) if isinstance(levels, int) else levels
    z = D.draw(x0[None], torch.Generator(x0.device).manual_seed(seed))
    panels = D(
        x0.expand(len(levels), -1, -1, -1),
        torch.tensor(levels, device=x0.device),
        map_params(lambda part: part.expand(len(levels), *part.shape[1:]), z),
    )
    return SeverityRow(D.name, subtitle, panels, [f"t = {t}" for t in levels])


def render_rows(rows: Sequence[SeverityRow], scale: int = 1) -> Any:
    """Draw rows of equally large panels below each other, as a Pillow image.

    Args:
        rows: rows of panels, at least one.
        scale: whole factor by which the panels are enlarged.

    Raises:
        ImportError: without Pillow.
    """
    image, draw, font = (require(f"PIL.{module}", "drawing") for module in ("Image", "ImageDraw", "ImageFont"))
    title, small = font.load_default(20), font.load_default(13)
    height, width = (scale * side for side in rows[0].panels.shape[2:])
    rows = [row._replace(subtitle="\n".join(textwrap.wrap(row.subtitle, 24))) for row in rows]
    texts = [(title, row.title) for row in rows]
    texts += [(small, line) for row in rows for line in row.subtitle.split("\n")]
    left = 2 * MARGIN + round(max(face.getlength(text) for face, text in texts))
    columns = max(len(row.panels) for row in rows)
    row_height = height + CAPTION + GAP
    size = (left + columns * (width + GAP) - GAP + MARGIN, 2 * MARGIN + len(rows) * row_height - GAP)
    page = image.new("RGB", size, BACKGROUND)
    pen = draw.Draw(page)
    for i, row in enumerate(rows):
        top = MARGIN + i * row_height
        middle = top + height / 2 - 9 * len(row.subtitle.splitlines())
        pen.text((MARGIN, middle), row.title, INK, title, anchor="lm")
        pen.multiline_text((MARGIN, middle + 14), row.subtitle, PALE, small)
        for j, (panel, caption) in enumerate(zip(row.panels, row.captions)):
            place = left + j * (width + GAP)
            page.paste(to_pil_image(panel).resize((width, height), image.Resampling.NEAREST), (place, top))
            pen.text((place + width / 2, top + height + 5), caption, PALE, small, anchor="ma")
    return page
