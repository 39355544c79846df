"""Sets of images in memory: random windows, mirrored, found by number, streamed or resident."""

from __future__ import annotations

import pytest
import torch

from experiments.data.decoding import ResizePolicy
from experiments.data.images import InMemoryImages
from restore.data_order import MapDataset
from tests.cases import seed
from tests.image_folders import pixels_of
from tests.photographs import photographs


def test_augmentation_is_a_random_window_mirrored_half_the_time(tmp_path):
    images = InMemoryImages(pixels_of(photographs(tmp_path / "faces", n=1, size=100), ResizePolicy(50)), 50)
    (whole,) = images.images.float() / 127.5 - 1
    assert whole.shape == (3, 56, 56)
    windows = {}
    for window in images(300, seed(0)):
        for reflect_pad, candidate in ((False, window), (True, window.flip(-1))):
            for top in range(7):
                for left in range(7):
                    if torch.equal(candidate, whole[:, top : top + 50, left : left + 50]):
                        windows[reflect_pad, top, left] = windows.get((reflect_pad, top, left), 0) + 1
    assert sum(windows.values()) == 300
    assert len(windows) > 80  # of 98
    assert 110 < sum(n for (reflect_pad, *_), n in windows.items() if reflect_pad) < 190


def random_set(n=6, channels=3, side=9, size=8, **how):
    pixels = torch.randint(256, (n, channels, side, side), dtype=torch.uint8, generator=seed(5))
    return InMemoryImages(pixels, size, **how)


def test_without_windows_and_mirrors_images_come_as_they_are():
    images = random_set(side=8, flip=False)
    index = torch.tensor([4, 0, 4])
    assert isinstance(images, MapDataset)
    assert torch.equal(images.at(index), images.images[index].float() / 127.5 - 1)


def test_an_image_by_number_depends_on_its_own_generator_alone():
    images, index = random_set(), torch.tensor([3, 1, 5])
    together = images.at(index, [seed(i) for i in range(3)])
    assert torch.equal(together[2:], images.at(index[2:], seed(2)))
    assert not torch.equal(together[2:], images.at(index[2:], seed(3)))


def test_what_streams_gives_what_is_resident():
    images = random_set()
    streamed = random_set()
    streamed.streams = True
    index = torch.tensor([3, 1, 5, 3])
    assert torch.equal(images.at(index, seed(0)), streamed.at(index, seed(0)))
    assert torch.equal(images(7, seed(0)), streamed(7, seed(0)))


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
