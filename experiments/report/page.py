"""The page: blocks rendered into one HTML file that needs no network and no other file.

Pictures are embedded, style and script are inlined, and a content security policy forbids everything else. The page can
be used with the keyboard and with a screen reader, follows the light or dark setting of the reader's system, and is
readable from 400 pixels of width on.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from degrade.image_io import to_pil_image
from experiments.report.blocks import Block

__all__ = ["Page", "write_report"]

HERE = Path(__file__).parent
LARGEST = 10_000_000  # bytes of a page that can still be mailed
SMALL = 160  # pixels a side up to which a picture keeps every pixel
WIDEST = 1400  # pixels of a larger picture's longest side


@dataclass(frozen=True)
class Page:
    """A report.

    Args:
        title: name of what was run.
        summary: one or two sentences with the result.
        blocks: the content, in order.
    """

    title: str
    summary: str
    blocks: Sequence[Block]

    @property
    def contents(self) -> list[tuple[int, str]]:
        """The number of a block, from 1, and its name; of blocks with one name before a colon the first.

        >>> Page("", "", [Block("A"), Block("B"), Block("B: more"), Block("C: 1"), Block("C: 2")]).contents
        [(1, 'A'), (2, 'B'), (4, 'C')]
        """
        first: dict[str, int] = {}
        for number, block in enumerate(self.blocks, 1):
            first.setdefault(block.title.partition(": ")[0], number)
        return [(number, name) for name, number in first.items()]


def write_report(path: Path, page: Page) -> Path:
    """Write the page to `path` as one self-contained HTML file and return the path.

    A warning says so if the file is larger than 10 MB.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"embed": embed, "svg": svg, "value": shown, "number": number}
    html = environment.get_template("page.html").render(
        page=page,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        style=Markup((HERE / "page.css").read_text()),
        script=Markup((HERE / "page.js").read_text()),
    )
    data = html.encode()
    if len(data) > LARGEST:
        warnings.warn(f"{path} has {len(data) / 1e6:.0f} MB; show fewer or smaller pictures", stacklevel=2)
    path.write_bytes(data)
    return path


def embed(picture: Any) -> dict[str, Any]:
    """Return the address, width and height of a picture as it stands in the page.

    Args:
        picture: a Pillow image, a path, or a tensor (C, H, W) in [-1, 1].
    """
    image = to_pil_image(picture) if isinstance(picture, Tensor) else picture
    image = Image.open(image) if isinstance(image, str | Path) else image
    image = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
    image.thumbnail((WIDEST, WIDEST))
    small = max(image.size) <= SMALL
    file = io.BytesIO()
    if small or image.mode == "RGBA":
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=88)
    kind = "png" if small or image.mode == "RGBA" else "jpeg"
    address = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"src": address, "width": image.width, "height": image.height, "small": small}


def svg(figure: Any) -> str:
    """Return a figure of matplotlib as the address of an SVG picture."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue().encode()).decode()}"


def shown(value: Any) -> str:
    """Return a value as text.

    >>> shown("blur"), shown((1, None)), shown(Path("runs"))
    ('blur', '[1, null]', 'runs')
    """
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')


def number(value: Any, digits: int) -> str:
    """Return a cell of a table as text, numbers with so many significant digits.

    >>> number(0.123456, 3), number(12, 3), number(None, 3), number("direct", 3)
    ('0.123', '12', '', 'direct')
    """
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
