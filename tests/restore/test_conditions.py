"""Conditions: from the data through training to samples, with classes and with a second image as the worked cases."""

from __future__ import annotations

import itertools
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import degrade
from restore import FunctionRestorer, Restorer, TrainConfig, Trainer
from restore.conditions import drop_cond, null_cond
from restore.guidance import Guided
from restore.optimizers import Adam
from samplers import DDIM, sample

D = degrade.make("gaussian_noise", T=10, schedule="cosine")
N = 12
LABELS = torch.arange(N) % 2
SHADES = (LABELS * 1.2 - 0.6).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


class Shades(nn.Module):
    """A pixelwise network that is told t and a class; class 2 means no class."""

    null_cond: ClassVar = {"label": 2}

    def __init__(self):
        super().__init__()
        self.embed = nn.ModuleDict({"t": nn.Embedding(D.T + 1, 16), "label": nn.Embedding(3, 16)})
        self.conv_in, self.conv_out = nn.Conv2d(1, 16, 1), nn.Conv2d(16, 1, 1)

    def forward(self, x_t, t, label):
        hidden = self.conv_in(x_t.mean((2, 3), keepdim=True).expand_as(x_t))
        hidden = hidden + (self.embed["t"](t) + self.embed["label"](label))[:, :, None, None]
        return self.conv_out(hidden.relu())


