"""Pictures of a run beside its strips: the learning curve and a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from degrade.image_io import to_pil_image

__all__ = ["animate", "plot_loss"]


def plot_loss(path: Path, log: Sequence[dict[str, Any]], title: str) -> Path:
    """Save the loss over the steps of a log."""
    from matplotlib.figure import Figure  # slow to import, and nothing else needs it

    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([row["step"] for row in log], [row["loss"] for row in log], linewidth=1.5)
    axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path)
    return path


def animate(path: Path, frames: Sequence[Tensor], scale: int, seconds: float, hold: Sequence[int] = ()) -> Path:
    """Save a looping GIF.

    Args:
        path: of the GIF.
        frames: each a batch (B, C, H, W) in [-1, 1], shown side by side.
        scale: how many pixels of the GIF one pixel takes, along each axis.
        seconds: for which a frame is shown.
        hold: frames that are shown twelve times as long.
    """
    pictures = []
    for frame in frames:
        picture = to_pil_image(make_grid(frame, nrow=len(frame), padding=2, pad_value=1.0))
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        pictures.append(picture.quantize(dither=Image.Dither.NONE))
    times = [round(1000 * seconds) * (12 if i in set(hold) else 1) for i in range(len(frames))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=0)
    return path
