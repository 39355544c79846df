"""What can be plugged into a training: optimizers, learning-rate schedules, losses, distributions of t, weightings."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import degrade
from restore import Restorer, TrainConfig, Trainer, register_loss
from restore.losses import LOSSES, Charbonnier, Huber, Loss
from restore.lr_schedules import LR_SCHEDULES, WarmupStableDecay
from restore.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from restore.timesteps import BetaTimesteps, PowerTimesteps, TableTimesteps, UniformTimesteps
from restore.weightings import MinSNR, TableWeighting
from tests.trainings import TINY, Numbered, start, states

CONFIG = TypeAdapter(TrainConfig)


class Pixel(nn.Module):
    """A convolution that ignores t."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x_t, t):
        return self.conv(x_t)


@register_loss("test_quartic")
class Quartic(Loss):
    """A loss of somebody else."""

    factor: float = 1.0

    def per_pixel(self, output, target):
        return self.factor * (output - target) ** 4


def test_a_configuration_is_rebuilt_from_json_with_the_components_of_others():
    config = TrainConfig(
        optimizer=AdamW(lr=3e-4, weight_decay=0.1),
        lr_schedule=WarmupStableDecay(warmup=7, decay=0.3),
        loss=Quartic(factor=2.0),
        timesteps=TableTimesteps((1, 2, 3)),
        weighting=MinSNR(gamma=4.0),
    )
    text = CONFIG.dump_json(config)
    assert CONFIG.validate_json(text) == config
    assert b'"loss":{"name":"test_quartic","arguments":{"factor":2.0}}' in text


def test_a_name_alone_is_enough_and_a_mistake_is_refused():
    assert TrainConfig(loss="huber").loss == Huber()
    assert TrainConfig(timesteps={"name": "power", "arguments": {"exponent": 2}}).timesteps == PowerTimesteps(2.0)
    for given, message in (
        ({"loss": "l3"}, "no loss is called 'l3': choose from charbonnier, huber, l1, l2"),
        ({"optimizer": {"name": "adam", "arguments": {"lr": 0}}}, "adam: lr = 0: input should be greater than 0"),
        ({"optimizer": {"name": "adam", "arguments": {"beta": 0}}}, "adam: beta = 0: "),
        ({"weighting": 3}, "3 is no weighting: give one, its name, or"),
        ({"lr_schedule": Huber()}, r"Huber\(delta=0.1\) is no learning-rate schedule"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainConfig(**given)


@pytest.mark.parametrize("name", LR_SCHEDULES.names())
def test_learning_rates_rise_during_the_warmup_and_fall_to_zero_or_stay(name):
    schedule = LR_SCHEDULES.make(name, warmup=4)
    steps = 101
    factors = [schedule.factor(k, steps) for k in range(1, steps + 1)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == (1 if name in ("constant", "halving") else 0)
    assert [schedule.lr_at(2.0, k, steps) for k in (1, 2, 3, 4)] == pytest.approx(
        [2 * k / 4 * factors[k - 1] for k in (1, 2, 3, 4)]
    )
    assert schedule.factor(1, 1) == 1


@pytest.mark.parametrize(
    "optimizer", [Adam(1e-3), AdamW(1e-3), SGD(1e-3, nesterov=True), SGD(1e-3, momentum=0.0)], ids=str
)
def test_every_optimizer_takes_its_own_steps_and_resumes_bit_for_bit(optimizer):
    whole, first, second = (start(4, network=TINY, optimizer=optimizer) for _ in range(3))
    list(whole.run(Numbered()))
    list(itertools.islice(first.run(Numbered()), 2))
    second.load_state_dict(first.state_dict())
    list(second.run(Numbered()))
    assert all(torch.equal(a, b) for a, b in zip(states(second), states(whole), strict=True))
    assert (
        type(whole.optimizer)
        is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer.name]
    )


def test_arguments_of_the_optimizer_that_are_changed_count_after_a_resume():
    """Loading the state of torch's optimizer would have brought the old ones back."""
    first = start(2, network=TINY, optimizer=AdamW(1e-3, weight_decay=0.0))
    list(first.run(Numbered()))
    second = start(2, network=TINY, optimizer=AdamW(1e-4, betas=(0.5, 0.9), weight_decay=0.7))
    second.load_state_dict(first.state_dict())
    (group,) = second.optimizer.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.5, 0.9), 0.7)


