"""Writing a store of images (`experiments.data.store`): blocks by several workers, in any order, each once.

A block is decoded, written to its place, forced to the disk and then noted with its checksum. So what is noted is on
the disk, and a program that is stopped at any moment leaves a store that the same call completes.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from experiments.data.decoding import Decoded, Entry, ResizePolicy, decode_picture
from experiments.data.store import BLOCK, BLOCKS, IMAGES, StoreIndex, finished_blocks, is_store, read_index, write_index

__all__ = ["forget_damaged", "write_store"]

Dtype = Literal["uint8", "float16", "float32"]
PROBED = 64  # pictures that are looked at to choose the number of channels


def write_store(
    folder: Path, entries: Sequence[Entry], policy: ResizePolicy, dtype: Dtype, workers: int, root: str = ""
) -> None:
    """Write pictures into a store, or those blocks of it that are missing.

    Args:
        folder: folder of the store; made if missing.
        entries: the pictures, in an order that is the same in each call.
        policy: how each picture is resized. Without a number of channels there are as many as the first pictures have.
        dtype: type of the stored values; uint8 for 8-bit pictures alone.
        workers: number of threads.
        root: the folder, zip or set that the names begin with.

    Raises:
        ValueError: if the folder holds a store of other pictures, or the type does not suit the values.
        OSError: if it cannot be written.
    """
    if (policy.value_range is None) != (dtype == "uint8"):
        raise ValueError(f"--dtype {dtype}: 8-bit pictures are stored as uint8, values of a --value-range as float")
    index = read_index(folder) if is_store(folder) else None
    channels = index.shape[-1] if index else policy.channels or _probe(entries, policy)
    wanted = StoreIndex(
        shape=(len(entries), policy.side, policy.side, channels),
        dtype=dtype,
        names=tuple(name for name, _ in entries),
        labels=tuple(read.label for _, read in entries if hasattr(read, "label")),
        root=root,
        source=repr(policy),
        value_range=policy.value_range,
    )
    if index not in (None, wanted):
        raise ValueError(f"{folder} is a store of other images or of another size; name another folder")
    write_index(folder, wanted)
    missing = sorted(set(range(wanted.blocks)) - finished_blocks(folder).keys())
    # Around the pool, since filters of warnings are the process's. What is ignored are oddities of metadata.
    with (
        warnings.catch_warnings(action="ignore"),
        (folder / IMAGES).open("r+b") as images,
        (folder / BLOCKS).open("ab") as notes,
        ThreadPoolExecutor(workers) as pool,
    ):
        notes.write(b"\n")  # ends a line that was cut off
        jobs = [pool.submit(_write_block, images.fileno(), wanted, policy, entries, block) for block in missing]
        try:
            for job in tqdm(as_completed(jobs), "writing", len(jobs), disable=None, unit=" blocks", leave=False):
                notes.write(json.dumps(job.result()).encode() + b"\n")
                notes.flush()
                os.fsync(notes.fileno())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _probe(entries: Sequence[Entry], policy: ResizePolicy) -> int:
    found = [decode_picture(read, policy) for _, read in entries[:: max(1, len(entries) // PROBED)]]
    channels = [each.pixels.shape[1] for each in found if isinstance(each, Decoded)]
    if not channels:
        raise ValueError(f"none of {len(found)} pictures can be used ({found[0]})")
    return int(max(channels))


def _write_block(file: int, index: StoreIndex, policy: ResizePolicy, entries: Sequence[Entry], block: int) -> Any:
    """Decode and write one block; return its note."""
    first = block * BLOCK
    part = entries[first : first + BLOCK]
    values = np.zeros((len(part), *index.shape[1:]), np.dtype(index.dtype))
    left_out = []
    for i, (name, read) in enumerate(part):
        found = decode_picture(read, policy)
        if isinstance(found, Decoded) and found.pixels.shape[1] not in (1, index.shape[-1]):
            found = f"it has {found.pixels.shape[1]} channels, and the store has {index.shape[-1]}"
        if isinstance(found, str):
            left_out.append(first + i)
            print(f"skipped {name}: {found}", file=sys.stderr)
        else:
            values[i] = found.pixels[0].transpose(1, 2, 0)  # a gray image fills all channels
    data = values.tobytes()
    if os.pwrite(file, data, first * index.image_bytes) != len(data):
        raise OSError(f"block {block} was not written in full")
    os.fdatasync(file)
    return {"block": block, "crc": zlib.crc32(data), **({"left_out": left_out} if left_out else {})}


def forget_damaged(folder: Path, damaged: Sequence[int]) -> None:
    """Take damaged blocks out of the list of complete ones, so that the next `write_store` writes them anew."""
    notes = [note for block, note in sorted(finished_blocks(folder).items()) if block not in damaged]
    text = "".join(json.dumps(note) + "\n" for note in notes)
    (folder / f"{BLOCKS}.new").write_text(text)
    (folder / f"{BLOCKS}.new").replace(folder / BLOCKS)
