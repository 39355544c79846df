"""Training data: what people hand in works, or is refused in one line."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from restore.data import to_readable
from restore.data_order import EpochSampler
from tests.trainings import Numbered, data, start, states

N = 11
IMAGES = data(N, torch.Generator().manual_seed(1))
LABELS = torch.arange(N)


class Mirrored(Dataset):
    """A map-style data set whose transform draws from torch's global generator, as torchvision's do."""

    def __len__(self):
        return N

    def __getitem__(self, number):
        image = IMAGES[number]
        return image.flip(2) if torch.rand(()) < 0.5 else image, int(LABELS[number])


KINDS = {
    "tensor": IMAGES,
    "float64 tensor": IMAGES.double(),
    "array": IMAGES.numpy(),
    "float64 array": IMAGES.double().numpy(),
    "pair": (IMAGES, LABELS),
    "pair of arrays": (IMAGES.numpy(), LABELS.numpy()),
    "list": list(IMAGES),
    "list of arrays": list(IMAGES.double().numpy()),
    "data set of pairs": TensorDataset(IMAGES, LABELS),
}


def weights(given, steps=2):
    training = start(steps)
    list(training.run(given))
    return list(states(training))


@pytest.fixture(scope="module")
def expected():
    """What a training on the images by number comes to."""

    class Plain:
        def __len__(self):
            return N

        def at(self, index, generator=None):
            return IMAGES[index]

    return weights(Plain())


@pytest.mark.parametrize("kind", KINDS)
def test_every_natural_kind_of_data_trains_on_the_same_images_in_the_same_order(kind, expected):
    assert all(torch.equal(a, b) for a, b in zip(weights(KINDS[kind]), expected, strict=True))


def test_what_a_data_set_draws_is_keyed_so_that_a_resumed_training_sees_the_same_images():
    whole = start(4)
    before = torch.random.get_rng_state()
    list(whole.run(Mirrored()))
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = start(4), start(4)
    list(itertools.islice(first.run(Mirrored()), 2))
    second.load_state_dict(first.state_dict())
    torch.manual_seed(77)
    list(second.run(Mirrored()))
    assert all(torch.equal(a, b) for a, b in zip(states(whole), states(second), strict=True))
    index = EpochSampler(N, 0).at(0, N)
    reflect_pad, _ = to_readable(Mirrored()).at(index, torch.Generator().manual_seed(0))
    assert 0 < sum(not torch.equal(a, b) for a, b in zip(reflect_pad, IMAGES[index])) < N


def some(n, generator):
    return data(n, generator)[:3]


def never(n, generator):
    raise AssertionError


class Stream(torch.utils.data.IterableDataset):
    """Images in the order in which they come."""

    def __iter__(self):
        return iter(IMAGES)

    def __len__(self):
        return N


REFUSED = {
    "data loader": (
        DataLoader(TensorDataset(IMAGES)),
        TypeError,
        r"is a DataLoader, whose .* give its data set, loader",
    ),
    "stream": (Stream(), TypeError, "is a Stream; it must be a tensor or array .*; stack the images"),
    "generator": ((x for x in IMAGES), TypeError, "is a generator; it must be .*; stack the images"),
    "none": (None, TypeError, "is a NoneType; it must be a tensor or array of images"),
    "path": ("faces.zip", TypeError, "is a str; it must be a tensor or array of images"),
    "one image": (IMAGES[0], ValueError, r"is float32 \(1, 16, 16\); a stack of images is \(N, C, H, W\)"),
    "labels": ((IMAGES, LABELS[:3]), ValueError, "has 11 images and 3 labels; it needs one each"),
    "empty": (IMAGES[:0], ValueError, "holds 0 images; training needs at least one"),
}
MET = {
    "uint8 tensor": ((IMAGES * 100).byte(), ValueError, r"gave uint8 \(4, 1, 16, 16\); .*: use v / 127.5 - 1"),
    "uint8 array": ((IMAGES * 100).byte().numpy(), ValueError, "gave uint8 .*: use v / 127.5 - 1"),
    "uint8 items": (list((IMAGES * 100).byte()), ValueError, "gave uint8 .*: use v / 127.5 - 1"),
    "bytes as numbers": (
        127.5 * (IMAGES + 1),
        ValueError,
        r"spans [\d.e-]+..25\d.*; images lie in \[-1, 1\]: use v / 127",
    ),
    "a little too bright": (1.1 * IMAGES, ValueError, r"spans -1.\d+..1.\d+; images lie in \[-1, 1\]"),
    "not a number": (IMAGES.log(), ValueError, "spans nan..nan; images lie in"),
    "short batch": (some, ValueError, r"gave float32 \(3, 1, 16, 16\); asked for 4 images it must give \(4, C, H, W\)"),
    "no images": (lambda n, generator: [1, 2], TypeError, "gave a list of 2; asked for 4 images"),
    "dicts": ([{"image": x} for x in IMAGES], TypeError, r"data\[\d+\] is a dict; training needs a tensor \(C, H, W\)"),
    "sizes": ([x[:, : 8 + i] for i, x in enumerate(IMAGES)], ValueError, r"images of shapes \(1, .* and \(1, .*; crop"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_training_data_is_refused_when_it_is_handed_in(kind):
    given, error, message = REFUSED[kind]
    with pytest.raises(error, match=message) as refused:
        start(1).run(given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", MET)
def test_images_of_another_type_or_range_are_refused_when_they_are_met(kind):
    given, error, message = MET[kind]
    with pytest.raises(error, match=message) as refused:
        next(start(1).run(given))
    assert "\n" not in str(refused.value)


def test_a_later_batch_is_looked_at_too():
    """One damaged image is enough to spoil a training."""
    spoiled = IMAGES.clone()
    spoiled[EpochSampler(N, 0).at(9, 1)] = 3.0
    steps = start(2).run(spoiled)
    next(steps)
    with pytest.raises(ValueError, match=r"spans -\d.\d+..3; images"):
        next(steps)


def test_sets_and_sources_are_taken_as_they_are():
    numbered = Numbered()
    assert to_readable(numbered) is numbered
    assert to_readable(never) is never
    assert np.shape(to_readable(IMAGES.numpy()).at(torch.tensor([2, 2]))[0]) == (2, 1, 16, 16)
