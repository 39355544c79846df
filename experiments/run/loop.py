"""Running a training: log, pictures, checkpoints, and stopping without losing a step."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from degrade.command_line import UsageError
from degrade.serializable import Serializable
from experiments.run.logging import TrainingLogger
from experiments.run.options import TrainOptions
from restore import ComponentConfig, DatasetInfo, Restorer, Trainer, save
from restore.data_order import Data

__all__ = ["GracefulStop", "Picture", "fit"]

Picture = Callable[[Path, Restorer], Path]


class GracefulStop:
    """While open, Ctrl-C and SIGTERM ask for an end instead of forcing one; a second Ctrl-C, a moment later, forces it.

    What launches several processes hands a Ctrl-C on to them, which have had it from the terminal already: within the
    first moment it counts as the same one.
    """

    MOMENT = 1.0  # seconds

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> GracefulStop:
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
        now = time.monotonic()
        if not self.asked:
            self.asked, self._since = True, now
        elif number == signal.SIGINT and now - self._since > self.MOMENT:
            raise KeyboardInterrupt


def fit(
    training: Trainer,
    data: Data,
    folder: Path,
    options: TrainOptions,
    picture: Picture | None = None,
    data_spec: DatasetInfo | None = None,
    prior: Serializable | ComponentConfig | None = None,
) -> None:
    """Take the steps that are left, with a progress bar, a line in the log now and then, pictures and checkpoints.

    Args:
        training: in its present state.
        data: clean images.
        folder: of the run; `log.jsonl`, `samples/` and `model/` are written there.
        options: how often to log, to draw and to save, and how many checkpoints to keep.
        picture: draws what the averaged restorer can do by now and saves it, (path, restorer) -> path. Of several
            processes, those that are given one call it at the same step.
        data_spec: what `data` is, for the checkpoints.
        prior: where trajectories start, for the checkpoints.

    Raises:
        KeyboardInterrupt: after the step during which Ctrl-C or SIGTERM came (of several processes, at the next line of
            the log, after the same step in all), with everything saved.
        UsageError: when the loss is no longer finite or something cannot be written; the last checkpoint stays.
    """
    with GracefulStop() as stopper, TrainingLogger(folder, training, options) as log:
        for record in training.run(data):
            log.add(record)
            step = record.step
            due = step % options.save_every == 0 or step == training.config.steps
            # Looked at once, so that what stops here is also saved here; asked by all processes at the same steps.
            asks = training.world_size == 1 or due or step % options.log_every == 0
            stop = asks and training.any_rank(stopper.asked)
            if due or stop:
                log.write()  # which refuses a loss that is not finite
                _save(folder / "model", training, options.keep, prior, data_spec)
            if stop:
                break
            if picture and options.preview_every and step % options.preview_every == 0:
                with log.picture(step) as path:
                    picture(path, training.ema)
        if training.any_rank(stopper.asked):
            raise KeyboardInterrupt(f"stopped after step {training.step}, saved; continue with --resume --out {folder}")


def _save(
    folder: Path, training: Trainer, keep: int, prior: Serializable | ComponentConfig | None, data: DatasetInfo | None
) -> None:
    fault = ""
    try:
        save(folder, training, keep, prior, data)
    except (OSError, ValueError) as error:
        fault = str(error)
    if training.any_rank(bool(fault)):
        raise UsageError(fault or f"step {training.step} cannot be saved: the first process says why")
