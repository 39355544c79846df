"""Severity: recovered where a picture tells it, and refused where it does not."""

from __future__ import annotations

import math

import pytest
import torch

import degrade
from degrade import expand_level, quantize_8bit
from experiments.data.drawn import DrawnFaces
from restore import BaseRestorer, FunctionRestorer
from samplers import SeverityOptions, calibrate_severity, estimate_severity

FACES = DrawnFaces(32)(24, torch.Generator().manual_seed(0))
UNSEEN = DrawnFaces(32)(3, torch.Generator().manual_seed(1))

BLUR = ("blur", {"T": 40, "cumulative_sigma": "geometric", "padding_mode": "symmetric"})
MILD = {
    "name": "linear_beta",
    "arguments": {"beta_end": 0.02},
}  # never all noise, where every severity looks like the next
NOISE = ("gaussian_noise", {"T": 200, "schedule": MILD})
LATE = {"name": "gaussian_noise", "arguments": {"T": 40, "schedule": MILD}}
CASES = [
    BLUR,
    NOISE,
    ("blur", {"T": 50, "sigmas": "cifar10", "kernel_size": 11}),
    ("gaussian_noise", {"T": 50, "schedule": "cosine"}),
    ("pixelate", {"T": 4}),
    ("pixelate", {"T": 20, "sizes": "decrement", "filter": "area"}),
    ("inpaint", {"T": 50, "sigmas": "incremental:step=0.1"}),
    ("mask_to_color", {"T": 60, "sigmas": "incremental:step=0.3", "color": [0.1, 0.2, -0.3]}),
    ("decolor", {"T": 20}),
    ("compose", {"T": 30, "parts": ["blur", LATE]}),
]


def oracle(x0):
    """The restorer that always gives the truth, whatever severity it is told."""
    return lambda x_t, t: x0.expand_as(x_t)


def seen(D, x0, t, bits):
    x = D(x0, expand_level(t, x0), D.draw(x0, torch.Generator().manual_seed(t)))
    return quantize_8bit(x) if bits else x


@pytest.mark.parametrize(("name", "arguments"), CASES)
@pytest.mark.parametrize("bits", [True, False])
def test_an_oracle_recovers_the_severity(name, arguments, bits):
    D, x0 = degrade.make(name, **arguments), UNSEEN[:1]
    for t in sorted({max(1, round(share * D.T)) for share in (0.1, 0.4, 0.6, 0.9)}):
        found = estimate_severity(
            FunctionRestorer(oracle(x0), D), seen(D, x0, t, bits), generator=torch.Generator().manual_seed(9)
        )
        assert abs(found.t - t) <= 0.05 * D.T, (t, found)
        assert found.low <= found.t <= found.high
        assert found.confident
        assert not found.reason


class Wiener(BaseRestorer):
    """E[x0 given x_t] for Gaussian images of side 48 with a spectrum like that of photographs, from noise.

    Much depends on the severity it is told, and told too little it leaves noise.
    """

    def __init__(self, D):
        super().__init__(D)
        f = torch.fft.fftfreq(48)
        self.power = 4e-3 / (f[:, None].square() + f.square() + 1e-3)
        self.seen = 0

    def images(self, n, generator):
        white = torch.randn(n, 3, 48, 48, generator=generator)
        return torch.fft.ifft2(self.power.sqrt() * torch.fft.fft2(white)).real

    def forward(self, x_t, t):
        self.seen += len(x_t)
        b_t = self.degradation.coefficients(t, x_t)[1]
        return torch.fft.ifft2(self.power / (self.power + b_t.square()) * torch.fft.fft2(x_t)).real


@pytest.mark.parametrize("bits", [True, False])
def test_noise_is_measured_without_reference_pictures_by_a_restorer_that_undoes_what_it_is_told(bits):
    levels = {"a": [1.0] * 76, "b": [2 * t / 255 for t in range(76)]}
    D = degrade.make("gaussian_noise", T=75, schedule={"name": "table", "arguments": levels})
    for t in (10, 25, 50):
        R, generator = Wiener(D), torch.Generator().manual_seed(100 + t)
        x = seen(D, R.images(3, generator), t, bits)
        found = estimate_severity(R, x, generator=generator)
        assert abs(found.t - t) <= max(1, 0.1 * t), found
        assert found.low <= t <= found.high
        assert found.confident
        assert R.seen <= 24 * 2 * 3  # 24 severities of 75, and two images for each of the three


def test_the_likelihood_peaks_at_the_truth():
    D, x0 = degrade.make(BLUR[0], **BLUR[1]), UNSEEN[:1]
    found = estimate_severity(FunctionRestorer(oracle(x0), D), seen(D, x0, 17, bits=True))
    assert found.levels[torch.tensor(found.scores).argmax()] == 17
    assert found.levels == tuple(range(1, 41))


