"""Stores of images on disk: written in parts, completed when torn, read in the keyed order ahead of time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from degrade import make
from degrade.command_line import UsageError, validated
from experiments import store as program
from experiments.data import store as stores
from experiments.data import store_writer
from experiments.data.datasets import load_data
from experiments.data.images import InMemoryImages
from experiments.data.options import DataOptions
from experiments.data.store import Store, StoredImages
from restore import Restorer, TrainConfig, Trainer
from restore.data_order import batch_fetcher
from restore.optimizers import Adam

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stores, "BLOCK", 4)
    monkeypatch.setattr("experiments.data.store_writer.BLOCK", 4)


@pytest.fixture
def written(tmp_path):
    """A store of 11 color pictures, one of which is broken."""
    (tmp_path / "set" / "deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(10):
        pixels = random.integers(0, 256, (18, 18, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / ("deep" if i % 2 else "") / f"{i}.png")
    (tmp_path / "set" / "5.png").write_bytes(b"broken")
    write(tmp_path)
    return tmp_path


def write(root, *more):
    return program.main([str(root / "set"), str(root / "store"), "--size", "16", *more])


def in_memory(store):
    """The same images in memory, in the order of the store."""
    return store.read(torch.arange(len(store))).permute(0, 3, 1, 2).contiguous()


def test_a_store_holds_the_pictures_and_leaves_out_what_cannot_be_read(written, capsys):
    store = Store(written / "store")
    assert (len(store), len(store.left_out), store.index.shape) == (10, 1, (11, 18, 18, 3))
    for i, place in enumerate(store.places.tolist()):
        pixels = np.asarray(Image.open(store.index.names[place]))
        assert np.array_equal(store.read(torch.tensor([i]))[0].numpy(), pixels)
    mapped = np.memmap(written / "store" / "images.bin", np.uint8, "r", shape=store.index.shape)
    assert np.array_equal(mapped[store.places], in_memory(store).permute(0, 2, 3, 1).numpy())


def test_a_torn_store_is_named_and_completed_and_only_what_is_missing_is_written(written, monkeypatch):
    folder = written / "store"
    whole = (folder / "images.bin").read_bytes()
    notes = sorted((folder / "blocks.jsonl").read_text().split())
    lines = (folder / "blocks.jsonl").read_bytes().strip().splitlines(keepends=True)
    (folder / "blocks.jsonl").write_bytes(lines[0] + lines[1][:7])  # stopped in the middle of a line
    with pytest.raises(UsageError, match="is torn: 2 of 3 blocks are missing"):
        load_data(validated(DataOptions, {}), 16, 0, CPU, str(folder), "--data")
    decoded = []
    original = store_writer._write_block
    monkeypatch.setattr(store_writer, "_write_block", lambda *a: (decoded.append(a[-1]), original(*a))[1])
    write(written)
    assert len(decoded) == 2
    assert (folder / "images.bin").read_bytes() == whole
    known = {line for line in (folder / "blocks.jsonl").read_text().split() if line.endswith("}")}
    assert set(notes) >= known - {""}
    with pytest.raises(UsageError, match="store of other images"):
        program.main([str(written / "set"), str(folder), "--size", "17"])


def test_a_damaged_block_is_found_and_written_again(written, capsys):
    path = written / "store" / "images.bin"
    whole = path.read_bytes()
    assert write(written, "--check") == 0
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    assert write(written, "--check") == 1
    assert "1 blocks are damaged, such as 2" in capsys.readouterr().out
    write(written)
    assert path.read_bytes() == whole


class Scale(torch.nn.Module):
    """A network of one weight."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x_t, t):
        return self.scale * x_t


def losses(data, steps=6, state=None):
    config = TrainConfig(steps=steps, batch_size=4, micro_batch_size=2, optimizer=Adam(lr=1e-2), seed=3)
    trainer = Trainer(Restorer(Scale(), make("decolor", T=4)), config)
    if state is not None:
        trainer.load_state_dict(state)
    found = [stats.losses.tolist() for stats in trainer.run(data)]
    return found, trainer.state_dict()


