"""Which pictures of a folder, a zip or a set of torchvision are used, and which are held out of training."""

from __future__ import annotations

import shutil

import pytest
import torch
import torchvision
from PIL import Image

from degrade.command_line import UsageError
from experiments.data.archives import from_path
from experiments.data.decoding import ResizePolicy, decode
from tests.image_folders import every, grays, load, names, numbered, zipped
from tests.photographs import photographs


def test_one_image_in_eight_is_held_out_of_training(tmp_path):
    data = load(numbered(tmp_path / "set", 17))
    assert (len(data.training), len(data.validation)) == (15, 2)
    assert sorted(grays(data.training) + grays(data.validation)) == list(range(17))
    assert grays(load(tmp_path / "set").validation) == grays(data.validation)
    assert data.validation.images.shape[-1] == 16  # not larger than --size, and so without chance
    assert torch.equal(data.validation.at(torch.tensor([1, 0])), data.validation.at(torch.tensor([0, 1])).flip(0))


@pytest.mark.parametrize("other", ["test", "val", "VALID"])
@pytest.mark.parametrize("packed", [False, True])
def test_folders_called_train_and_test_are_the_split(other, packed, tmp_path):
    numbered(tmp_path / "test" / "set" / "train" / "deep", 3)
    numbered(tmp_path / "test" / "set" / other, 2, start=100)
    numbered(tmp_path / "test" / "set" / "neither", 1, start=200)
    # The folder above them is called test too, which is no part of the set.
    path = tmp_path / "test" / "set"
    data = load(shutil.make_archive(str(tmp_path / "set"), "zip", path) if packed else path)
    assert (sorted(grays(data.training)), sorted(grays(data.validation))) == ([0, 1, 2], [100, 101])


def test_what_is_held_out_by_folders_does_not_come_class_by_class(tmp_path):
    numbered(tmp_path / "set" / "train" / "0", 1)
    for label in range(4):
        numbered(tmp_path / "set" / "test" / str(label), 8, start=50 * label)
    first = grays(load(tmp_path / "set").validation)
    assert len({level // 50 for level in first[:12]}) == 4
    assert sorted(first) == sorted(50 * label + i for label in range(4) for i in range(8))


def test_a_zip_has_the_fingerprint_of_its_folder(tmp_path):
    folder = photographs(tmp_path / "faces", n=9)
    packed = load(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    spec = load(folder).spec
    assert (spec.images, spec.sha256) == (8, packed.spec.sha256)
    assert load("drawn").spec.images is None


def test_sets_of_torchvision_by_name(tmp_path, monkeypatch):
    asked = []

    class Digits:
        def __init__(self, root, download, train):
            asked.append((str(root), download, train))
            if not download:
                raise RuntimeError("Dataset not found.\nlong advice")
            self.levels = range(5) if train else range(100, 102)

        def __len__(self):
            return len(self.levels)

        def __getitem__(self, i):
            return Image.new("L", (28, 28), self.levels[i]), 0

    monkeypatch.setattr(torchvision.datasets, "MNIST", Digits)
    data = load("mnist", 32, data_dir=str(tmp_path), download=True, resize="pad")
    assert asked == [(str(tmp_path), True, True), (str(tmp_path), True, False)]
    assert (data.channels, len(data.training), len(data.validation)) == (1, 5, 2)
    assert data.training.at(torch.arange(5)).shape == (5, 1, 32, 32)
    with pytest.raises(UsageError, match=r"^--data mnist: .*no MNIST in data \(Dataset not found.\); add --download"):
        load("mnist", 32)


def test_links_are_followed_and_every_picture_is_used_once(tmp_path, capsys):
    root = tmp_path / "set"
    numbered(root / "test", 2)
    numbered(tmp_path / "elsewhere", 3, start=100)
    (root / "train").symlink_to(tmp_path / "elsewhere")
    (root / "val").symlink_to(root / "test")
    (tmp_path / "elsewhere" / "up").symlink_to(root)  # a loop
    (tmp_path / "elsewhere" / "again.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    (root / "test" / "gone.png").symlink_to(tmp_path / "nothing")
    assert names(root) == (["train/0.png", "train/1.png", "train/2.png"], ["test/0.png", "test/1.png"])
    assert sorted(grays(load(root).training)) == [100, 101, 102]
    said = capsys.readouterr().err
    assert "left out 3 links to what is used already (such as train/again.png)" in said
    assert "left out 1 links that lead nowhere (such as test/gone.png)" in said


def test_entries_of_a_zip_with_backslashes_lie_in_folders(tmp_path):
    entries = [(rf"train\{i}\a.png", i) for i in range(4)] + [(r"test\a.png", 100)]
    data = load(zipped(tmp_path / "set.zip", entries))
    assert (sorted(grays(data.training)), grays(data.validation)) == ([0, 1, 2, 3], [100])


def test_of_entries_of_one_name_the_last_counts(tmp_path, capsys):
    path = zipped(tmp_path / "set.zip", [("a.png", 1), ("a.png", 2), ("b.png", 3)])
    images = decode(every(path), ResizePolicy(16), "--data", "set")
    assert sorted(images.flatten(1)[:, 0].tolist()) == [2, 3]
    assert "left out 1 earlier entries of the same name (such as a.png)" in capsys.readouterr().err


@pytest.mark.parametrize("above", ["", "set", "set/of/pictures"])
def test_the_top_level_alone_decides_what_is_held_out(above, tmp_path, capsys):
    root = tmp_path / "root"
    for folder, level in (("train/test", 0), ("train/train", 10), ("test/train", 100), ("other/deep", 200)):
        numbered(root / above / folder, 2, start=level)
    data = load(root)
    assert (sorted(grays(data.training)), sorted(grays(data.validation))) == ([0, 1, 10, 11], [100, 101])
    line = "left out 2 images beside the folders of training and test images (such as "
    assert line + f"{above and above + '/'}other/deep/0.png)" in capsys.readouterr().err


def test_classes_called_train_and_test_are_no_parts_of_a_training_set(tmp_path):
    numbered(tmp_path / "set" / "train" / "test", 8)
    numbered(tmp_path / "set" / "train" / "train", 8, start=100)
    training, validation = from_path(tmp_path / "set", 0, "--data")
    assert (len(training), len(validation)) == (14, 2)


def test_a_folder_without_pictures_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "a.heic").write_text("?")
    with pytest.raises(
        UsageError, match=r"^--data \S+ holds no images \(left out 1 \.heic files, .*; name a folder or zip"
    ):
        from_path(tmp_path, 0, "--data")


def test_a_single_picture_is_said_to_be_measured_on_what_it_was_trained_on(tmp_path, capsys):
    data = load(numbered(tmp_path / "set", 1))
    assert (len(data.training), len(data.validation)) == (1, 1)
    assert "its only image is trained on and measured on" in capsys.readouterr().err
