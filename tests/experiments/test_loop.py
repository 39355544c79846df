"""Running a training: what is logged, drawn and saved, what stops it, and what is left when something does."""

from __future__ import annotations

import errno
import json
import os
import signal

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import save_image

import restore
from degrade.command_line import UsageError
from degrade.random import seeded_generator
from experiments.run import logging as watch
from experiments.run import loop
from experiments.run.folder import resume_run
from experiments.run.loop import GracefulStop, TrainingTask
from experiments.run.options import TrainOptions
from restore import ComponentConfig, DatasetInfo
from restore.distributed import SingleProcess
from tests.trainings import data, start, states

FACES = DatasetInfo("faces.zip", 100, "ab" * 32)


def fit(training, source, folder, options, preview=None, data_spec=None, prior=None):
    task = TrainingTask(training.restorer.degradation, source, data_spec, preview=preview, prior=prior)
    loop.fit(training, task, folder, options)


def options(**values):
    return TrainOptions(**{"log_every": 2, "save_every": 4} | values)


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def steps(folder):
    return sorted(int(path.name[5:]) for path in (folder / "model").iterdir())


def interrupting(step, number=signal.SIGINT):
    """Data during whose fetching for `step` a signal comes."""
    count = 0

    def source(n, generator):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), number)
        return data(n, generator)

    return source


def test_lines_checkpoints_and_pictures_come_when_they_are_due(tmp_path):
    seen = []

    def picture(path, restorer):
        seen.append((path.name, restorer))
        save_image(torch.zeros(3, 4, 4), path)
        return path

    training = start(9)
    prior = ComponentConfig("standard_normal", {"shape": [1, 16, 16]})
    fit(training, data, tmp_path, options(keep=3, preview_every=3), picture, FACES, prior)
    assert steps(tmp_path) == [4, 8, 9]
    assert [row["step"] for row in log(tmp_path)] == [2, 4, 6, 8, 9]
    assert [name for name, _ in seen] == [f"step-{step:08d}.png" for step in (3, 6, 9)]
    assert all(restorer is training.ema for _, restorer in seen)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [name for name, _ in seen]
    said = restore.read_checkpoint_config(restore.latest(tmp_path))
    assert (said.data, said.prior) == (FACES, prior)


def test_the_log_tells_the_mean_loss_since_the_last_line(tmp_path):
    twin = start(5)
    records = list(twin.run(data))
    fit(start(5), data, tmp_path, options(log_every=3))
    first, second, third = log(tmp_path)  # after step 3, before the checkpoint of step 4, at the end
    assert first["loss"] == pytest.approx(float(sum(r.loss for r in records[:3]) / 3))
    assert (second["step"], second["loss"]) == (4, pytest.approx(float(records[3].loss)))
    assert (third["lr"], third["grad_norm"]) == (records[4].lr, pytest.approx(float(records[4].grad_norm)))
    assert all(row["images_per_s"] > 0 for row in (first, second, third))


@pytest.mark.parametrize("every", [None, 0, 100])
def test_no_picture_is_drawn_before_it_is_due(tmp_path, every):
    def never(path, restorer):
        raise AssertionError("a picture was drawn")

    fit(start(1), data, tmp_path, options(preview_every=every), never)
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_it_came_in_and_the_run_goes_on_bit_for_bit(tmp_path, number):
    whole, parts = start(6), start(6)
    list(whole.run(data))
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3, saved; continue with --resume --out"):
        fit(parts, interrupting(2 * 3, number), tmp_path, options())
    assert steps(tmp_path) == [3]
    assert [row["step"] for row in log(tmp_path)] == [2, 3]
    parts = start(6)
    resume_run(tmp_path, parts)
    fit(parts, data, tmp_path, options())
    assert all(torch.equal(a, b) for a, b in zip(states(whole), states(parts), strict=True))
    assert [row["step"] for row in log(tmp_path)] == [2, 3, 4, 6]


