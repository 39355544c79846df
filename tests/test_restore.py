"""The network, what it may predict, its training and its checkpoints."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

import degrade
import restore
from restore import EMAConfig, Restorer, TrainConfig, Training, UNet, UNetConfig
from tests.cases import images

SMALL = UNetConfig(size=16, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(8,), groups=4, dropout=0.1)


def parameters(config):
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(config).parameters())


def test_published_networks_have_the_published_number_of_parameters():
    assert parameters(UNetConfig(dropout=0.1)) == 35_746_307
    assert parameters(UNetConfig(size=256, multipliers=(1, 1, 2, 2, 4, 4), attention=(16,))) == 113_673_219


@settings(max_examples=15, deadline=None)
@given(
    multipliers=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    blocks=st.integers(1, 2),
    channels=st.integers(1, 4),
    patch=st.sampled_from([1, 2]),
    stretch=st.integers(1, 2),
)
def test_any_shape_of_network_maps_images_to_images(multipliers, blocks, channels, patch, stretch):
    size = 2 * patch * 2 ** (len(multipliers) - 1)
    config = UNetConfig(
        size=size, channels=channels, width=4, multipliers=tuple(multipliers), blocks=blocks, groups=2, patch=patch,
        attention=(size // patch,), heads=2,
    )  # fmt: skip
    net = UNet(config).eval()
    for p in net.parameters():  # a new network would put out zero
        nn.init.normal_(p, std=0.3)
    x = torch.randn(2, channels, size, size * stretch)
    out = net(x, torch.tensor([1, 9]))
    assert out.shape == x.shape
    # Images of a batch do not see each other, and t matters.
    torch.testing.assert_close(net(x[:1], torch.tensor([1])), out[:1], rtol=1e-4, atol=1e-5)
    assert (net(x, torch.tensor([2, 9]))[0] - out[0]).abs().max() > 1e-6


def test_a_new_network_puts_out_zero():
    assert UNet(SMALL)(torch.randn(2, 1, 16, 16), torch.tensor([1, 2])).abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 20}, "size 20 does not divide by 8"),
        ({"attention": (15,)}, r"attention at \[15\]: the levels have sides \[32, 16, 8, 4\]"),
        ({"groups": 48}, "groups 48 does not divide width 128"),
        ({"heads": 3}, "heads 3 does not divide"),
        ({"multipliers": ()}, "at least 1 item"),
        ({"wdith": 3}, "[Uu]nexpected keyword"),
        ({"dropout": 1.0}, "less than 1"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValidationError, match=message):
        UNetConfig(**arguments)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 15, 16), (1, 16, 17)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="takes 1 channels and sides that divide by 2"):
        UNet(SMALL)(torch.zeros(1, *shape), torch.tensor([1]))


class Fixed(nn.Module):
    """A network that puts out what it was given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x_t, t):
        return self.out


@pytest.mark.parametrize("predict", ["x0", "eps", "v"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "straight"])
def test_a_perfect_prediction_of_anything_gives_back_x0(predict, schedule):
    D = degrade.make("gaussian_noise", T=20, schedule=schedule)
    if predict == "eps" and schedule == "straight":
        with pytest.raises(ValueError, match="cannot recover x0 at t = 20, where a_t = 0"):
            Restorer(Fixed(None), D, predict)
        return
    x0 = images(21, 1, 4, 4)
    t = torch.arange(21).clamp(min=1)
    z = D.draw(x0, torch.Generator().manual_seed(0))
    R = Restorer(Fixed(None), D, predict)
    R.net.out = R.target(x0, t, z)
    torch.testing.assert_close(R(D(x0, t, z), t), x0, rtol=0, atol=1e-10)


def test_only_mixtures_have_noise_to_predict():
    class Fade(degrade.Degradation):
        def apply(self, x0, t, z):
            return x0

    with pytest.raises(ValueError, match="predict 'eps' needs x_t = a_t x0"):
        Restorer(Fixed(None), Fade(T=3), "eps")
    with pytest.raises(ValueError, match="predict is 'x1'; choose from x0, eps, v"):
        Restorer(Fixed(None), Fade(T=3), "x1")