@pytest.mark.parametrize(
    ("name", "x0"),
    [
        (BLUR, torch.full((1, 3, 32, 32), 0.3)),
        (("pixelate", {"T": 4}), torch.full((1, 3, 32, 32), 0.3)),
        (("decolor", {"T": 20}), UNSEEN[:1].mean(1, keepdim=True).expand(-1, 3, -1, -1)),
        (("inpaint", {"T": 50}), torch.zeros(1, 3, 32, 32)),
    ],
)
def test_it_refuses_to_guess_where_the_degradation_does_nothing(name, x0):
    D = degrade.make(name[0], **name[1])
    found = estimate_severity(FunctionRestorer(oracle(x0), D), seen(D, x0, D.T // 2, bits=True))
    assert not found.confident
    assert (found.high - found.low) >= D.T / 4
    assert found.reason


def test_it_refuses_a_picture_that_no_severity_explains():
    D, x0 = degrade.make(BLUR[0], **BLUR[1]), UNSEEN[:1]
    other = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = estimate_severity(FunctionRestorer(oracle(x0), D), other)
    assert not found.confident
    assert "no severity" in found.reason


def test_it_is_not_sure_of_a_restorer_that_undoes_what_it_is_told():
    D, x0 = degrade.make(BLUR[0], **BLUR[1]), UNSEEN[:1]

    def told(x, t):
        """Sharpen by as much as a blur to severity t takes away, to first order: no severity surprises it."""
        return x + 0.5 * (x - D(x, t))

    for t in (4, 12, 24):
        found = estimate_severity(FunctionRestorer(told, D), seen(D, x0, t, bits=True))
        assert not found.confident
        assert found.reason


def test_a_place_that_is_not_known_is_not_guessed_but_used_where_it_is():
    D, x0 = degrade.make("inpaint", T=50, sigmas="incremental:step=0.1", center="random"), UNSEEN[:1]
    z = (torch.tensor([14]), torch.tensor([20]))
    x = D(x0, expand_level(30, x0), z)
    found = estimate_severity(FunctionRestorer(oracle(x0), D), x)
    assert not found.confident
    assert (found.low, found.high) == (0, 50)
    assert "give z" in found.reason
    assert estimate_severity(FunctionRestorer(oracle(x0), D), x, z).t == 30


@pytest.mark.parametrize(
    ("name", "arguments"),
    [BLUR, NOISE, ("pixelate", {"T": 4}), ("inpaint", {"T": 50, "sigmas": "incremental:step=0.1"})],
)
def test_clean_pictures_of_the_same_kind_help_a_restorer_that_is_no_oracle(name, arguments):
    D = degrade.make(name, **arguments)

    def poor(x, t):
        return 0.9 * torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    for x0, share in zip(UNSEEN.split(1), (0, 0.4, 0.75)):
        t = round(share * D.T)
        x, generator = seen(D, x0, t, bits=True), torch.Generator().manual_seed(3)
        found = estimate_severity(
            FunctionRestorer(poor, D), x, reference=FACES, options=SeverityOptions(num_knots=9), generator=generator
        )
        assert abs(found.t - t) <= 0.1 * D.T, (t, found)
        assert found.levels == tuple(range(D.T + 1))


def test_what_is_kept_of_clean_pictures_serves_as_well_as_they_do():
    D = degrade.make(BLUR[0], **BLUR[1])
    R = FunctionRestorer(lambda x, t: 0.9 * torch.nn.functional.avg_pool2d(x, 3, 1, 1), D)
    x, rough = (seen(D, UNSEEN[:1], 20, bits) for bits in (True, False))
    told, alone, of_float = (estimate_severity(R, x, reference=y) for x, y in ((x, FACES), (x, None), (rough, None)))
    R.severity_model = calibrate_severity(R, FACES)
    assert all(value.dtype == torch.float32 for value in R.severity_model.values() if value.is_floating_point())
    kept = estimate_severity(R.with_cond(), x)
    assert kept.scores == pytest.approx(told.scores, rel=1e-4)
    assert (kept.t, kept.low, kept.high, kept.confident) == (told.t, told.low, told.high, True)
    assert kept.scores != pytest.approx(alone.scores, rel=1e-4)
    # What was measured of pictures of 8 bits says nothing about others, and reference pictures come first.
    assert estimate_severity(R, rough).scores == of_float.scores
    assert estimate_severity(R, x, reference=FACES[:12]).scores != pytest.approx(kept.scores, rel=1e-4)


def test_crops_of_a_picture_are_compared_with_crops_of_pictures():
    """What was blurred into a crop from around it is not what its border would be continued by."""
    D = degrade.make(BLUR[0], **BLUR[1])
    R = FunctionRestorer(lambda x, t: D.invert(x, t, noise=1 / 255), D)  # which knows borders only
    large = torch.randn(60, 3, 64, 64, generator=torch.Generator().manual_seed(5)).cumsum(2).cumsum(3)
    large = quantize_8bit((large / large.abs().amax((1, 2, 3), keepdim=True)).clamp(-1, 1))
    errors = {}
    for size in (64, 32):
        reference = large[12:, :, :size, :size]
        found = []
        for x0, t in zip(large[:12].split(1), range(14, 38, 2)):
            x = seen(D, x0, t, bits=True)[..., 16:48, 16:48]
            found.append(estimate_severity(R, x, reference=reference).t - t)
        errors[size] = torch.tensor(found).double().square().mean().sqrt()
    assert errors[64] < 2 < errors[32]


def test_cuts_of_one_picture_say_more_than_one_of_them():
    D = degrade.make(BLUR[0], **BLUR[1])
    x = seen(D, FACES[20:24], 20, bits=False)
    one, four = (
        estimate_severity(FunctionRestorer(lambda x, t: x, D), cuts, reference=FACES[:20]) for cuts in (x[:1], x)
    )
    spread = [torch.tensor(found.scores).softmax(0).max() for found in (one, four)]
    assert spread[1] > spread[0]


def test_a_network_is_left_as_it_was():
    D, net = degrade.make(BLUR[0], **BLUR[1]), torch.nn.Dropout(0.5)
    estimate_severity(FunctionRestorer(_Wrapped(net), D), UNSEEN[:1])
    assert net.training


class _Wrapped(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        assert not self.net.training
        return self.net(x)


@pytest.mark.parametrize("reference", [FACES[:1], FACES[:, :1], FACES[:, :, :16]])
def test_unsuitable_reference_pictures_are_refused(reference):
    D = degrade.make(BLUR[0], **BLUR[1])
    with pytest.raises(ValueError, match="two or more, as large or larger"):
        estimate_severity(FunctionRestorer(oracle(UNSEEN[:1]), D), UNSEEN[:1], reference=reference)


def spoiled(x, value):
    x = x.clone()
    x[0, 0, 3, 4] = value
    return x


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_by_name(value):
    D, x = degrade.make(BLUR[0], **BLUR[1]), UNSEEN[:1]
    for reference in (None, FACES):
        with pytest.raises(
            ValueError, match=r"^x has 1 values of 3072 that are nan or infinite: give finite pictures$"
        ):
            estimate_severity(FunctionRestorer(oracle(x), D), spoiled(x, value), reference=reference)
        with pytest.raises(ValueError, match=r"^R returns nan or infinite values at severities .*: check its weights$"):
            estimate_severity(FunctionRestorer(lambda x_t, t: spoiled(x_t, value), D), x, reference=reference)
    with pytest.raises(ValueError, match=r"^reference has 1 values of 73728 that are nan or infinite: give finite"):
        estimate_severity(FunctionRestorer(oracle(x), D), x, reference=spoiled(FACES, value))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reference": FACES[:1].expand(8, -1, -1, -1)}, ValueError, "the 8 pictures of reference are all the same"),
        ({"reference": FACES.mul(255).byte()}, ValueError, r"reference is torch.uint8 \(24, 3, 32, 32\): give float"),
        ({"x": UNSEEN[0]}, ValueError, r"x is torch.float32 \(3, 32, 32\): give float pictures \(n, C, H, W\)"),
        ({"x": UNSEEN[:0]}, ValueError, r"x is torch.float32 \(0, 3, 32, 32\): give float pictures"),
    ],
)
def test_unsuitable_arguments_are_refused_in_one_line(arguments, error, message):
    D = degrade.make(BLUR[0], **BLUR[1])
    with pytest.raises(error, match=f"^{message}") as refused:
        estimate_severity(FunctionRestorer(oracle(UNSEEN[:1]), D), **{"x": UNSEEN[:1], "reference": FACES} | arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("arguments", [{"num_knots": 1}, {"batch_size": 0}, {"num_knots": 3.0}, {"batch_size": True}])
def test_unsuitable_options_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SeverityOptions(**arguments)


@pytest.mark.parametrize("shape", [(1, 3, 16, 1), (1, 1, 1, 16), (1, 1, 1, 1)])
def test_a_picture_that_is_one_pixel_wide_has_a_severity(shape):
    D, generator = degrade.make("gaussian_noise", T=10), torch.Generator().manual_seed(0)
    x, reference = (torch.rand(n, *shape[1:], generator=generator) for n in (1, 16))
    found = estimate_severity(FunctionRestorer(lambda x, t: 0.5 * x, D), x, reference=reference, generator=generator)
    assert 0 <= found.low <= found.t <= found.high <= 10
    assert all(map(math.isfinite, found.scores))