def test_groups_of_parameters_keep_the_ratio_of_their_learning_rates():
    @dataclasses.dataclass(frozen=True)
    class Halves(type(Adam())):
        def build(self, parameters):
            weight, bias = parameters
            return torch.optim.Adam([{"params": [weight]}, {"params": [bias], "lr": self.lr / 2}], lr=self.lr)

    config = TrainConfig(steps=4, batch_size=2, optimizer=Halves(lr=0.5), lr_schedule="linear")
    training = Trainer(Restorer(Pixel(), degrade.make("decolor", T=2)), config)
    for stats in training.run(lambda n, generator: torch.rand(n, 1, 8, 8, generator=generator)):
        lrs = [group["lr"] for group in training.optimizer.param_groups]
        assert lrs == pytest.approx([stats.lr, stats.lr / 2])


FORMULAS = {
    "l1": lambda d: d.abs(),
    "l2": lambda d: d * d,
    "huber": lambda d: torch.where(d.abs() < 0.1, d * d / 2, 0.1 * (d.abs() - 0.05)),
    "charbonnier": lambda d: (d * d + 1e-6).sqrt(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_are_their_formulas_for_each_image(name):
    output, target = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = LOSSES.make(name)(output, target)
    expected = torch.stack([FORMULAS[name](output[i] - target[i]).mean() for i in range(5)])
    torch.testing.assert_close(found, expected)
    assert Charbonnier(eps=0.5)(output, output).tolist() == pytest.approx([0.5] * 5)


DISTRIBUTIONS = [
    PowerTimesteps(2.0),
    BetaTimesteps(0.5, 3.0),
    TableTimesteps((0, 3, 0, 1, 2, 0, 0)),
    UniformTimesteps(),
]


@pytest.mark.parametrize("timesteps", DISTRIBUTIONS, ids=str)
def test_severities_are_drawn_with_their_probabilities(timesteps):
    """Within 5 standard deviations, and never where the probability is 0."""
    T, n = 7, 50_000
    t = timesteps.sample(n, T, torch.Generator().manual_seed(0), "cpu")
    assert t.dtype == torch.int64
    p = timesteps.probabilities(T)
    found = torch.bincount(t, minlength=T + 1).double()
    assert found[0] == 0
    assert len(found) == T + 1
    assert ((found[1:] / n - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1e-12).all()


def test_the_ends_of_the_unit_interval_are_severities_that_occur(monkeypatch):
    """The smallest and the largest number that torch.rand may give."""
    monkeypatch.setattr(torch, "rand", lambda n, **how: torch.tensor([0.0, 1 - 2**-24]))
    assert TableTimesteps((0, 3, 0, 1, 2, 0, 0)).sample(2, 7, None, "cpu").tolist() == [2, 5]
    assert PowerTimesteps().sample(2, 7, None, "cpu").tolist() == [1, 7]


def test_power_and_beta_agree_where_they_are_the_same_and_uniform_is_flat():
    torch.testing.assert_close(PowerTimesteps(0.0).probabilities(9), UniformTimesteps().probabilities(9))
    torch.testing.assert_close(BetaTimesteps(1.0, 1.0).probabilities(9), UniformTimesteps().probabilities(9))
    torch.testing.assert_close(PowerTimesteps(1.0).probabilities(3), torch.tensor([1, 2, 3], dtype=torch.float64) / 6)


@pytest.mark.parametrize("prediction_type", ["x0", "eps", "v"])
def test_min_snr_is_one_weighting_of_the_error_of_x0_whatever_is_predicted(prediction_type):
    """w(t) |error of the output|^2 = min(SNR, gamma) |error of x0_hat|^2."""
    D = degrade.make("gaussian_noise", T=20, schedule="linear_beta")
    shift, gamma = 0.25, 5.0

    class Net(nn.Module):
        by = 0.0

        def forward(self, x_t, t):
            return torch.zeros_like(x_t) + self.by

    R = Restorer(Net(), D, prediction_type)
    t = torch.arange(1, D.T + 1)
    x_t = torch.randn(D.T, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = R(x_t, t)
    R.net.by = shift
    error = (R(x_t, t) - before)[:, 0, 0, 0]
    a, b = (v.flatten() for v in D.coefficients(t, x_t))
    snr = (a / b) ** 2
    assert snr.min() < gamma < snr.max()
    torch.testing.assert_close(MinSNR(gamma).table(R) * shift**2, snr.clamp(max=gamma) * error**2)


def test_min_snr_is_finite_without_signal_and_without_noise_is_refused_for_other_degradations():
    D = degrade.make("gaussian_noise", T=20, schedule="cosine")
    for prediction_type in ("x0", "v"):
        assert MinSNR().checked_table(Restorer(Pixel(), D, prediction_type)).isfinite().all()
    with pytest.raises(ValueError, match=r"'min_snr' needs x_t = a_t .*, which 'decolor' is not; use weighting='uni"):
        Trainer(Restorer(Pixel(), degrade.make("decolor", T=2)), TrainConfig(weighting="min_snr"))


def test_weights_scale_the_gradient_of_each_image_and_not_the_losses_that_are_told():
    D = degrade.make("gaussian_noise", T=3)
    table = (0.5, 0.0, 4.0)

    def one(**how):
        torch.manual_seed(0)
        config = TrainConfig(steps=1, batch_size=16, optimizer=SGD(lr=1.0, momentum=0.0), **how)
        training = Trainer(Restorer(Pixel(), D), config)
        before = [p.detach().clone() for p in training.restorer.parameters()]
        (stats,) = training.run(lambda n, generator: torch.rand(n, 1, 8, 8, generator=generator))
        return stats, [b - p.detach() for b, p in zip(before, training.restorer.parameters())]

    weighted, gradient = one(weighting=TableWeighting(table))
    plain, _ = one()
    assert torch.equal(weighted.losses, plain.losses)
    w = torch.tensor(table)[weighted.t - 1]
    assert weighted.loss == pytest.approx(float((w * plain.losses).mean()))
    # The gradient is linear in the weights: that of each severity alone, added up.
    parts = [one(weighting=TableWeighting(tuple(float(i == k) for i in range(3))))[1] for k in range(3)]
    for k, found in enumerate(gradient):
        torch.testing.assert_close(found, sum(c * part[k] for c, part in zip(table, parts)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"timesteps": TableTimesteps((1.0, 2.0))}, r"timesteps 'table' has 2 weights; give one for each t in 1..3"),
        ({"timesteps": TableTimesteps((0.0,) * 3)}, "timesteps 'table' has weights that are negative, .* or all 0"),
        ({"weighting": TableWeighting((1.0,))}, r"weighting 'table' has 1 weights; give one for each t in 1..3"),
        ({"batch_size": 48}, "batch_size 48 cannot be shared in micro-batches of 32 images; use micro_batch_size 24"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_trainer_is_made(how, message):
    with pytest.raises(ValueError, match=message):
        Trainer(Restorer(Pixel(), degrade.make("decolor", T=3)), TrainConfig(**how))


def test_a_small_batch_is_one_forward_pass_and_none_is_one_in_each_process():
    for how, passes in (({"batch_size": 8}, 1), ({}, 2), ({"micro_batch_size": None}, 1)):
        training = Trainer(Restorer(Pixel(), degrade.make("decolor", T=3)), TrainConfig(**how))
        assert training.micro_batches == passes
        assert training.micro_batches * training.micro_batch_size == training.config.batch_size


def test_optimizers_and_their_names():
    assert set(OPTIMIZERS.names()) >= {"adam", "adamw", "sgd"}
    assert math.isclose(TrainConfig().lr_at(1), 2e-5)
