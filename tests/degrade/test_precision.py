"""What is measured in float64 is measured on devices without float64, too, and gives the same."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade.precision import to_float64
from restore import FunctionRestorer
from samplers.applications.severity import estimate_severity
from samplers.applications.severity_model import features
from samplers.respacing import cumulative_change
from tests.pretended_mps import PretendedMPS, on_mps

D = degrade.make("blur", T=4)
X0 = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


class GeneratorOnCPU(torch.Generator):
    """A generator on the CPU, whatever device is asked for."""

    def __new__(cls, device=None):
        return super().__new__(cls)


def halved(x, t):
    return 0.5 * x


MEASUREMENTS = [
    features,
    lambda x: cumulative_change(FunctionRestorer(halved, D), x),
    lambda x: estimate_severity(FunctionRestorer(halved, D), x[:1]),
    lambda x: estimate_severity(FunctionRestorer(halved, D), D(x[:1], degrade.expand_level(3, x[:1])), reference=x),
    lambda x: estimate_severity(
        FunctionRestorer(halved, degrade.make("gaussian_noise", T=4)),
        x[:1],
        reference=x,
        generator=torch.Generator().manual_seed(0),
    ),
    lambda x: degrade.linear_probe(D, x),
]


@pytest.mark.parametrize("measure", MEASUREMENTS)
def test_a_measurement_needs_no_float64_on_the_device(measure, monkeypatch):
    expected = measure(X0)
    monkeypatch.setattr(torch, "Generator", GeneratorOnCPU)
    with PretendedMPS():
        x = on_mps(X0)
        with pytest.raises(TypeError, match="float64"):
            x.double()
        found = measure(x)
    assert torch.equal(found.cpu(), expected) if isinstance(expected, torch.Tensor) else found == expected


def test_float64_stays_where_the_device_has_it():
    x = torch.rand(3, dtype=torch.float64)
    assert to_float64(x) is x
    with PretendedMPS():
        assert to_float64(on_mps(x.float())).dtype == torch.float64
