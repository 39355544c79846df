"""Training: learning, gradients, averages, records."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn

import degrade
from degrade import AffinePath
from degrade.functional.schedules import Rectified
from degrade.random import fork_seed, seeded_generator
from restore import EMAConfig, Restorer, TrainConfig, Trainer, UNet, UNetConfig
from restore.lr_schedules import Cosine
from restore.optimizers import Adam
from tests.cases import CASES
from tests.trainings import SMALL, TINY, data, start


def parts_of(D):
    """Yield a degradation, or what it is composed of."""
    inner = getattr(D, "parts", ())
    yield from itertools.chain.from_iterable(map(parts_of, inner)) if inner else [D]


def test_training_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    training = start(2)
    torch.random.set_rng_state(before)
    list(training.run(data))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("prediction_type", ["x0", "v"])
def test_a_tiny_network_learns_eight_images_by_heart(prediction_type):
    """The loss falls, and what is restored from a half-degraded image is that image."""
    torch.manual_seed(0)
    eight = 0.8 * torch.randn(8, 1, 4, 4).sign().repeat_interleave(4, 2).repeat_interleave(4, 3)
    D = degrade.make("gaussian_noise", T=20, schedule="cosine")
    net = UNet(
        UNetConfig(
            image_size=16,
            in_channels=1,
            model_channels=16,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(8,),
            norm_groups=4,
        )
    )
    ema = EMAConfig(decay=0.9, update_every=1, update_after=50)
    training = Trainer(
        Restorer(net, D, prediction_type), TrainConfig(steps=150, batch_size=32, optimizer=Adam(lr=4e-3), ema=ema)
    )

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


@pytest.mark.parametrize("quantize_input", [False, True])
def test_the_network_may_be_shown_eight_bits_only(quantize_input):
    seen = []
    D = degrade.make("interpolation", T=10, schedule="rectified", source=data)
    training = Trainer(
        Restorer(UNet(SMALL), D), TrainConfig(steps=1, batch_size=8, micro_batch_size=4, quantize_input=quantize_input)
    )
    training.restorer.net.register_forward_pre_hook(lambda net, arguments: seen.append(arguments[0]))
    list(training.run(data))
    levels = (torch.cat(seen) + 1) * 127.5
    assert bool(((levels - levels.round()).abs() < 1e-3).all()) == quantize_input


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_eight_bits_are_refused_where_images_leave_the_range(name, arguments):
    """Noise does, and a mixture whose coefficients add up to more than 1; what a filter overshoots is cut off."""
    D = degrade.make(name, **arguments)
    noisy = any(isinstance(part, AffinePath) and not isinstance(part.schedule, Rectified) for part in parts_of(D))
    noisy |= any(part.name == "gaussian_noise" for part in parts_of(D))
    assert D.bounded == (not noisy)
    restorer = Restorer(UNet(TINY), D)
    if noisy:
        with pytest.raises(ValueError, match=rf"quantize_input is True, and the images of '{name}' leave \[-1, 1\]"):
            Trainer(restorer, TrainConfig(quantize_input=True))
    else:
        Trainer(restorer, TrainConfig(quantize_input=True))
    Trainer(restorer, TrainConfig(quantize_input=False))


def test_the_gradient_is_the_mean_over_accumulated_batches_and_is_clipped():
    training, twin = start(1), start(1)
    limit = 1e-3
    training.config = dataclasses.replace(training.config, max_grad_norm=limit)
    applied = []

    def look(optimizer, *arguments):
        applied.extend(p.grad.clone() for group in optimizer.param_groups for p in group["params"])

    training.optimizer.register_step_pre_hook(look)
    (record,) = training.run(data)

    losses = []
    for m in range(2):
        generator = seeded_generator("cpu", 0, "train", 1, m)
        x0 = data(4, generator)
        t = torch.randint(1, 11, (4,), generator=generator)
        z = twin.restorer.degradation.draw(x0, generator)
        with fork_seed("cpu", 0, "dropout", 1, m):
            out = twin.restorer.net(twin.restorer.degradation(x0, t, z), t)
        losses.append((out - x0).abs().mean())
    gradient = torch.autograd.grad(sum(losses) / 2, list(twin.restorer.net.parameters()))
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    assert record.loss == pytest.approx(float(sum(losses).detach()) / 2)
    assert record.grad_norm == pytest.approx(float(norm), rel=1e-5)
    assert torch.cat([g.flatten() for g in applied]).norm() == pytest.approx(limit, rel=1e-3)
    for mine, expected in zip(applied, gradient, strict=True):
        torch.testing.assert_close(mine * norm / limit, expected, rtol=1e-3, atol=1e-6)


def test_the_average_is_a_copy_before_it_starts_and_an_average_after():
    training = start(6)
    net, ema = training.restorer.net, training.ema.net
    seen = []
    for _ in training.run(data):
        seen.append(net.conv_out.weight.clone())
        if training.step < 4:
            assert torch.equal(ema.conv_out.weight, seen[-1])
        if training.step == 5:
            assert torch.equal(ema.conv_out.weight, seen[2].lerp(seen[3], 0.1))
    expected = seen[2].lerp(seen[3], 0.1).lerp(seen[5], 0.1)
    torch.testing.assert_close(ema.conv_out.weight, expected)
    assert not training.ema.training


def test_a_training_shorter_than_the_first_update_leaves_trained_weights():
    """With `update_every` = 10 of the default, nine steps used to end in an average that was the initial network."""
    training = start(9, network=TINY, ema=EMAConfig())
    list(training.run(data))
    assert torch.equal(training.ema.net.conv_out.weight, training.restorer.net.conv_out.weight)
    assert training.ema.net.conv_out.weight.any()


def test_cosine_decay_ends_at_exactly_zero_and_constant_does_not_decay():
    for steps, warmup in ((2, 0), (7, 3), (100, 10), (700_000, 0)):
        config = TrainConfig(steps=steps, optimizer=Adam(lr=0.3), lr_schedule=Cosine(warmup=warmup))
        assert config.lr_at(steps) == 0.0
        assert config.lr_at(1) == pytest.approx(0.3 / max(1, warmup))
        if steps % 2:
            assert config.lr_at((steps + 1) // 2) == pytest.approx(0.15)
        assert dataclasses.replace(config, lr_schedule="constant").lr_at(steps) == 0.3
    assert TrainConfig(steps=1, optimizer=Adam(lr=0.3), lr_schedule="cosine").lr_at(1) == 0.3
    before, *_, last = (p.clone() for p in weights_of(start(4, network=TINY, warmup=0, decay="cosine")))
    assert torch.equal(before, last)


def weights_of(training):
    """Yield the last layer after the last step but one, and after the last."""
    for _ in training.run(data):
        if training.step >= training.config.steps - 1:
            yield training.restorer.net.conv_out.weight.detach()


def test_a_training_with_default_decay_takes_the_steps_of_a_plain_loop_bit_for_bit():
    training, twin = start(3, network=TINY), start(3, network=TINY)
    list(training.run(data))
    net, D = twin.restorer.net.train(), twin.restorer.degradation
    optimizer = torch.optim.Adam(net.parameters(), lr=1.0, fused=True)
    for step in (1, 2, 3):
        for m in range(2):
            generator = seeded_generator("cpu", 0, "train", step, m)
            x0 = data(4, generator)
            t = torch.randint(1, 11, (4,), generator=generator)
            out = net(D(x0, t, D.draw(x0, generator)), t)
            ((out - x0).abs().flatten(1).mean(1).mean() / 2).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * step / 3
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(training.restorer.net.parameters(), net.parameters(), strict=True))


def test_the_average_follows_a_compiled_network():
    """Built from the wrapped module it would silently never move (a bug others shipped)."""
    training = start(2, network=TINY)
    compiled = torch.compile(training.restorer.net, backend="eager")
    wrapped = Trainer(Restorer(compiled, training.restorer.degradation), training.config)
    list(wrapped.run(data))
    assert torch.equal(wrapped.ema.net.conv_out.weight, compiled.conv_out.weight)


def test_compiling_leaves_names_averages_and_losses_as_they_are(monkeypatch):
    """In place: the weights keep their names, and the average is of the network itself."""
    plain = start(3, network=TINY)
    in_place, calls = nn.Module.compile, []
    monkeypatch.setattr(UNet, "compile", lambda net: calls.append(net) or in_place(net, backend="eager"))
    compiled = start(3, network=TINY, compile=True)
    assert calls == [compiled.restorer.net]
    for mine, expected in zip(compiled.run(data), plain.run(data), strict=True):
        torch.testing.assert_close(mine.losses, expected.losses)
    assert compiled.state_dict()["weights"].keys() == plain.state_dict()["weights"].keys()
    torch.testing.assert_close(compiled.ema.net.state_dict(), plain.ema.net.state_dict())
    assert not torch.equal(compiled.ema.net.conv_out.weight, torch.zeros_like(compiled.ema.net.conv_out.weight))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_come_in_the_memory_format_of_the_weights(layout):
    torch.manual_seed(0)
    net, seen = UNet(dataclasses.replace(SMALL, in_channels=3)).to(memory_format=layout), []
    net.register_forward_pre_hook(lambda net, arguments: seen.append(arguments[0]))
    training = Trainer(
        Restorer(net, degrade.make("gaussian_noise", T=4)), TrainConfig(steps=1, batch_size=4, micro_batch_size=2)
    )
    list(training.run(lambda n, generator: torch.rand(n, 3, 16, 16, generator=generator)))
    assert all(x_t.is_contiguous(memory_format=layout) for x_t in seen)
    assert len(seen) == 2


def test_a_record_tells_the_loss_of_every_image_and_its_severity():
    (record,) = start(1, batch_size=12).run(data)
    t = torch.cat([torch.randint(1, 11, (4,), generator=after_images(m)) for m in range(3)])
    assert torch.equal(record.t, t)
    assert record.losses.shape == (12,)
    assert record.loss == record.losses.mean()
    assert not record.losses.requires_grad


def after_images(m):
    generator = seeded_generator("cpu", 0, "train", 1, m)
    data(4, generator)
    return generator