class Beside(nn.Module):
    """A pixelwise network that sees a second image."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 16, 1), nn.SiLU(), nn.Conv2d(16, 1, 1))

    def forward(self, x_t, t, reference):
        return self.layers(torch.cat([x_t, reference], 1))


class Numbered:
    """The shades with their classes, as a `MapDataset`."""

    def __len__(self):
        return N

    def at(self, index, generator=None):
        return SHADES[index], {"label": LABELS[index]}


def trainer(net=Shades, steps=4, **how):
    torch.manual_seed(0)
    config = TrainConfig(
        **{"steps": steps, "batch_size": 16, "micro_batch_size": 8, "optimizer": Adam(lr=1e-2), "loss": "l2"} | how
    )
    return Trainer(Restorer(net(), D), config)


def weights(given, cond=(), **how):
    training = trainer(**how)
    list(training.run(given, cond))
    return list(training.restorer.parameters())


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


KINDS = {
    "tuple": ((SHADES, LABELS), "label"),
    "tuple with a dict": ((SHADES, {"label": LABELS}), ()),
    "arrays": ((SHADES.numpy(), LABELS.numpy()), ["label"]),
    "data set of tuples": (TensorDataset(SHADES, LABELS), "label"),
    "list of numbers": ([(x, int(y)) for x, y in zip(SHADES, LABELS)], "label"),
    "list of dicts": ([(x, {"label": y}) for x, y in zip(SHADES, LABELS)], ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_gives_the_network_its_classes(kind):
    assert same(weights(*KINDS[kind]), weights(Numbered()))


def test_a_source_gives_conditions_too():
    seen = []

    class Net(Shades):
        def forward(self, x_t, t, label):
            seen.append(label)
            return super().forward(x_t, t, label)

    list(trainer(Net, steps=1).run(lambda n, generator: (SHADES[:n], {"label": torch.arange(n) % 3})))
    assert [label.tolist() for label in seen] == [[0, 1, 2, 0, 1, 2, 0, 1]] * 2


def test_labels_without_a_name_are_not_used():
    """The network is called without them, as the module states, and Python says what it lacks."""
    with pytest.raises(TypeError, match="label"):
        weights((SHADES, LABELS))


REFUSED = {
    "one name too many": (
        (SHADES, LABELS),
        ("label", "mask"),
        r"names 2 conditions, and the training data has 1 after",
    ),
    "names for a dict": ((SHADES, {"label": LABELS}), "label", "names its conditions itself, label; leave out cond="),
    "names for a source": (lambda n, generator: SHADES[:n], "label", "names elements of tuples .* is a function; let"),
    "labels of another number": ((SHADES, {"label": LABELS[:3]}), (), "has 12 images and 3 labels"),
    "batch of another number": (
        lambda n, g: (SHADES[:n], {"label": LABELS[:1]}),
        (),
        r"label int64 \(1,\) for 8 images",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_conditions_that_do_not_fit_are_refused_in_one_line(kind):
    given, cond, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as refused:
        weights(given, cond)
    assert "\n" not in str(refused.value)


def test_a_resumed_training_with_dropped_conditions_is_exact():
    whole, first, second = (trainer(cond_dropout=0.5) for _ in range(3))
    list(whole.run(Numbered()))
    list(itertools.islice(first.run(Numbered()), 2))
    second.load_state_dict(first.state_dict())
    list(second.run(Numbered()))
    assert same(second.restorer.parameters(), whole.restorer.parameters())
    assert same(second.ema.parameters(), whole.ema.parameters())
    assert not same(second.restorer.parameters(), weights(Numbered()))


def test_dropping_conditions_changes_no_other_random_number():
    class Deaf(Shades):
        def forward(self, x_t, t, label):
            return super().forward(x_t, t, torch.full_like(label, 2))

    assert same(weights(Numbered(), net=Deaf, cond_dropout=0.5), weights(Numbered(), net=Deaf))


def test_the_share_of_dropped_conditions_is_the_one_asked_for():
    seen = []

    class Net(Shades):
        def forward(self, x_t, t, label):
            seen.append(label)
            return super().forward(x_t, t, label)

    weights(Numbered(), net=Net, steps=50, cond_dropout=0.25)
    share = (torch.cat(seen) == 2).float().mean()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 800) ** 0.5


def test_dropping_needs_conditions_and_a_value_that_means_none():
    with pytest.raises(ValueError, match=r"cond_dropout is 0.5, and the training data has no conditions"):
        weights(SHADES, cond_dropout=0.5)
    with pytest.raises(ValueError, match=r"which label means no condition; .* null_cond = \{'label'"):
        null_cond(nn.Identity(), {"label": LABELS})
    cond = {"reference": SHADES, "mask": torch.ones(N, 1)}
    dropped = drop_cond(nn.Identity(), cond, LABELS == 0)
    for name, value in cond.items():
        assert torch.equal(dropped[name][1::2], value[1::2])
        assert not dropped[name][::2].any()


def walk(R, x_T):
    """Sample from pure noise, with a sampler that knows nothing of conditions."""
    return sample(R, DDIM(), x_T, x_T)


def test_guided_samples_follow_their_class():
    """The worked case of classes: two shades of gray, told by the class alone where everything is noise."""
    training = trainer(steps=300, cond_dropout=0.2)
    list(training.run(Numbered()))
    R, x_T = training.ema, torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    t = torch.full((64,), D.T)
    classes = torch.arange(64) % 2
    shade = classes * 1.2 - 0.6
    with torch.no_grad():
        told = R(x_T, t, label=classes).mean((1, 2, 3))
        free = R(x_T, t, label=torch.full_like(classes, 2)).mean((1, 2, 3))
        assert (told - shade).abs().max() < 0.25
        assert free.abs().mean() < 0.25, "without a class the best answer is the mean of both"
        made = {scale: walk(Guided(R, scale, label=classes), x_T).mean((1, 2, 3)) for scale in (0.0, 1.0, 2.0)}
    assert torch.equal(made[1.0].sign(), shade.sign())
    assert torch.equal(made[2.0].sign(), shade.sign())
    # Without the class the noise decides, for about half of the images against it.
    assert 0.25 < (made[0.0].sign() == shade.sign()).float().mean() < 0.75


def test_guidance_is_the_stated_extrapolation():
    x_t, t, y = torch.randn(4, 1, 4, 4), torch.tensor([1, 4, 7, 10]), torch.tensor([0, 1, 1, 0])
    R = Restorer(Shades(), D, "v")
    told, free = R(x_t, t, label=y), R(x_t, t, label=torch.full((4,), 2))
    torch.testing.assert_close(Guided(R, 3.0, label=y)(x_t, t), free + 3 * (told - free))
    torch.testing.assert_close(Guided(R, 0.0, label=y)(x_t, t), free)
    assert torch.equal(Guided(R, 1.0, label=y)(x_t, t), told)
    assert Restorer(Shades(), D, clip_sample=True)(x_t, t, label=y).abs().max() <= 1
    assert Guided(Restorer(Shades(), D, clip_sample=True), 99.0, label=y)(x_t, t).abs().max() <= 1
    with pytest.raises(ValueError, match="scale is nan; give a finite number"):
        Guided(FunctionRestorer(lambda x, t: x, D), float("nan"))


def test_one_condition_counts_for_every_image_with_guidance_too():
    seen = []

    def told(x_t, t, label):
        seen.append(label.tolist())
        return x_t

    R = FunctionRestorer(told, D)
    R.null_cond = {"label": 9}
    Guided(R, 3.0, label=torch.tensor([4]))(torch.zeros(2, 1, 1, 1), torch.tensor([1, 2]))
    assert seen == [[4, 4], [9, 9]]


def test_a_second_image_tells_what_the_noise_has_erased():
    """The worked case of images: the negative is known."""
    clean = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    training = trainer(Beside, steps=300)
    list(training.run((clean, -clean), cond="reference"))
    x_T, t = torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.full((64,), D.T)
    with torch.no_grad():
        told = training.ema(x_T, t, reference=-clean)
        made = walk(training.ema.with_cond(reference=-clean), x_T)
    spread = clean.std()
    assert (told - clean).square().mean().sqrt() < 0.2 * spread
    assert (made - clean).square().mean().sqrt() < 0.2 * spread
