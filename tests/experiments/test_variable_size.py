"""Windows of pictures at their own resolution: where they lie, how they are turned, what is kept, and resuming."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from degrade import make
from degrade.command_line import UsageError, validated
from experiments import store as store_program
from experiments.data.datasets import load_data, load_examples
from experiments.data.images import InMemoryImages, _turned, _turned_grid
from experiments.data.options import DataOptions
from experiments.data.options import ExampleOptions as Examples
from experiments.data.packed import PackedImages
from experiments.data.variable_size import VariableSizeImages
from restore import Restorer, TrainConfig, Trainer
from restore.data_order import MapDataset
from restore.optimizers import Adam
from restore.value_range import ValueRange

CPU = torch.device("cpu")
SIZES = ((5, 7), (9, 4), (4, 4), (6, 5))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(sizes=SIZES, channels=2):
    """Images of which no two values are the same."""
    lengths = [channels * height * width for height, width in sizes]
    values = torch.arange(sum(lengths)).split(lengths)
    return [v.double().view(channels, *size) for v, size in zip(values, sizes, strict=True)]


def windows_of(images, size=4, **how):
    return VariableSizeImages(PackedImages.pack(images), size, value_range=ValueRange(-1, 1), **how)


def whereabouts(windows, images):
    """For each window the number of its image, its corner, whether it is mirrored and by how much it is turned."""
    S = windows.shape[-1]
    known = {}
    for i, image in enumerate(images):
        for top, left in itertools.product(range(image.shape[1] - S + 1), range(image.shape[2] - S + 1)):
            piece = image[:, top : top + S, left : left + S]
            for flip, turns in itertools.product((False, True), range(4)):
                turned = torch.rot90(piece.flip(2) if flip else piece, turns, (1, 2))
                known[tuple(turned.flatten().tolist())] = (i, top, left, flip, turns)
    return [known[tuple(window.flatten().tolist())] for window in windows]


def test_every_window_is_a_piece_of_its_picture_and_every_place_is_as_likely():
    images = numbered()
    data = windows_of(images, flip=False)
    assert isinstance(data, MapDataset)
    found = whereabouts(data.at(torch.arange(4).repeat_interleave(600), generator()), images)
    for i, (height, width) in enumerate(SIZES):
        own = found[600 * i : 600 * (i + 1)]
        assert {(number, flip, turns) for number, _, _, flip, turns in own} == {(i, False, 0)}
        places = Counter((top, left) for _, top, left, *_ in own)
        count = (height - 3) * (width - 3)
        assert len(places) == count
        assert all(abs(n - 600 / count) < 5 * (600 / count) ** 0.5 for n in places.values())


@pytest.mark.parametrize(("flip", "rotate"), [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("one_size", [False, True])
def test_mirrors_and_all_quarter_turns_occur_equally_often(flip, rotate, one_size):
    images = numbered(((6, 6),) * 3 if one_size else SIZES)
    how = {"flip": flip, "rotate": rotate}
    data = InMemoryImages(torch.stack(images), 4, value_range=ValueRange(-1, 1), **how) if one_size else None
    data = data or windows_of(images, **how)
    seen = Counter((mirrored, turns) for *_, mirrored, turns in whereabouts(data(800, generator()), images))
    expected = set(itertools.product((False, True) if flip else (False,), range(4) if rotate else (0,)))
    assert set(seen) == expected
    assert all(abs(n - 800 / len(expected)) < 5 * (800 / len(expected)) ** 0.5 for n in seen.values())


def test_a_device_gathers_what_the_host_slices():
    images = numbered()
    packed = PackedImages.pack(images)
    places = torch.tensor([0, 1, 3, 0, 1, 2, 3, 0])
    top, left = torch.tensor([[1, 3], [5, 0], [2, 1], [0, 0], [2, 0], [0, 0], [1, 0], [0, 2]]).unbind(1)
    mirror, turns = torch.arange(8) % 2 == 1, torch.arange(8) // 2
    rows, columns = _turned_grid(4, mirror, turns)
    gathered = packed.gather(places, rows + top.view(-1, 1, 1), columns + left.view(-1, 1, 1))
    for k, window in enumerate(gathered):
        piece = images[places[k]][:, top[k] : top[k] + 4, left[k] : left[k] + 4]
        assert torch.equal(window, _turned(piece, bool(mirror[k]), int(turns[k])))


def test_a_window_depends_on_the_random_numbers_of_its_own_picture_alone():
    data, index = windows_of(numbered(), rotate=True), torch.tensor([3, 1, 0])
    together = data.at(index, [generator(i) for i in range(3)])
    assert torch.equal(together, data.at(index, [generator(i) for i in range(3)]))
    assert torch.equal(together[2:], data.at(index[2:], generator(2)))
    assert any(not torch.equal(together[2:], data.at(index[2:], generator(k))) for k in range(3, 6))


def test_what_streams_gives_what_is_resident():
    data, streamed = windows_of(numbered()), windows_of(numbered())
    streamed.streams = True
    index = torch.tensor([3, 1, 0, 3])
    assert torch.equal(data.at(index, generator()), streamed.at(index, generator()))
    assert len(streamed.fetch(index)[0]) == 4
    assert windows_of(numbered()).sha256 == data.sha256 != windows_of(numbered()[::-1]).sha256
    turned = [image.mT.reshape(image.shape).mT for image in numbered()]  # the same values in the same order
    assert windows_of(turned).sha256 != data.sha256


def photographs(folder, sizes, start=0):
    folder.mkdir(parents=True)
    for i, (width, height) in enumerate(sizes):
        pixels = np.random.default_rng(start + i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def load(path, size=16, **options):
    return load_data(validated(DataOptions, {"resize": "none", **options}), size, 0, CPU, str(path), "--data")


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_zip_of_photographs_keeps_every_pixel_and_measures_on_the_middle(packed, tmp_path, capsys):
    root = tmp_path / "set"
    photographs(root / "train", [(31, 20), (20, 31), (16, 16), (40, 15)])
    photographs(root / "test", [(21, 18), (16, 40)], start=10)
    data = load(shutil.make_archive(str(root), "zip", root) if packed else root, rotate=True)
    kept = [pixels(root / "train" / f"{i}.png") for i in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(data.training.images, kept, strict=False))
    assert (len(data.training), data.channels, data.spec.images, data.spec.own_resolution) == (3, 3, 3, True)
    assert data.spec.sha256 == load(root).spec.sha256
    assert "3.png: it has 40 x 15 pixels, fewer than --size 16; --resize pad puts it in a" in capsys.readouterr().err
    (window,) = data.training.at(torch.tensor([2]), generator())
    assert torch.equal(window.unique(), (kept[2].float() / 127.5 - 1).unique())
    middle = [pixels(root / "test" / "0.png")[:, 1:17, 2:18], pixels(root / "test" / "1.png")[:, 12:28]]
    measured = data.validation.at(torch.arange(2))
    assert torch.equal(measured.sort(0)[0], (torch.stack(middle).float() / 127.5 - 1).sort(0)[0])
    assert (data.validation.flip, data.validation.rotate) == (False, False)
    assert load_data(validated(DataOptions, {"rotate": True}), 16, 0, CPU, str(root), "--data").training.rotate


def test_photographs_that_are_all_too_small_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"none of its 2 images can be used \(it has 15 x 20 pixels, fewer than"):
        load(photographs(tmp_path / "set", [(15, 20)] * 3))
    with pytest.raises(UsageError, match=r"^--resize none: a store holds images of one size"):
        store_program.main([str(tmp_path / "set"), str(tmp_path / "store"), "--resize", "none"])


def test_pairs_of_photographs_are_cut_alike(tmp_path):
    sizes = [(20, 31), (31, 20), (18, 18)]
    clean, dark = photographs(tmp_path / "clean", sizes), tmp_path / "dark"
    dark.mkdir()
    for file in clean.iterdir():
        Image.open(file).point(lambda v: v // 2).save(dark / file.name)
    options = validated(Examples, {"pairs": (str(clean), str(dark)), "resize": "none", "rotate": True})
    training = load_examples(options, 16, 0, CPU).training
    x0, cond = training.at(torch.tensor([0, 1, 1, 0]), generator())
    assert torch.equal(((x0 + 1) * 127.5).round() // 2, ((cond["z"] + 1) * 127.5).round())


class Scale(torch.nn.Module):
    """A network of one weight."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x_t, t):
        return self.scale * x_t


