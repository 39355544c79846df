"""Running a training: progress, log, checkpoints, and stopping without losing a step."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TextIO

import torch
from safetensors import SafetensorError
from tqdm import tqdm

from degrade import Source
from experiments.cli import UserError
from experiments.config import TrainOptions
from experiments.runs import read_log
from restore import Record, Training, save

__all__ = ["Stopper", "fit"]


class Stopper:
    """While open, Ctrl-C and SIGTERM ask for an end instead of forcing one; a second Ctrl-C forces it."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stopper:
        """Take over the signals."""
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def fit(training: Training, data: Source, folder: Path, options: TrainOptions) -> None:
    """Take the steps that are left, with a progress bar, a line in the log now and then, and checkpoints.

    Args:
        training: in its present state.
        data: clean images.
        folder: of the run; `log.jsonl` and `model/` are written there.
        options: how often to log and to save.

    Raises:
        KeyboardInterrupt: after the step during which Ctrl-C or SIGTERM came, with everything saved.
        UserError: when the loss is no longer finite or a checkpoint cannot be written; the last one stays as it was.
    """
    rows, saved = read_log(folder / "log.jsonl", training.step), training.step
    with Stopper() as stopper, Log(folder / "log.jsonl", rows, training, options) as log:
        for record in training.run(data):
            log.add(record)
            stop = stopper.asked  # looked at once, so that what stops here is also saved here
            if record.step % options.save_every == 0 or record.step == training.config.steps or stop:
                log.write()  # which refuses a loss that is not finite
                _save(folder / "model", training)
                saved = record.step
            if stop:
                break
    if stopper.asked and saved < training.config.steps:
        raise KeyboardInterrupt(f"stopped after step {saved}, saved; continue with --resume --out {folder}")


def _save(folder: Path, training: Training) -> None:
    try:
        save(folder, training)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"step {training.step} cannot be saved in {folder}: {error}; the one before is intact"
        ) from None


class Log:
    """A progress bar and the file `log.jsonl`: mean loss, learning rate and speed since the last line."""

    def __init__(self, path: Path, rows: list[dict[str, float]], training: Training, options: TrainOptions) -> None:
        self.path, self.every = path, options.log_every
        self.per_step = training.config.batch * training.config.accumulate
        self.records: list[Record] = []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.steps, self.first = training.config.steps, training.step
        self.since = time.perf_counter()

    def __enter__(self) -> Log:
        """Open bar and file."""
        self.file: TextIO = self.path.open("a")
        self.bar = tqdm(total=self.steps, initial=self.first, desc="training", unit=" steps", disable=None)
        return self

    def __exit__(self, *error: object) -> None:
        """Close them."""
        self.bar.close()
        self.file.close()

    def add(self, record: Record) -> None:
        """Count a step; every so often write a line."""
        self.records.append(record)
        self.bar.update()
        if record.step % self.every == 0:
            self.write()

    def write(self) -> None:
        """Write the line of the steps since the last one; here, and only here, the host waits for the device."""
        if not self.records:
            return
        last = self.records[-1]
        loss = float(torch.stack([record.loss for record in self.records]).mean())
        seconds = time.perf_counter() - self.since
        speed = len(self.records) * self.per_step / seconds
        if not math.isfinite(loss):
            first = next(r.step for r in self.records if not math.isfinite(float(r.loss)))
            raise UserError(
                f"the loss is {loss} from step {first} on; lower --lr or --clip and start from a checkpoint"
            )
        row = {
            "step": last.step,
            "loss": loss,
            "lr": last.lr,
            "grad_norm": float(last.grad_norm),
            "images_per_s": speed,
        }
        print(json.dumps(row), file=self.file, flush=True)
        self.bar.set_postfix(loss=f"{loss:.4f}", images_per_s=f"{speed:.0f}")
        if self.bar.disable and (last.step == self.steps or last.step % (10 * self.every) == 0):
            print(f"step {last.step}/{self.steps}: loss {loss:.4f}, {speed:.0f} images/s", file=sys.stderr, flush=True)
        self.records, self.since = [], time.perf_counter()
