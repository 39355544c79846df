"""Sets of images: read once whatever their kind, held out, cropped or padded, mirrored, found by number."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import warnings
import zipfile

import pytest
import torch
import torchvision
from PIL import Image

from degrade.command_line import UsageError, validated
from experiments.data.archives import from_path
from experiments.data.datasets import DataOptions, load_data
from experiments.data.decoding import ResizePolicy, decode
from experiments.data.images import InMemoryImages
from restore.data_order import MapDataset
from tests.photographs import photographs

CPU = torch.device("cpu")


def load(path, size=16, **options):
    return load_data(validated(DataOptions, options), size, 0, CPU, str(path), "--data")


def pixels_of(path, policy):
    return decode(from_path(path, 0, "--data").training, policy, "--data", path.name)


def every(path):
    """The pictures of both parts."""
    training, validation = from_path(path, 0, "--data")
    return [*training, *validation]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(folder, n, start=0):
    """Pictures of 20 x 20 pixels, the i-th of them of the gray level start + i."""
    folder.mkdir(parents=True)
    for i in range(n):
        Image.new("L", (20, 20), start + i).save(folder / f"{i}.png")
    return folder


def grays(images):
    """The levels of images of one level each."""
    return [int(level) for level in images.images.flatten(1)[:, 0]]


def test_one_image_in_eight_is_held_out_of_training(tmp_path):
    data = load(numbered(tmp_path / "set", 17))
    assert (len(data.training), len(data.validation)) == (15, 2)
    assert sorted(grays(data.training) + grays(data.validation)) == list(range(17))
    assert grays(load(tmp_path / "set").validation) == grays(data.validation)
    assert data.validation.images.shape[-1] == 16  # without a margin, and so without chance
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


def test_augmentation_is_a_random_window_mirrored_half_the_time(tmp_path):
    images = InMemoryImages(pixels_of(photographs(tmp_path / "faces", n=1, size=100), ResizePolicy(50)), 50)
    (whole,) = images.images.float() / 127.5 - 1
    assert whole.shape == (3, 56, 56)
    windows = {}
    for window in images(300, generator()):
        for reflect_pad, candidate in ((False, window), (True, window.flip(-1))):
            for top in range(7):
                for left in range(7):
                    if torch.equal(candidate, whole[:, top : top + 50, left : left + 50]):
                        windows[reflect_pad, top, left] = windows.get((reflect_pad, top, left), 0) + 1
    assert sum(windows.values()) == 300
    assert len(windows) > 80  # of 98
    assert 110 < sum(n for (reflect_pad, *_), n in windows.items() if reflect_pad) < 190


def random_set(n=6, channels=3, side=9, size=8, **how):
    pixels = torch.randint(256, (n, channels, side, side), dtype=torch.uint8, generator=generator(5))
    return InMemoryImages(pixels, size, **how)


def test_without_margin_and_mirrors_images_come_as_they_are():
    images = random_set(side=8, flip=False)
    index = torch.tensor([4, 0, 4])
    assert isinstance(images, MapDataset)
    assert torch.equal(images.at(index), images.images[index].float() / 127.5 - 1)


def test_an_image_by_number_depends_on_its_own_generator_alone():
    images, index = random_set(), torch.tensor([3, 1, 5])
    together = images.at(index, [generator(i) for i in range(3)])
    assert torch.equal(together[2:], images.at(index[2:], generator(2)))
    assert not torch.equal(together[2:], images.at(index[2:], generator(3)))


def test_what_streams_gives_what_is_resident():
    images = random_set()
    streamed = random_set()
    streamed.streams = True
    index = torch.tensor([3, 1, 5, 3])
    assert torch.equal(images.at(index, generator()), streamed.at(index, generator()))
    assert torch.equal(images(7, generator()), streamed(7, generator()))


def test_a_set_that_does_not_fit_on_the_device_stays_on_the_host(monkeypatch):
    from experiments.data import datasets

    pixels = random_set().images
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * pixels.nbytes, 10**12))
    assert datasets.to_data_device(pixels, "auto", torch.device("cuda")) is pixels
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * pixels.nbytes + 1, 10**12))
    with pytest.raises((RuntimeError, AssertionError)):  # it would go to the device, which is not there
        datasets.to_data_device(pixels, "auto", torch.device("cuda:99"))
    assert InMemoryImages(pixels, 8, device="meta").streams


def test_the_fingerprint_is_that_of_pixels_and_order():
    images = random_set()
    other = random_set()
    assert images.sha256 == other.sha256
    other.images[2, 1, 3, 4] += 1
    assert images.sha256 != other.sha256
    assert InMemoryImages(images.images.flip(0), 8).sha256 != images.sha256
    assert InMemoryImages(images.images.view(18, 1, 9, 9), 8).sha256 != images.sha256


def test_a_zip_has_the_fingerprint_of_its_folder(tmp_path):
    folder = photographs(tmp_path / "faces", n=9)
    packed = load(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    spec = load(folder).spec
    assert (spec.images, spec.sha256) == (8, packed.spec.sha256)
    assert load("drawn").spec.images is None


def test_small_pictures_are_padded_with_black_and_large_ones_made_smaller(tmp_path):
    numbered(tmp_path / "set", 3, start=100)
    Image.new("L", (60, 30), 200).save(tmp_path / "set" / "large.png")
    images = decode(every(tmp_path / "set"), ResizePolicy(32, "pad"), "--data", "set")
    assert images.shape == (4, 1, 32, 32)
    one = images[(images == 101).flatten(1).any(1)][0, 0]
    assert (one[6:26, 6:26] == 101).all()
    assert int((one == 101).sum()) == 400
    assert int((one == 0).sum()) == 32 * 32 - 400
    wide = images[(images == 200).flatten(1).any(1)][0, 0]
    assert (wide[8:24] == 200).all()
    assert int((wide == 0).sum()) == 16 * 32


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "CMYK", "I;16", "I"])
def test_images_of_every_kind_become_rgb_or_gray(mode, tmp_path):
    (tmp_path / "set").mkdir()
    gradient = Image.linear_gradient("L").resize((64, 64))
    if mode in ("I;16", "I"):
        picture = Image.fromarray((torch.arange(256).view(-1, 1).expand(256, 256) * 257).to(torch.uint16).numpy())
        picture = picture.resize((64, 64)) if mode == "I;16" else picture.convert("I").resize((64, 64))
    elif mode == "RGBA":
        picture = Image.merge("RGBA", [gradient] * 3 + [Image.new("L", (64, 64), 255)])
    else:
        picture = gradient.convert(mode)
    picture.save(tmp_path / "set" / ("x.tif" if mode in ("CMYK", "I") else "x.png"))
    for channels in (1, 3):
        (pixels,) = pixels_of(tmp_path / "set", ResizePolicy(32, channels=channels)).float()
        assert pixels.shape == (channels, 36, 36)
        # A gradient from black at the top to white at the bottom, whatever the mode.
        rows = pixels.mean((0, 2))
        assert rows[:6].mean() < 45
        assert rows[-6:].mean() > 210
        assert (pixels[0] - pixels[-1]).abs().max() < 12


def test_a_set_is_gray_if_every_picture_is(tmp_path):
    numbered(tmp_path / "set", 4)
    Image.new("RGB", (20, 20), (7, 7, 7)).save(tmp_path / "set" / "gray-in-color.png")
    assert load(tmp_path / "set").channels == 1
    assert not load(tmp_path / "set").training.flip  # digits are not mirrored
    assert load(tmp_path / "set", channels="3").channels == 3
    Image.new("RGB", (20, 20), (7, 8, 7)).save(tmp_path / "set" / "color.png")
    data = load(tmp_path / "set")
    assert (data.channels, data.training.flip, data.validation.flip) == (3, True, False)
    assert load("drawn", channels="1").training(2, generator()).shape == (2, 1, 16, 16)


def test_transparency_becomes_white(tmp_path):
    (tmp_path / "set").mkdir()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "set" / "x.png")
    assert pixels_of(tmp_path / "set", ResizePolicy(32)).min() == 255


def test_a_broken_image_is_named_skipped_and_counted(tmp_path, capsys):
    faces = photographs(tmp_path / "faces", n=4)
    whole = (faces / "1.png").read_bytes()
    (faces / "1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (15, 100)).save(faces / "2.png")
    entries = sorted(every(faces))
    assert len(decode(entries, ResizePolicy(16), "--data", "faces")) == 2
    said = capsys.readouterr().err
    assert re.search(r"skipped \S*faces/1.png: .*(truncated|broken)", said)
    assert "faces/2.png: it has 15 x 100 pixels, fewer than --size 16; --resize pad puts it in a black square" in said
    assert "skipped 2 of 4 images" in said


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


def test_decoding_leaves_the_filters_of_warnings_as_they_were():
    first_runs, second_runs = threading.Event(), threading.Event()

    class InTurn(list):
        """Entries of which the second begins while the first is read, and ends after it."""

        def __iter__(self):
            for i, entry in enumerate(super().__iter__()):
                if i:
                    assert first_runs.wait(60)
                yield entry

    def first():
        first_runs.set()
        assert second_runs.wait(60)
        return Image.new("L", (8, 8))

    def second():
        second_runs.set()
        time.sleep(0.2)
        return Image.new("L", (8, 8))

    before = list(warnings.filters)
    decode(InTurn([("first", first), ("second", second)]), ResizePolicy(8), "--data", "set")
    assert warnings.filters == before


def names(path):
    """The paths of the training and held-out pictures under a folder or zip."""
    return tuple(sorted(os.path.relpath(name, path) for name, _ in part) for part in from_path(path, 0, "--data"))


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


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):  # of names that repeat
        for name, level in entries:
            with archive.open(zipfile.ZipInfo(name), "w") as file:
                Image.new("L", (20, 20), level).save(file, "png")
    return path


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


def test_every_format_that_pillow_reads_is_read_and_others_are_named_and_counted(tmp_path, capsys):
    root = tmp_path / "set"
    suffixes = ("avif", "jfif", "jp2", "ppm", "tga", "qoi", "PNG", "tiff")
    root.mkdir()
    for i, suffix in enumerate(suffixes):
        Image.new("RGB", (20, 20), (30 * i,) * 3).save(root / f"{i}.{suffix}")
    for name in ("a.heic", "b.heic", "labels.csv", "LICENSE"):
        (root / name).write_text("?")
    numbered(root / ".thumbnails", 2)
    Image.new("L", (20, 20)).save(root / "._0.png")
    levels = sorted(decode(every(root), ResizePolicy(16), "--data", "set").flatten(1)[:, 0].tolist())
    assert all(abs(level - 30 * i) < 4 for i, level in enumerate(levels))
    assert len(levels) == len(suffixes)
    said = capsys.readouterr().err
    for line in (
        "left out 2 .heic files, which Pillow does not read here (such as a.heic)",
        "left out 1 .csv files, which Pillow does not read here (such as labels.csv)",
        "left out 1 files without a suffix, which Pillow does not read here (such as LICENSE)",
        "left out 2 hidden files or folders (such as ._0.png)",
    ):
        assert line in said


def test_a_folder_without_pictures_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "a.heic").write_text("?")
    with pytest.raises(
        UsageError, match=r"^--data \S+ holds no images \(left out 1 \.heic files, .*; name a folder or zip"
    ):
        from_path(tmp_path, 0, "--data")


def test_the_first_frame_of_an_animation_is_used_and_that_is_said(tmp_path, capsys):
    numbered(tmp_path / "set", 2)
    frames = [Image.new("L", (20, 20), level) for level in (50, 200)]
    frames[0].save(tmp_path / "set" / "film.gif", save_all=True, append_images=frames[1:])
    images = decode(every(tmp_path / "set"), ResizePolicy(16), "--data", "set")
    assert sorted(images.flatten(1)[:, 0].tolist()) == [0, 1, 50]
    said = capsys.readouterr().err
    assert re.search(r"1 of 3 images of set have several frames or pages \(such as \S+film.gif\); the first", said)


def test_a_single_picture_is_said_to_be_measured_on_what_it_was_trained_on(tmp_path, capsys):
    data = load(numbered(tmp_path / "set", 1))
    assert (len(data.training), len(data.validation)) == (1, 1)
    assert "its only image is trained on and measured on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        (torch.full((2, 3, 8, 8), 200), 8, r"images are int64 \(2, 3, 8, 8\); InMemoryImages needs .*, uint8 or float"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), 8, r"images are uint8 \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 9, "size is 9"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), 8, r"size is 8 for images \(0, 3, 8, 8\)"),
    ],
)
def test_a_set_takes_bytes_and_windows_that_fit(images, size, message):
    with pytest.raises(ValueError, match=message):
        InMemoryImages(images, size)