def test_clamping_is_an_option():
    D = degrade.make("gaussian_noise", T=3)
    out = torch.tensor([-3.0, 0.5, 2.0]).view(1, 1, 1, 3)
    arguments = torch.zeros_like(out), torch.tensor([1])
    assert torch.equal(Restorer(Fixed(out), D)(*arguments), out)
    assert Restorer(Fixed(out), D, clamp=True)(*arguments).flatten().tolist() == [-1.0, 0.5, 1.0]


def start(steps, seed=0, **changes):
    torch.manual_seed(seed)
    D = degrade.make("interpolation", T=10, source=noise)
    config = TrainConfig(
        steps=steps, batch=4, lr=1e-3, warmup=3, clip=1.0, ema=EMAConfig(0.9, every=2, start=4), seed=seed, **changes
    )
    return Training(Restorer(UNet(SMALL), D), config)


def data(n, generator):
    return torch.rand(n, 1, 16, 16, generator=generator) * 2 - 1


def noise(n, generator):
    return torch.randn(n, 1, 16, 16, generator=generator)


def states(training):
    state = training.state_dict()
    yield from state["weights"].values()
    yield from state["ema"].values()
    for moments in state["optimizer"]["state"].values():
        yield from moments.values()


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(stop, tmp_path):
    whole = start(7)
    losses = [record.loss for record in whole.run(data)]

    first = start(7)
    before = [record.loss for record in itertools.islice(first.run(data), stop)]
    restore.save(tmp_path, first)
    second = start(7, seed=0)
    torch.manual_seed(99)  # whatever happened in between must not matter
    for p in second.restorer.net.parameters():
        nn.init.normal_(p)
    assert restore.resume(tmp_path, second) == stop
    after = [record.loss for record in second.run(data)]

    assert torch.equal(torch.stack(losses), torch.stack(before + after))
    assert all(torch.equal(a, b) for a, b in zip(states(whole), states(second), strict=True))


def test_training_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    training = start(2)
    torch.random.set_rng_state(before)
    list(training.run(data))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("predict", ["x0", "v"])
def test_a_tiny_network_learns_eight_images_by_heart(predict):
    """The loss falls, and what is restored from a half-degraded image is that image."""
    torch.manual_seed(0)
    eight = 0.8 * torch.randn(8, 1, 4, 4).sign().repeat_interleave(4, 2).repeat_interleave(4, 3)
    D = degrade.make("gaussian_noise", T=20, schedule="cosine")
    net = UNet(UNetConfig(size=16, channels=1, width=16, multipliers=(1, 2), blocks=1, attention=(8,), groups=4))
    ema = EMAConfig(decay=0.9, every=1, start=50)
    training = Training(Restorer(net, D, predict), TrainConfig(steps=150, batch=32, accumulate=1, lr=4e-3, ema=ema))

    def memory(n, generator):
        return eight[torch.randint(8, (n,), generator=generator)]

    losses = torch.stack([record.loss for record in training.run(memory)])
    assert losses[-20:].mean() < 0.5 * losses[:5].mean()

    t = torch.full((8,), 10)
    x_t = D(eight, t, D.draw(eight, torch.Generator().manual_seed(1)))
    with torch.no_grad():
        restored = training.ema(x_t, t)
    nearest = torch.cdist(restored.flatten(1), eight.flatten(1)).argmin(1)
    assert nearest.tolist() == list(range(8))
    assert (restored - eight).abs().mean() < 0.5 * (x_t / D.coefficients(t, x_t)[0] - eight).abs().mean()


def test_records_tell_the_learning_rate_and_the_gradient():
    records = list(start(4).run(data))
    assert [r.lr for r in records] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3])
    assert all(r.grad_norm > 0 for r in records)


@pytest.mark.parametrize("round_input", [False, True])
def test_the_network_may_be_shown_eight_bits_only(round_input):
    seen = []
    training = start(1, round_input=round_input)
    training.restorer.net.register_forward_pre_hook(lambda net, arguments: seen.append(arguments[0]))
    list(training.run(data))
    levels = (torch.cat(seen) + 1) * 127.5
    assert bool(((levels - levels.round()).abs() < 1e-3).all()) == round_input


