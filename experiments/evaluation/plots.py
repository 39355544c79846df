"""Plots: the learning curve, moving pictures, and what a comparison of samplers shows.

Figures are drawn without a display. The samplers of a comparison keep their color and marker in every plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from degrade.image_io import to_pil_image

__all__ = [
    "animate",
    "plot_differences",
    "plot_loss",
    "plot_perception_distortion",
    "plot_severity_error",
    "plot_trajectory_error",
]

MARKERS = "osD^vP*X<>hp"
VERDICT_COLORS = {"better": "#1b7f3b", "worse": "#b3261e", "undecided": "#7a7a7a"}
REFERENCES = {"degraded": "x", "linear inverse": "s", "direct": "*"}
SPREAD = 4  # differences more than this many times the middle one lie beyond the axis of their plot


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def plot_loss(path: Path, log: Sequence[Mapping[str, Any]], title: str) -> Path:
    """Save the loss over the steps of a log.

    Args:
        path: path of the picture.
        log: one mapping with `step` and `loss` for each logged step.
        title: title of the picture.
    """
    figure = _figure(6.4, 3.6)
    axes = figure.add_subplot()
    axes.plot([row["step"] for row in log], [row["loss"] for row in log], linewidth=1.5)
    axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path)
    return path


def animate(path: Path, frames: Sequence[Tensor], scale: int, seconds: float, hold: Sequence[int] = ()) -> Path:
    """Save a looping GIF.

    Args:
        path: path of the GIF.
        frames: each a batch (B, C, H, W) in [-1, 1], shown side by side.
        scale: side in pixels of the GIF of one pixel of an image.
        seconds: for which a frame is shown.
        hold: frames that are shown twelve times as long.
    """
    from torchvision.utils import make_grid  # here, since it takes seconds to import

    pictures = []
    for frame in frames:
        picture = to_pil_image(make_grid(frame, nrow=len(frame), padding=2, pad_value=1.0))
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        pictures.append(picture.quantize(dither=Image.Dither.NONE))
    times = [round(1000 * seconds) * (12 if i in set(hold) else 1) for i in range(len(frames))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=0)
    return path


def _families(compared: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the rows of each sampler (and model) in the order of their steps; rows without a sampler are left out."""
    families: dict[str, list[str]] = {}
    for row, described in compared["rows"].items():
        if described["sampler"] is not None:
            families.setdefault(row.rpartition(", ")[0], []).append(row)
    return families


def _style(index: int) -> dict[str, Any]:
    return {"color": f"C{index % 10}", "marker": MARKERS[index % len(MARKERS)], "markersize": 4, "linewidth": 1}


def plot_perception_distortion(path: Path, compared: Mapping[str, Any], distortion: str, perception: str) -> Path:
    """Save the plane of distortion and perceptual quality (Blau and Michaeli, 2018), a line over steps per sampler.

    Args:
        path: path of the picture.
        compared: result of `Comparison.run`.
        distortion: key of the column of the horizontal axis, such as `rmse`.
        perception: key of the column of the vertical axis, such as `frechet_distance_thumbnail`.
    """
    evaluation = compared["evaluation"]
    headings = {column["key"]: column["heading"] for column in evaluation["columns"]}
    figure = _figure(7.2, 5)
    axes = figure.add_subplot()

    def point(row: str) -> tuple[float, float]:
        values = evaluation["rows"][row]
        return values[distortion]["value"], values[perception]["value"]

    for i, (family, rows) in enumerate(_families(compared).items()):
        points = [point(row) for row in rows]
        axes.plot(*zip(*points), label=family, **_style(i))
        axes.annotate(rows[-1].rpartition(", ")[2], points[-1], fontsize=6, xytext=(3, 3), textcoords="offset points")
    for row, described in compared["rows"].items():
        if described["sampler"] is None:
            marker = REFERENCES.get(row.rpartition(": ")[2], "*")
            axes.plot(*point(row), marker, color="black", markersize=9, label=row, zorder=3)
    positive = all(value > 0 for row in compared["rows"] for value in point(row))
    scale = "log" if positive else "linear"
    axes.set(xlabel=headings[distortion], ylabel=headings[perception], xscale=scale, yscale=scale)
    axes.set_title(f"{evaluation['images']} images, {compared['input_precision']} input; numbers: steps", fontsize=9)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=6, ncols=2)
    figure.savefig(path)
    return path


