"""What a network may predict, and how x0 comes back from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import degrade
from restore import Restorer
from tests.cases import images


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