def test_training_from_a_store_equals_training_from_memory_and_resumes_exactly(written):
    store = Store(written / "store")
    expected, _ = losses(InMemoryImages(in_memory(store), 16))
    assert losses(StoredImages(store, 16, True, CPU))[0] == expected
    first, state = losses(StoredImages(store, 16, True, CPU), steps=2)
    assert first + losses(StoredImages(store, 16, True, CPU), state=state)[0] == expected


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_what_is_read_ahead_is_what_is_asked_for_by_any_number_of_processes(processes, written, monkeypatch):
    store = Store(written / "store")
    images, reads = StoredImages(store, 16, False, CPU), []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self, index, pinned=False: (reads.append(index), read(self, index))[1])
    fetch = batch_fetcher(images, seed=1)
    memory = batch_fetcher(InMemoryImages(in_memory(store), 16, flip=False), seed=1)
    positions = range(2, 2 + 2 * processes * 8, 2 * processes)
    reads.clear()
    for position in positions:
        own = [torch.Generator().manual_seed(position) for _ in range(2)]
        assert torch.equal(fetch(position, 2, own[0]), memory(position, 2, own[1]))
    images._pool.shutdown()
    assert len(reads) <= len(positions) + 3 + 3 * (processes > 1)  # each batch once; a first guess may be wrong


def test_values_are_stored_as_float(tmp_path):
    (tmp_path / "set").mkdir()
    fields = np.random.default_rng(0).uniform(200, 320, (5, 16, 16, 5)).astype(np.float32)
    for i, field in enumerate(fields):
        np.save(tmp_path / "set" / f"{i}.npy", field)
    write(tmp_path, "--oversize", "1", "--value-range", "200,320", "--dtype", "float32")
    store = Store(tmp_path / "store")
    assert torch.equal(store.read(torch.arange(5)), torch.from_numpy(fields))
    data = load_data(validated(DataOptions, {}), 16, 0, CPU, str(tmp_path / "store"), "--data")
    assert (data.channels, data.spec.value_range) == (5, store.index.value_range)
    with pytest.raises(UsageError, match="8-bit pictures are stored as uint8"):
        write(tmp_path, "--value-range", "200,320", "--dtype", "uint8")


def test_a_deep_tree_of_hashed_folders_is_written_whole(tmp_path, monkeypatch):
    """As LSUN is unpacked: pictures of the same names in folders three levels deep."""
    random, expected = np.random.default_rng(0), {}
    for i in range(22):
        path = tmp_path / "set" / f"{i % 3:x}" / f"{i % 5:x}" / f"{i % 2:x}" / f"{i // 4:040x}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        expected[str(path)] = random.integers(0, 256, (16, 20 + i, 3), dtype=np.uint8)
        Image.fromarray(expected[str(path)]).save(path, lossless=True)
    original, written = store_writer._write_block, []

    def stopped(*job):
        written.append(job[-1])
        if len(written) == 3:
            raise KeyboardInterrupt
        return original(*job)

    monkeypatch.setattr(store_writer, "_write_block", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "--oversize", "1", "--workers", "1")
    noted = stores.finished_blocks(tmp_path / "store").keys()
    assert len(noted) < 6
    written[:] = [None] * 3
    write(tmp_path, "--oversize", "1", "--workers", "3")
    assert sorted(written[3:]) == sorted(set(range(6)) - noted)
    store = Store(tmp_path / "store")
    assert list(store.index.names) == sorted(expected)
    for image, name in zip(store.read(torch.arange(22)), store.index.names, strict=True):
        left = (expected[name].shape[1] - 16) / 2
        middle = expected[name][:, int(left) : int(left) + 16]
        if left == int(left):  # no pixel is divided by the crop
            assert np.array_equal(image.numpy(), middle)