def test_gradients_are_clipped_and_accumulated():
    """Two halves of a batch, accumulated, move the weights as the mean of both gradients does."""
    one, two = start(1, accumulate=1), start(1, accumulate=2)
    batches = {id(one): [], id(two): []}
    for training in (one, two):
        list(training.run(lambda n, g, kept=batches[id(training)]: kept.append(data(n, g)) or kept[-1]))
    assert [len(kept) for kept in batches.values()] == [1, 2]
    assert torch.equal(batches[id(one)][0], batches[id(two)][0])
    assert not torch.equal(*batches[id(two)])


def test_the_average_is_a_copy_before_it_starts_and_an_average_after():
    training = start(6)
    net, ema = training.restorer.net, training.ema.net
    seen = []
    for _ in training.run(data):
        seen.append(net.leave.weight.clone())
        if training.step == 2:
            assert torch.equal(ema.leave.weight, seen[-1])
        if training.step == 3:
            assert torch.equal(ema.leave.weight, seen[1])
    expected = seen[1].lerp(seen[3], 0.1).lerp(seen[5], 0.1)
    torch.testing.assert_close(ema.leave.weight, expected)
    assert not training.ema.training


def test_the_average_follows_a_compiled_network():
    """Built from the wrapped module it would silently never move (a bug others shipped)."""
    training = start(2)
    compiled = torch.compile(training.restorer.net, backend="eager")
    wrapped = Training(Restorer(compiled, training.restorer.degradation), training.config)
    list(wrapped.run(data))
    assert torch.equal(wrapped.ema.net.leave.weight, compiled.leave.weight)


def test_a_saved_restorer_comes_back(tmp_path):
    training = start(5)
    list(training.run(data))
    training.restorer.net.to(memory_format=torch.channels_last)  # which safetensors refuses unless made plain
    restore.save(tmp_path, training)
    R = restore.load(tmp_path)
    x_t, t = images(3, 1, 16, 16, dtype=torch.float32), torch.tensor([1, 5, 10])
    with torch.no_grad():
        assert torch.equal(R(x_t, t), training.ema(x_t, t))
    assert degrade.make("interpolation", T=10) == R.degradation
    assert not R.training
    with pytest.raises(ValueError, match="no source to draw"):
        R.degradation.draw(x_t)
    assert restore.load(tmp_path, source=noise).degradation.draw(x_t).shape == x_t.shape


def test_only_the_last_checkpoints_stay_and_nothing_half_written(tmp_path, monkeypatch):
    training = start(4)
    for _ in training.run(data):
        restore.save(tmp_path, training, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]

    def fails(*args):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fails)
    training.step = 5
    with pytest.raises(OSError, match="disk full"):
        restore.save(tmp_path, training)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    assert restore.latest(tmp_path).name == "step-00000004"


def test_a_checkpoint_holds_no_code(tmp_path):
    training = start(1)
    list(training.run(data))
    checkpoint = restore.save(tmp_path, training)
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        "ema.safetensors", "model.json", "optimizer.pt", "weights.safetensors",
    ]  # fmt: skip
    torch.load(checkpoint / "optimizer.pt", weights_only=True)
    said = json.loads((checkpoint / "model.json").read_text())
    assert said["degradation"]["name"] == "interpolation"
    assert said["network"]["width"] == 8
    assert said["format"] == 1


@pytest.mark.parametrize(("key", "value"), [("format", 2), ("step", "many"), ("surprise", 1), ("predict", "x1")])
def test_a_foreign_specification_is_refused(tmp_path, key, value):
    training = start(1)
    list(training.run(data))
    file = restore.save(tmp_path, training) / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"model.json: {key}"):
        restore.load(tmp_path)


def test_resuming_another_network_or_degradation_is_refused(tmp_path):
    training = start(1)
    list(training.run(data))
    restore.save(tmp_path, training)
    D = degrade.make("gaussian_noise", T=10)
    with pytest.raises(ValueError, match="another degradation"):
        restore.resume(tmp_path, Training(Restorer(UNet(SMALL), D), training.config))
    net = UNet(UNetConfig(size=16, channels=1, width=8, multipliers=(1,), attention=(), groups=4))
    with pytest.raises(ValueError, match="another network"):
        restore.resume(tmp_path, Training(Restorer(net, training.restorer.degradation), training.config))
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        restore.resume(tmp_path / "elsewhere", training)
