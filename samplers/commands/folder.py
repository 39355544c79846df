"""The command that restores a folder of pictures, and goes on where it was interrupted.

The folder --out holds a file `restored.json`: for each finished picture its path, the SHA-256 of its file, that of the
model and the options it was restored with, the file written and the severity. A picture with an equal entry whose
result is still there is skipped; one that has changed, or is asked for with other options, is restored again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from degrade.command_line import CliPositionalArg, UsageError
from degrade.files import read_json_object, replace_file
from degrade.optional import require
from samplers.commands.restoration import RestorationOptions, Work, before_after, encode, result_suffix

if TYPE_CHECKING:
    from restore import BaseRestorer

__all__ = ["RestoreFolder"]

RECORD = "restored.json"
SAME = {  # of the options
    "severity", "sampler", "sample_steps", "tile", "seed", "data", "before_after",
    "degradation", "degradation_args", "rule", "noise",
}  # fmt: skip


class RestoreFolder(RestorationOptions):
    """Restore all pictures in a folder, and in the folders inside it.

    Without --model, a model that comes with the package removes noise from photographs. Results are PNG files of the
    same names in the folder --out, or .npy and TIFF files as for one picture. A picture that is finished is skipped
    when the command is run again. A picture that fails costs one line on standard error, and the exit code is 1 at the
    end.
    """

    folder: CliPositionalArg[str] = Field(description="folder of the degraded pictures")

    def run(self) -> int:
        """Restore them; return 1 if one failed."""
        from degrade.image_io import picture_files
        from samplers.applications.pictures import ARRAY_SUFFIX

        source, target = Path(self.folder), Path(self.out)
        files = [file for file in picture_files(source, [ARRAY_SUFFIX]) if not file.is_relative_to(target)]
        if not files:
            raise UsageError(f"{source} holds no pictures; name a folder of pictures")
        work = self.load_work()
        wanted = {"model": fingerprint(work.R), "options": self.model_dump(mode="json", include=SAME)}
        record = read_json_object(target / RECORD)
        failed = skipped = 0
        names = results([(file.relative_to(source), result_suffix(file, work.R)) for file in files])
        for file, name in require("tqdm", "a progress bar").tqdm(
            list(zip(files, names)), desc="pictures", unit="picture", disable=None
        ):
            key = file.relative_to(source).as_posix()
            entry = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), **wanted, "result": name}
            done = record.get(key, {})
            if {part: done.get(part) for part in entry} == entry and (target / name).exists():
                skipped += 1
                continue
            try:
                severity = self._restore_one(work, file, target / name, key)
            # RuntimeError: a device out of memory, which the next picture may fit in.
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                print(f"{file}: {' '.join(str(error).split())}", file=sys.stderr)
                failed += 1
                continue
            record[key] = {**entry, "severity": severity}
            replace_file(target / RECORD, json.dumps(record, indent=1).encode())
        print(f"{len(files) - failed - skipped} restored, {skipped} skipped, {failed} failed: {target}")
        return 1 if failed else 0

    def _restore_one(self, work: Work, file: Path, target: Path, key: str) -> int:
        """Write the restored picture and return its severity."""
        from samplers.applications.pictures import open_picture

        picture = open_picture(file)
        restored = self.restore(work, picture, None, key)
        replace_file(target, encode(restored.image, target.suffix))
        if self.before_after:
            page = before_after(picture, restored, file.stem, work.R.value_range)
            replace_file(target.with_name(f"{target.stem}-before-after.png"), encode(page))
        return restored.severity.t


def fingerprint(R: BaseRestorer) -> str:
    """Return the SHA-256 of the weights of a model and of its degradation."""
    from restore.checkpoint.integrity import hash_tensors

    return hash_tensors(repr(R.degradation), R.state_dict())


def results(files: Sequence[tuple[Path, str]]) -> list[str]:
    """Return the name of the result of each of the files, all different; each is given with the suffix of its result.

    >>> results([(Path("a.jpg"), ".png"), (Path("b.jpg"), ".png"), (Path("b.npy"), ".npy")])
    ['a.png', 'b.jpg.png', 'b.npy.npy']
    """
    stems = Counter(file.with_suffix("") for file, _ in files)
    short = [file.with_suffix("") if stems[file.with_suffix("")] == 1 else file for file, _ in files]
    return [f"{file.as_posix()}{suffix}" for file, (_, suffix) in zip(short, files)]