def test_a_training_resumes_with_the_windows_that_it_would_have_seen():
    values = PackedImages.pack([(image % 256).byte() for image in numbered(channels=3)])
    data = VariableSizeImages(values, 4, rotate=True)

    def losses(steps, state=None):
        config = TrainConfig(steps=steps, batch_size=4, micro_batch_size=2, optimizer=Adam(lr=1e-2), seed=3)
        trainer = Trainer(Restorer(Scale(), make("decolor", T=4)), config)
        if state is not None:
            trainer.load_state_dict(state)
        return [stats.losses.tolist() for stats in trainer.run(data)], trainer.state_dict()

    whole, _ = losses(5)
    first, state = losses(2)
    assert first + losses(5, state)[0] == whole


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        ([torch.zeros(3, 8, 9, dtype=torch.int64)], 8, "images are int64; VariableSizeImages needs uint8 or"),
        ([torch.zeros(3, 8, 9), torch.zeros(3, 9, 7)], 8, r"size is 8 for images \(2, 3, 7, 7\)"),
        ([], 8, "images of type and channels none; give"),
        ([torch.zeros(3, 8, 9), torch.zeros(1, 8, 9)], 8, "of one type and one C"),
        ([torch.zeros(3, 8, 9), torch.zeros(3, 8, 9, dtype=torch.uint8)], 8, "of one type and one C"),
    ],
)
def test_pictures_that_cannot_be_used_are_refused(images, size, message):
    with pytest.raises(ValueError, match=message):
        VariableSizeImages(PackedImages.pack(images), size)
