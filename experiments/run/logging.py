"""The log of a training: a progress bar, the file `log.jsonl`, and TensorBoard on request.

Only the first of several processes writes. All of them check the losses at the same steps and stop if one is not
finite.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from degrade.command_line import UsageError
from degrade.files import replace_file
from degrade.optional import require
from experiments.run.folder import read_log
from experiments.run.options import TrainOptions
from restore import StepStats, Trainer

__all__ = ["TrainingLogger"]

MAX_NAMED = 8  # severities that an error message names


class TrainingLogger:
    """Writes the mean loss, the learning rate, the norm of the gradient and the speed every `options.log_every` steps.

    Args:
        folder: the folder of the run; log lines of steps after `training.step` are removed.
        training: the training in its present state.
        options: how often to write, and whether to write for TensorBoard as well.

    Raises:
        UsageError: if the log cannot be written, or TensorBoard is not installed.
    """

    def __init__(self, folder: Path, training: Trainer, options: TrainOptions) -> None:
        self.path, self.every = folder / "log.jsonl", options.log_every
        self.reports = training.rank == 0
        self.per_step = training.config.batch_size
        self.steps, self.first = training.config.steps, training.step
        self.records: list[StepStats] = []
        self.writer: Any = None
        if self.reports:
            with _writing(self.path):
                rows = read_log(self.path, self.first)
                replace_file(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
            if options.tensorboard:
                self.writer = _make_writer(folder / "tensorboard", self.first)

    def __enter__(self) -> TrainingLogger:
        """Show the progress bar and start to measure time."""
        quiet = None if self.reports else True  # None: where standard error is no terminal
        self.bar = tqdm(total=self.steps, initial=self.first, desc="training", unit=" steps", disable=quiet)
        self.since = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the progress bar and the TensorBoard writer."""
        self.bar.close()
        if self.writer:
            with _writing(Path(self.writer.log_dir)):
                self.writer.close()

    def add(self, record: StepStats) -> None:
        """Add the statistics of a step, and write a line if one is due."""
        self.records.append(record)
        self.bar.update()
        if record.step % self.every == 0:
            self.write()

    def write(self) -> None:
        """Write the line of the steps since the last line. Only here does the host wait for the device.

        Raises:
            UsageError: if a loss or a gradient was not finite, or the line cannot be written.
        """
        if not self.records:
            return
        last = self.records[-1]
        losses, norms = (torch.stack([getattr(r, name) for r in self.records]) for name in ("loss", "grad_norm"))
        finite = (losses.isfinite() & norms.isfinite()).tolist()
        if not all(finite):
            raise UsageError(_not_finite_message(self.records[finite.index(False)]))
        seconds = time.perf_counter() - self.since
        row = {
            "step": last.step,
            "loss": float(losses.mean()),
            "lr": last.lr,
            "grad_norm": float(last.grad_norm),
            "images_per_s": len(self.records) * self.per_step / seconds,
        }
        if self.reports:
            self._report(row)
        self.records, self.since = [], time.perf_counter()

    def _report(self, row: dict[str, Any]) -> None:
        step, loss, speed = row["step"], row["loss"], row["images_per_s"]
        with _writing(self.path), self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self.writer:
            with _writing(Path(self.writer.log_dir)):
                for name in row.keys() - {"step"}:
                    self.writer.add_scalar(name, row[name], step)
                self.writer.flush()
        self.bar.set_postfix(loss=f"{loss:.4f}", images_per_s=f"{speed:.0f}")
        if self.bar.disable and (step == self.steps or step % (10 * self.every) == 0):
            print(f"step {step}/{self.steps}: loss {loss:.4f}, {speed:.0f} images/s", file=sys.stderr, flush=True)

    @contextmanager
    def preview(self, step: int) -> Iterator[Path]:
        """Yield the path for the preview of a step; afterwards add the picture to TensorBoard.

        Its time is not counted in the speed.
        """
        start = time.perf_counter()
        path = self.path.parent / "samples" / f"step-{step:08d}.png"
        with _writing(path):
            path.parent.mkdir(exist_ok=True)
            yield path
            if self.writer and path.is_file():
                self.writer.add_image("samples", _read(path), step, dataformats="HWC")
        self.since += time.perf_counter() - start


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}; the last checkpoint is intact"
        ) from None


def _make_writer(folder: Path, step: int) -> Any:
    """Return a writer for TensorBoard whose curves go on after `step`."""
    try:
        require("tensorboard", "--tensorboard", extra="watch")
        writer = require("torch.utils.tensorboard", "--tensorboard", extra="watch").SummaryWriter
    except ImportError as error:
        raise UsageError(str(error)) from None
    with _writing(folder):
        return writer(folder, purge_step=step + 1)


def _read(path: Path) -> Tensor:
    """Return a picture as (H, W, 3) uint8."""
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    with Image.open(path) as picture:
        pixels: Tensor = pil_to_tensor(picture.convert("RGB"))
    return pixels.permute(1, 2, 0)


def _not_finite_message(record: StepStats) -> str:
    advice = "lower --max-grad-norm or the lr of --optimizer, and continue with --resume"
    bad = ~record.losses.isfinite()
    if not bool(bad.any()):
        return f"the gradient is not finite at step {record.step}, its loss {float(record.loss):.4g} is; {advice}"
    values = sorted({str(value) for value in record.losses[bad].tolist()})
    severities = sorted(set(record.t[bad].tolist()))
    shown = ", ".join(map(str, severities[:MAX_NAMED])) + (", ..." if len(severities) > MAX_NAMED else "")
    images = f"{int(bad.sum())} of {len(bad)} images"
    return f"the loss is {' or '.join(values)} from step {record.step} on, for {images}, at t = {shown}; {advice}"