def plot_differences(path: Path, compared: Mapping[str, Any], columns: Sequence[str]) -> Path:
    """Save, for each metric, the differences to the baseline with their 95 % intervals, one line for each row.

    The axis covers the intervals of most rows. A row that lies far beyond them is an arrow at the edge with its value,
    so that one bad sampler does not hide the others.

    Args:
        path: path of the picture.
        compared: result of `Comparison.run`.
        columns: keys of the metrics.
    """
    evaluation = compared["evaluation"]
    rows = [row for row in evaluation["differences"] if compared["rows"][row]["sampler"] is not None]
    rows += [row for row in evaluation["differences"] if row not in rows and row != "degraded"]
    figure = _figure(3.6 * len(columns) + 2, max(2.5, 0.17 * len(rows) + 1.2))
    headings = {column["key"]: column for column in evaluation["columns"]}
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, columns):
        found = {row: evaluation["differences"][row][key] for row in rows if key in evaluation["differences"][row]}
        limit = axis_limit([difference["value"] for difference in found.values()])
        for y, row in enumerate(rows):
            if row in found:
                _draw_difference(axes, y, found[row], limit)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(xlim=(-1.15 * limit, 1.15 * limit), ylim=(len(rows) - 0.5, -0.5))
        better = {True: "right is better", False: "left is better", None: ""}[headings[key]["higher_is_better"]]
        axes.set_title(f"{headings[key]['heading']}\n{better}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3, axis="x")
    panels[0].set_yticks(range(len(rows)), rows)
    figure.suptitle(f"difference to {evaluation['baseline']}, same images, 95 % intervals", fontsize=9)
    figure.savefig(path)
    return path


def axis_limit(values: Sequence[float]) -> float:
    """Return the half width of an axis around 0 that shows all values but outliers.

    An outlier is more than 4 times as large as the middle one of the absolute values.

    >>> axis_limit([0.1, -0.2, 0.3, 50.0]), axis_limit([0.0, 0.0]), axis_limit([])
    (0.3, 1.0, 1.0)
    """
    sizes = sorted(abs(value) for value in values)
    if not sizes or not sizes[-1] > 0:
        return 1.0
    middle = sizes[(len(sizes) - 1) // 2]
    return max([size for size in sizes if size <= SPREAD * middle and size > 0], default=sizes[-1])


def _draw_difference(axes: Any, y: int, difference: Mapping[str, Any], limit: float) -> None:
    value, interval = difference["value"], difference["interval"] or (difference["value"],) * 2
    color = VERDICT_COLORS[difference["verdict"]]
    if abs(value) > 1.1 * limit:
        edge = 1.1 * limit if value > 0 else -1.1 * limit
        axes.plot(edge, y, ">" if value > 0 else "<", color=color, markersize=5)
        axes.text(0.93 * edge, y, f"{value:+.2g}", fontsize=6, va="center", ha="right" if value > 0 else "left")
        return
    axes.plot(interval, (y, y), color=color, linewidth=1.6)
    axes.plot(value, y, "o", color=color, markersize=4)


def plot_trajectory_error(path: Path, compared: Mapping[str, Any]) -> Path:
    """Save the error of the prediction x0_hat and of the state x_s along the longest trajectory of each sampler."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    for i, (row, errors) in enumerate(compared["trajectory"].items()):
        left.plot(errors["t"], errors["x0_hat"], label=row, **_style(i))
        right.plot(errors["s"], errors["x_s"], label=row, **_style(i))
    left.set_title("RMSE of the prediction x0_hat at t", fontsize=9)
    right.set_title("RMSE of the state x_s to D(x0, s, z)", fontsize=9)
    for axes in (left, right):
        axes.invert_xaxis()  # a trajectory goes from T to 0
        _finish(axes, "severity")
    left.legend(fontsize=6)
    figure.savefig(path)
    return path


def plot_severity_error(path: Path, compared: Mapping[str, Any]) -> Path:
    """Save the RMSE of every way to restore over the severity it starts from, as is and less that of `direct`."""
    measured = compared["severity"]
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    baseline = measured["rmse"][compared["evaluation"]["baseline"]]
    for i, (row, errors) in enumerate(measured["rmse"].items()):
        left.plot(measured["severities"], errors, label=row, **_style(i))
        if row != "degraded":
            right.plot(measured["severities"], [a - b for a, b in zip(errors, baseline)], **_style(i))
    others = [a - b for row, e in measured["rmse"].items() if row != "degraded" for a, b in zip(e, baseline)]
    limit = 1.1 * axis_limit(others)
    right.set_ylim(-limit, limit)
    left.set_title(f"RMSE after at most {measured['steps']} steps", fontsize=9)
    right.set_title(f"the same less that of {compared['evaluation']['baseline']}", fontsize=9)
    for axes in (left, right):
        _finish(axes, "severity of the degraded image")
    left.legend(fontsize=6)
    figure.savefig(path)
    return path


def _finish(axes: Any, label: str) -> None:
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
