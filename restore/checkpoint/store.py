"""A folder of checkpoints: commit one, list them, remove one, each as one atomic operation.

step-00001234       a checkpoint; its number orders them
step-00001234~      the checkpoint that it replaces, between two renamings
.partial-NAME-PID   being written or removed by the process PID; stale if there is no such process
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from restore.checkpoint.integrity import File, fsync_dir, write

__all__ = ["checkpoint_path", "checkpoints", "commit", "remove", "remove_stale_partials", "step_of"]

NAME = re.compile(r"step-(\d{8,})~?")
PARTIAL = re.compile(r"\.partial-.*-(\d+)")


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, whole or not, the oldest first.

    Args:
        folder: folder of checkpoints, folder of a run, whose checkpoints are in `model`, or a checkpoint itself.
    """
    if not folder.is_dir():
        return []
    if NAME.fullmatch(folder.name) or (folder / "model.json").is_file():
        return [folder]
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    if not found and (folder / "model").is_dir():
        return checkpoints(folder / "model")
    return sorted(found, key=lambda path: (step_of(path), not path.name.endswith("~")))


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step."""
    return folder / f"step-{step:08d}"


def step_of(checkpoint: Path) -> int:
    """Return the step in a checkpoint's name.

    >>> step_of(Path("model/step-00001234"))
    1234
    """
    return int(checkpoint.name.removeprefix("step-").removesuffix("~"))


def commit(folder: Path, step: int, files: Iterable[File]) -> Path:
    """Write the checkpoint of a step, replacing one of the same step; return its path.

    Args:
        folder: made if missing.
        step: number of optimizer steps of the checkpoint.
        files: (name, content), taken one at a time.

    Raises:
        OSError: if it cannot be written; everything is as before then.
    """
    target = checkpoint_path(folder, step)
    aside = target.with_name(target.name + "~")
    partial = _partial_path(target)
    partial.mkdir(parents=True)
    try:
        write(partial, files)
        if os.path.lexists(target):
            remove(aside)
            target.rename(aside)
        partial.rename(target)
        fsync_dir(folder)
    finally:
        _delete(partial)
    remove(aside)
    return target


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint, if it is there; of a link to a folder, the link and not what it points to."""
    if os.path.lexists(checkpoint):
        _delete(checkpoint.rename(_partial_path(checkpoint)))


def remove_stale_partials(folder: Path) -> None:
    """Remove the partial checkpoints of processes that have ended."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = PARTIAL.fullmatch(path.name)
        if found and (int(found[1]) == os.getpid() or not _is_alive(int(found[1]))):
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_symlink():  # which rmtree refuses to follow
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _partial_path(path: Path) -> Path:
    return path.with_name(f".partial-{path.name}-{os.getpid()}")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True
