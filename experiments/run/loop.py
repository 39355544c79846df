"""The training loop of programs: log, previews, checkpoints, and a stop that loses no step."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from degrade import Degradation
from degrade.command_line import UsageError
from degrade.serializable import Serializable
from experiments.run.logging import TrainingLogger
from experiments.run.options import TrainOptions
from restore import ComponentConfig, DatasetInfo, InverseInput, Predict, Restorer, Trainer, save
from restore.data_order import Data

__all__ = ["GracefulStop", "Preview", "TrainingTask", "fit"]

Preview = Callable[[Path, Restorer], Path]


class GracefulStop:
    """A context in which the first Ctrl-C or SIGTERM sets `asked`, and a later Ctrl-C raises KeyboardInterrupt.

    Launchers of several processes forward a Ctrl-C that the processes also receive from the terminal. A second signal
    within `MOMENT` therefore counts as the first one.
    """

    MOMENT = 1.0  # seconds

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> GracefulStop:
        """Install the handlers."""
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.asked:
            self.asked, self._since = True, now
        elif number == signal.SIGINT and now - self._since > self.MOMENT:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class TrainingTask:
    """What is trained on what, beside the options of the training.

    Args:
        degradation: degradation that the network learns to undo.
        data: clean images.
        data_spec: description of `data`, for the checkpoints.
        prediction_type: quantity that the network predicts: `x0`, `eps` or `v`.
        clip_sample: whether the restorer clamps its images to [-1, 1].
        preview: (path, restorer) -> path; draws what the averaged restorer does at present and saves it as `path`.
        prior: prior over x_T, for the checkpoints.
        inverse_input: linear inverse that the network sees besides x_t, if it does.
    """

    degradation: Degradation
    data: Data
    data_spec: DatasetInfo | None = None
    prediction_type: Predict = "x0"
    clip_sample: bool = False
    preview: Preview | None = None
    prior: Serializable | ComponentConfig | None = None
    inverse_input: InverseInput | None = None


def fit(training: Trainer, task: TrainingTask, folder: Path, options: TrainOptions) -> None:
    """Run the remaining steps with a progress bar, a log, previews and checkpoints.

    Args:
        training: the training in its present state.
        task: the task of the training.
        folder: the folder of the run; `log.jsonl`, `samples/` and `model/` are written there.
        options: how often to log, to draw and to save, and how many checkpoints to keep.

    Raises:
        KeyboardInterrupt: after the step during which Ctrl-C or SIGTERM came, with everything saved. Several processes
            stop together, at the next line of the log.
        UsageError: if the loss is no longer finite or something cannot be written; the last checkpoint stays.
    """
    with GracefulStop() as stopper, TrainingLogger(folder, training, options) as log:
        for record in training.run(task.data):
            log.add(record)
            step = record.step
            due = step % options.save_every == 0 or step == training.config.steps
            # A single process checks after every step. Several processes must check at the same steps.
            asks = training.world_size == 1 or due or step % options.log_every == 0
            stop = asks and training.any_rank(stopper.asked)
            if due or stop:
                log.write()  # refuses a loss that is not finite, so that it is never saved
                _save(folder / "model", training, task, options.keep)
            if stop:
                break
            # The processes hold the same weights: the first one draws, the others wait for it in the next step.
            if task.preview and not training.rank and options.preview_every and step % options.preview_every == 0:
                with log.preview(step) as path:
                    task.preview(path, training.ema)
        if training.any_rank(stopper.asked):
            raise KeyboardInterrupt(f"stopped after step {training.step}, saved; continue with --resume --out {folder}")


def _save(folder: Path, training: Trainer, task: TrainingTask, keep: int) -> None:
    fault = ""
    try:
        save(folder, training, keep, task.prior, task.data_spec)
    except (OSError, ValueError) as error:
        fault = str(error)
    if training.any_rank(bool(fault)):
        raise UsageError(fault or f"step {training.step} cannot be saved; the message of the first process says why")
