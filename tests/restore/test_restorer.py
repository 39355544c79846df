"""What a network may predict, and how x0 comes back from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import degrade
from restore import Restorer, UNet
from samplers import DDPM, Algorithm2, StandardNormal, generate_images, trajectory
from tests.cases import images
from tests.trainings import SMALL


class Fixed(nn.Module):
    """A network that puts out what it was given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, x_t, t):
        return self.out


@pytest.mark.parametrize("prediction_type", ["x0", "eps", "v"])
@pytest.mark.parametrize("schedule", ["linear_beta", "cosine", "rectified"])
def test_a_perfect_prediction_of_anything_gives_back_x0(prediction_type, schedule):
    D = degrade.make("gaussian_noise", T=20, schedule=schedule)
    if prediction_type == "eps" and schedule == "rectified":
        with pytest.raises(ValueError, match="cannot recover x0 at t = 20, where a_t = 0"):
            Restorer(Fixed(None), D, prediction_type)
        return
    x0 = images(21, 1, 4, 4)
    t = torch.arange(21).clamp(min=1)
    z = D.draw(x0, torch.Generator().manual_seed(0))
    R = Restorer(Fixed(None), D, prediction_type)
    R.net.out = R.target(x0, t, z, D(x0, t, z))
    torch.testing.assert_close(R(D(x0, t, z), t), x0, rtol=0, atol=1e-10)


def test_only_mixtures_have_noise_to_predict():
    class Fade(degrade.Degradation):
        def apply(self, x0, t, z):
            return x0

    with pytest.raises(ValueError, match="prediction_type 'eps' needs x_t = a_t x0"):
        Restorer(Fixed(None), Fade(T=3), "eps")
    with pytest.raises(ValueError, match="prediction_type is 'x1'; choose from x0, eps, v"):
        Restorer(Fixed(None), Fade(T=3), "x1")


def test_noise_is_predicted_for_any_degradation_that_declares_that_it_is_additive():
    class Haze(degrade.Degradation):
        additive = True

        def draw(self, x0, generator=None):
            return torch.ones_like(x0)

        def coefficients(self, t, like):
            u = (t / (2 * self.T)).to(like.dtype).view(-1, 1, 1, 1)
            return 1 - u, u

        def apply(self, x0, t, z):
            a_t, b_t = self.coefficients(t, x0)
            return a_t * x0 + b_t * z

    D, x0, t = Haze(T=3), images(2, 1, 4, 4), torch.tensor([1, 3])
    z = D.draw(x0)
    for prediction_type in ("eps", "v"):
        R = Restorer(Fixed(None), D, prediction_type)
        R.net.out = R.target(x0, t, z, D(x0, t, z))
        torch.testing.assert_close(R(D(x0, t, z), t), x0, rtol=0, atol=1e-12)


def test_clamping_is_an_option():
    D = degrade.make("gaussian_noise", T=3)
    out = torch.tensor([-3.0, 0.5, 2.0]).view(1, 1, 1, 3)
    arguments = torch.zeros_like(out), torch.tensor([1])
    assert torch.equal(Restorer(Fixed(out), D)(*arguments), out)
    assert Restorer(Fixed(out), D, clip_sample=True)(*arguments).flatten().tolist() == [-1.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (torch.tensor([0, 3]), r"restorer: t spans 0..3; severities lie in 1..5"),
        (torch.tensor([1, 6]), r"restorer: t spans 1..6; severities lie in 1..5"),
        (torch.tensor([1.0, 2.0]), r"restorer: t is torch.float32 \(2,\); it needs int64 of shape \(2,\)"),
        (torch.tensor([3]), r"restorer: t is torch.int64 \(1,\); it needs int64 of shape \(2,\)"),
        (3, r"restorer: t is 3; it needs int64 of shape \(2,\), one severity per image"),
    ],
)
def test_severities_that_no_network_was_trained_on_are_refused(t, message):
    R = Restorer(Fixed(torch.zeros(2, 1, 4, 4)), NOISE)
    with pytest.raises(ValueError, match=message):
        R(torch.zeros(2, 1, 4, 4), t)


NOISE = degrade.make("gaussian_noise", T=5)


def real(prediction_type="eps", **how):
    """Return a restorer with a network whose every weight matters."""
    torch.manual_seed(0)
    net = UNet(SMALL)
    for p in net.parameters():  # a new network would put out zero
        nn.init.normal_(p, std=0.2)
    return Restorer(net, NOISE, prediction_type, clip_sample=True, **how).eval()


def restored(R):
    return generate_images(R, DDPM(), StandardNormal((1, 16, 16)), 3)


class Half(nn.Module):
    """A network that multiplies to put out 1/2, exact in any precision, and remembers in which one it did."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        nn.init.zeros_(self.layer.weight)
        nn.init.constant_(self.layer.bias, 0.5)

    def forward(self, x_t, t):
        out = self.layer(x_t)
        self.seen = x_t.dtype, out.dtype
        return out


@pytest.mark.parametrize("prediction_type", ["x0", "eps", "v"])
def test_low_precision_stays_inside_the_network(prediction_type):
    R = Restorer(Half(), NOISE, prediction_type)
    x_t, t = images(2, 1, 4, 4, dtype=torch.float32), torch.tensor([1, 5])
    expected = R(x_t, t)
    assert R.net.seen == (torch.float32, torch.float32)
    R.precision = "bfloat16"
    assert torch.equal(R(x_t, t), expected)
    assert R.net.seen == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("prediction_type", ["x0", "eps", "v"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_half_precision_walks_in_half_precision(prediction_type, dtype):
    """The conversion from eps and v used to return float32, which the next call of the network could not take."""
    R = Restorer(Half().to(dtype), NOISE, prediction_type)
    x_T = images(2, 1, 4, 4).to(dtype)
    with torch.no_grad():
        visits = list(trajectory(R, Algorithm2(), x_T, x_T))
    assert len(visits) == NOISE.T
    assert all(visit.x_s.dtype == dtype and visit.x0_hat.dtype == dtype for visit in visits)
    x0, t = images(5, 1, 4, 4).to(dtype), torch.arange(1, 6)
    assert R.target(x0, t, x0, x0).dtype == dtype
    exact = Restorer(Half().double(), NOISE, prediction_type)(x0.double(), t)
    assert torch.equal(R(x0, t), exact.to(dtype))


def test_a_walk_in_low_precision_is_near_the_full_one():
    expand_level, low = restored(real()), restored(real(precision="bfloat16"))
    assert low.dtype == torch.float32
    assert 0 < (low - expand_level).abs().max() < 0.2


def test_an_unknown_precision_is_refused_whenever_it_is_set():
    with pytest.raises(ValueError, match="precision is 'float16'; choose from float32, bfloat16"):
        real(precision="float16")
    R = real()
    with pytest.raises(ValueError, match="precision is 'half'"):
        R.precision = "half"


def test_a_compiled_network_gives_the_same_images_under_the_same_names():
    R = Restorer(Half(), NOISE, "v", precision="bfloat16")
    names, expected = list(R.state_dict()), restored(R)
    torch._dynamo.reset()
    R.net.compile(dynamic=True, backend="eager", fullgraph=True)
    assert torch.equal(restored(R), expected)
    assert list(R.state_dict()) == names


def test_channels_last_gives_the_same_images():
    R = real()
    expected = restored(R)
    R.to(memory_format=torch.channels_last)
    assert R.net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(restored(R), expected, rtol=0, atol=1e-5)
