"""Write images into a store that is read from disk while training, for sets that are larger than memory.

    python experiments/store.py photos/ photos.store --size 256
    python experiments/store.py lsun/bedroom lsun.store --size 256 --workers 16
    python experiments/store.py cifar10 cifar10.store --size 32 --download
    python experiments/store.py fields/ fields.store --size 128 --value-range 200,320 --dtype float16
    python experiments/train.py --data photos.store --size 256

The input is what --data of train.py names: a folder, searched recursively, a zip, or a set of torchvision or of the
library `datasets`. A store keeps the names of the pictures, so --labels, and --pairs and --cond-images of two stores,
work as for folders. Pictures are scaled and cropped as by train.py, with its --oversize. Several workers write blocks
of 256 images. If writing is interrupted, the store is incomplete: the same command writes what is missing. --check
reads a store again and names damaged blocks, which the next run of the command writes again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from degrade.command_line import CliPositionalArg, UsageError, explicit_values, run_main, validated
from experiments.data.options import PictureOptions
from experiments.run.options import Count

__all__ = ["Config", "main"]

PROGRAM = "store.py"


class Config(PictureOptions):
    """Store."""

    source: CliPositionalArg[str] = Field(description="folder, zip, name of a torchvision set, or hf:NAME_OR_FOLDER")
    store: CliPositionalArg[str] = Field(description="folder of the store; it is made if it does not exist")
    size: Count = Field(
        256, description="side in pixels of the training images; stored images are larger by the factor --oversize"
    )
    dtype: Literal["uint8", "float16", "float32"] = Field("uint8", description="type of the stored values")
    workers: Count = Field(4, description="number of threads that decode pictures and write")
    check: bool = Field(False, description="compare a store with its checksums instead of writing it")


def main(argv: Sequence[str]) -> int:
    """Write a store, or check it."""
    config = validated(Config, explicit_values(Config, argv, PROGRAM, __doc__ or ""))
    from experiments.data.datasets import read_split
    from experiments.data.store import Store
    from experiments.data.store_writer import write_store

    folder = Path(config.store)
    if config.resize == "none":
        raise UsageError("--resize none: a store holds images of one size; use crop or pad, or train on the folder")
    try:
        if config.check:
            return _check(folder)
        split = read_split(config, config.source, 0, "SOURCE")
        root = str(Path(config.source))
        entries = sorted(dict([*split.training, *split.validation]).items())
        write_store(folder, entries, config.resize_policy(config.size), config.dtype, config.workers, root)
        store = Store(folder)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from None
    print(f"{folder}: {len(store)} images {store.index.shape[1:]} {store.index.dtype}, {len(store.left_out)} left out")
    return 0


def _check(folder: Path) -> int:
    from experiments.data.store import Store
    from experiments.data.store_writer import forget_damaged

    damaged = Store(folder).verify()
    if not damaged:
        print(f"{folder}: every block is as it was written")
        return 0
    forget_damaged(folder, damaged)
    print(f"{folder}: {len(damaged)} blocks are damaged, such as {damaged[0]}; run the command without --check again")
    return 1


if __name__ == "__main__":
    sys.exit(run_main(main, PROGRAM))