def test_a_signal_in_the_last_step_ends_the_program_too(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after step 2, saved"):
        fit(start(2), interrupting(2 * 2), tmp_path, options())
    assert steps(tmp_path) == [2]


def test_a_second_interruption_forces_the_end_unless_it_is_the_same_one(monkeypatch):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with GracefulStop() as stopper:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # a launcher hands on what the terminal has sent already
        assert stopper.asked
        monkeypatch.setattr(GracefulStop, "MOMENT", -1.0)
        os.kill(os.getpid(), signal.SIGTERM)  # asks, and never forces
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


class Pair(SingleProcess):
    """The first of two processes, the other of which is interrupted before step `at`; it counts when it is asked."""

    world_size = 2

    def __init__(self, at):
        self.at, self.asked, self.training = at, [], None

    def gather(self, x):
        return torch.cat([x, x])

    def any_rank(self, flag):
        step = self.training.step
        self.asked.append(step)
        # In between it is asked whether saving failed, which it did not.
        return flag or (step >= self.at and self.asked.count(step) % 2 == 1)


def test_of_several_processes_all_stop_at_the_same_line_of_the_log(tmp_path):
    devices = Pair(at=3)
    devices.training = start(9, processes=devices)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 4, saved"):
        fit(devices.training, data, tmp_path, options(save_every=100))
    assert steps(tmp_path) == [4]
    assert set(devices.asked) == {2, 4}, "they may ask each other at lines of the log only"


def test_a_process_beside_the_first_writes_nothing_and_says_nothing(tmp_path, capsys):
    training = start(4)
    training.rank = 1
    fit(training, data, tmp_path, options())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def sick(monkeypatch, step, severities):
    """Make the loss of step `step` infinite for images of these severities."""
    losses = restore.Trainer._losses

    def _losses(training, x0, t, *rest):
        values = losses(training, x0, t, *rest)
        if training.step + 1 != step:
            return values
        return torch.where(torch.isin(t, torch.tensor(severities)), float("inf"), values)

    monkeypatch.setattr(restore.Trainer, "_losses", _losses)


def test_a_loss_that_is_not_finite_is_told_with_step_and_severities_and_nothing_of_it_is_saved(tmp_path, monkeypatch):
    generator = seeded_generator("cpu", 0, "train", 6, 0)
    data(4, generator)
    t = torch.randint(1, 11, (4,), generator=generator).tolist()
    sick(monkeypatch, 6, t[:2])
    count = sum(value in t[:2] for value in t)
    message = rf"inf from step 6 on, for {count} of 4 images, at t = {', '.join(map(str, sorted(set(t[:2]))))};"
    # Seen at the line of step 8 only, which is the moment to save as well: what is there is of step 4.
    with pytest.raises(UsageError, match=message):
        fit(start(12, batch_size=4), data, tmp_path, options(log_every=8))
    assert steps(tmp_path) == [4]
    assert all(p.isfinite().all() for p in restore.load(tmp_path).parameters())
    assert [row["step"] for row in log(tmp_path)] == [4]


def test_a_gradient_that_is_not_finite_spoils_the_weights_and_is_not_saved_either(tmp_path, monkeypatch):
    norm = torch.nn.utils.clip_grad_norm_
    training = start(4)
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *a, **k: norm(*a, **k) * (float("nan") if training.step == 1 else 1)
    )
    with pytest.raises(UsageError, match="the gradient is not finite at step 2, its loss"):
        fit(training, data, tmp_path, options(save_every=1, log_every=100))
    assert steps(tmp_path) == [1]


def test_many_severities_are_abridged():
    record = restore.StepStats(
        3, torch.tensor(0.0), torch.tensor(0.0), 1.0, torch.arange(1, 21), torch.full((20,), torch.nan)
    )
    assert "at t = 1, 2, 3, 4, 5, 6, 7, 8, ...;" in watch._not_finite_message(record)


@pytest.mark.parametrize("what", ["log", "picture", "checkpoint"])
def test_a_full_disk_ends_in_one_message_and_the_checkpoint_before_is_intact(tmp_path, monkeypatch, what):
    def fails(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def source(n, generator):
        if what == "log":  # whatever is written to this device finds it full
            (tmp_path / "log.jsonl").unlink()
            (tmp_path / "log.jsonl").symlink_to("/dev/full")
        return data(n, generator)

    fit(start(2), data, tmp_path, options())
    training = start(6)
    resume_run(tmp_path, training)
    if what == "checkpoint":
        monkeypatch.setattr(restore.checkpoint.integrity, "_write", fails)
    with pytest.raises(UsageError, match=r"No space left on device; the (one before|last checkpoint) is intact$"):
        fit(training, source, tmp_path, options(preview_every=3), fails if what == "picture" else None)
    assert steps(tmp_path) == [2]
    restore.load(tmp_path)


def test_when_the_first_process_cannot_save_the_others_end_with_it(tmp_path, monkeypatch):
    training = start(4)
    training.rank = 1
    monkeypatch.setattr(training, "any_rank", lambda flag: training.step >= 4)
    with pytest.raises(UsageError, match="step 4 cannot be saved; the message of the first process"):
        fit(training, data, tmp_path, options(save_every=4, log_every=100))


def test_the_log_of_a_resumed_run_has_no_torn_line_and_no_step_twice(tmp_path):
    fit(start(4), data, tmp_path, options())
    first = log(tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(json.dumps({**first[-1], "step": 6}) + "\n" + '{"step": 8, "lo')
    training = start(6)
    resume_run(tmp_path, training)
    fit(training, data, tmp_path, options(log_every=1))
    assert [row["step"] for row in log(tmp_path)] == [2, 4, 5, 6]
    assert log(tmp_path)[:2] == first


def test_other_data_are_refused_when_a_run_is_continued(tmp_path):
    fit(start(2), data, tmp_path, options(), data_spec=FACES)
    with pytest.raises(
        UsageError, match=r"^--resume: .* another data set: faces.zip, 100 .*, and this run .* cats, 7 im"
    ):
        resume_run(tmp_path, start(4), DatasetInfo("cats", 7))
    resume_run(tmp_path, start(4), FACES)
    resume_run(tmp_path / "never-saved", start(4), FACES)


def test_tensorboard_shows_what_the_log_says_and_goes_on_where_the_run_does(tmp_path):
    def picture(path, restorer):
        save_image(torch.rand(3, 4, 4), path)
        return path

    def run(training):
        fit(training, data, tmp_path, options(tensorboard=True, preview_every=4), picture)

    run(start(4))
    with SummaryWriter(tmp_path / "tensorboard") as writer:
        writer.add_scalar("loss", 1e9, 5)  # of a step that the checkpoint does not know
    training = start(6)
    resume_run(tmp_path, training)
    run(training)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "lr", "grad_norm", "images_per_s"):
        shown = [(event.step, event.value) for event in board.Scalars(name)]
        assert shown == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in log(tmp_path)]
    assert [event.step for event in board.Images("samples")] == [4]


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r"--tensorboard needs tensorboard: pip install 'degrade-restore\[watch\]'"):
        fit(start(1), data, tmp_path, options(tensorboard=True))
