"""Saving: killed at any moment, on a full disk, where nothing can be written: the checkpoints before it are whole."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

import degrade
import restore
from restore import Restorer, TrainConfig, Trainer, UNet
from tests.trainings import TINY, states

KILLS = 60


def trained():
    """A tiny training after its first step, its optimizer filled."""
    net = UNet(dataclasses.replace(TINY, image_size=8))
    training = Trainer(Restorer(net, degrade.make("decolor", T=3)), TrainConfig(steps=1, batch_size=2))
    list(training.run(lambda n, generator: torch.rand(n, 1, 8, 8, generator=generator)))
    return training


def set_to(training, step):
    """Put a training into the state that belongs to `step`: every number is that step."""
    training.step = step
    for tensor in states(training):
        tensor.fill_(step)


def save_without_end(training, folder, report):
    """In a process of its own: save step after step, and report each when it is saved."""
    while True:
        set_to(training, training.step + 1)
        restore.save(folder, training, keep=2)
        os.write(report, training.step.to_bytes(4))


def killed(training, folder, seconds):
    """Return the last step reported by a process that saved until it was killed, `seconds` after its first."""
    reading, report = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            save_without_end(training, folder, report)
        os._exit(1)  # which the parent will not mistake for the kill
    os.close(report)
    first = os.read(reading, 4)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    steps = first
    while more := os.read(reading, 4096):
        steps += more
    os.close(reading)
    return int.from_bytes(steps[-4:])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_killed_while_it_saves_leaves_whole_checkpoints(tmp_path):
    """The states are checked number by number, and `restore` warns of nothing: a kill damages no checkpoint."""
    training, reader, folder, choose = trained(), trained(), tmp_path / "model", random.Random(0)
    begun = time.perf_counter()
    for done in range(1, 6):
        set_to(training, done)
        restore.save(folder, training)
    once = (time.perf_counter() - begun) / 5
    half_written = half_removed = 0
    for _ in range(KILLS):
        training.step = done
        reported = killed(training, folder, choose.uniform(0, 2 * once))
        left = [path.name for path in folder.glob(".partial-*")]
        done = restore.resume(folder, reader)
        half_written += any(f"step-{done + 1:08d}" in name for name in left)
        half_removed += any(f"step-{done + 1:08d}" not in name for name in left)
        assert reported <= done <= reported + 1
        assert all((tensor == done).all() for tensor in states(reader))
        assert all((p == done).all() for p in restore.load(folder).parameters())
        assert len(left) <= 1, "what a dead process left was not cleaned up"
    print(f"\n{KILLS} kills: {half_written} while a checkpoint was written, {half_removed} while one was removed,"
          f" {KILLS - half_written - half_removed} in between; {done} checkpoints saved, none damaged")  # fmt: skip
    assert half_written > KILLS / 4, "the kills missed the saving"


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    training = trained()
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = [f".partial-step-00000009-{number}" for number in (os.getppid(), ended.pid, os.getpid())]
    for name in names:
        (tmp_path / name).mkdir()
    restore.save(tmp_path, training)
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[0], "step-00000001"]


def test_of_a_linked_checkpoint_the_link_is_removed_and_nothing_is_left(tmp_path):
    """A checkpoint moved to another disk and linked back: what the link points to belongs to its owner."""
    training, elsewhere = trained(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "model"
    for step in (1, 2):  # one to be rotated out, one to be replaced
        set_to(training, step)
        moved = restore.save(folder, training).rename(elsewhere / f"{step}")
        (folder / f"step-{step:08d}").symlink_to(moved)
    for step in (2, 3):
        set_to(training, step)
        restore.save(folder, training)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000002", "step-00000003"]
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert sorted(path.name for path in elsewhere.iterdir()) == ["1", "2"]
    assert all((moved / "weights.safetensors").is_file() for moved in elsewhere.iterdir())


def refused(folder, training, reason):
    """Save in vain: one clear message, nothing left behind, and the checkpoint before it is intact."""
    before = sorted(folder.rglob("*")) if folder.is_dir() else []
    set_to(training, 2)
    message = f"^step 2 cannot be saved in {folder}: {reason}; the one before is intact$"
    with pytest.raises(OSError, match=message):
        restore.save(folder, training)
    assert before == (sorted(folder.rglob("*")) if folder.is_dir() else [])
    if before:
        reader = trained()
        assert restore.resume(folder, reader) == 1
        assert all((tensor == 1).all() for tensor in states(reader))


@pytest.fixture
def one_saved(tmp_path):
    """A training whose first step is saved in `tmp_path / "model"`."""
    training = trained()
    set_to(training, 1)
    restore.save(tmp_path / "model", training)
    return training


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_limit_on_the_size_of_files_ends_in_one_message(one_saved, tmp_path, share):
    """The operating system refuses in the middle of a file, as it does on a full disk."""
    checkpoint = restore.latest(tmp_path / "model")
    largest = max(file.stat().st_size for file in checkpoint.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * largest), hard))
    try:
        refused(tmp_path / "model", one_saved, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "rename"])
def test_a_full_disk_at_any_call_ends_in_one_message(one_saved, tmp_path, monkeypatch, call):
    calls = {
        "mkdir": (Path, "mkdir"),
        "open": (restore.checkpoint.integrity, "_write"),
        "fsync": (os, "fsync"),
        "rename": (Path, "rename"),
    }

    def expand_level(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(*calls[call], expand_level)
        set_to(one_saved, 2)
        with pytest.raises(
            OSError, match=r"^step 2 cannot be saved in .*: No space left on device; the one before is i"
        ):
            restore.save(tmp_path / "model", one_saved)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["step-00000001"]
    restore.load(tmp_path)


def test_where_no_folder_can_be_one_message_says_so(one_saved, tmp_path):
    (tmp_path / "file").write_text("no folder")
    refused(tmp_path / "file" / "model", one_saved, "Not a directory")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, where this may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_small_file_system_fills_up_and_is_emptied_again(small_disk):
    folder, training = small_disk / "model", trained()
    set_to(training, 1)
    restore.save(folder, training)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    room = os.statvfs(small_disk)
    assert room.f_bavail * room.f_frsize > 2 * size
    (small_disk / "other").write_bytes(bytes(room.f_bavail * room.f_frsize - size // 2))
    refused(folder, training, "No space left on device")
    (small_disk / "other").unlink()
    assert restore.save(folder, training) == folder / "step-00000002"
    assert all((p == 2).all() for p in restore.load(folder).parameters())


def test_a_read_only_file_system_ends_in_one_message(small_disk):
    folder, training = small_disk / "model", trained()
    set_to(training, 1)
    restore.save(folder, training)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(folder, training, "Read-only file system")


def test_the_weights_are_not_written_by_way_of_the_training(tmp_path):
    """What is saved is a copy of the moment: training on changes no file."""
    training = trained()
    restore.save(tmp_path, training)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    set_to(training, 5)
    assert before == {path: path.read_bytes() for path in before}
    assert torch.load(restore.latest(tmp_path) / "optimizer.pt", weights_only=True)["param_groups"]
