"""The 90 % interval of a severity holds the truth nine times in ten, of pictures that are not among the reference."""

from __future__ import annotations

import pytest
import torch

import degrade
from degrade import quantize_8bit
from experiments.data.drawn import DrawnFaces
from samplers.applications.severity_calibration import measured
from samplers.applications.severity_model import Simulated, calibrated, held_out_levels, knot_levels, shortest
from samplers.applications.severity_view import View, probed_features

REFERENCE, PICTURES = 48, 50  # how many there are in each set
DRAW = DrawnFaces(32)
FACES = {seed: DRAW(REFERENCE + PICTURES, torch.Generator().manual_seed(100 + seed)) for seed in (1, 2, 3, 4)}
KINDS = [
    ("gaussian_noise", {}),
    ("blur", {}),
    ("pixelate", {"T": 20, "sizes": "decrement", "filter": "area"}),
    ("inpaint", {}),
    ("decolor", {}),
]


def smoothed(x, t):
    """A restorer that is far from the truth."""
    return 0.9 * torch.nn.functional.avg_pool2d(x, 3, 1, 1)


def held(D, faces, seed):
    """Return for how many pictures of random severity the interval holds it."""
    reference, x0 = faces.split([REFERENCE, PICTURES])
    generator = torch.Generator().manual_seed(seed)
    t = torch.randint(0, D.T + 1, (PICTURES,), generator=generator)
    x = quantize_8bit(D(x0, t, D.draw(x0, generator)))
    view = View(
        D, smoothed, params_known=not D.random or D.identifiable, in_8_bits=True, batch_size=256, generator=generator
    )
    likelihood = measured(view, None, reference, x.shape[2:], 16).likelihood()
    scores = likelihood.scores(probed_features(view, x, view.placeholder(x, None)))
    low, high = shortest(scores.softmax(1))
    return int(((low <= t) & (t <= high)).sum())


@pytest.mark.parametrize(("name", "arguments"), KINDS)
def test_the_interval_holds_the_truth_nine_times_in_ten(name, arguments):
    D = degrade.make(name, **arguments)
    share = sum(held(D, faces, seed) for seed, faces in FACES.items()) / (len(FACES) * PICTURES)
    assert 0.85 <= share <= 0.95, share


@pytest.mark.parametrize("tails", [1, 3])
def test_the_power_makes_up_for_what_is_not_normal(tails):
    """Summaries at severity t: sqrt(t), which is not linear between knots, and Student's t in place of the normal."""
    T, pictures, tried = 100, 60, 2000
    generator = torch.Generator().manual_seed(0)

    def seen(t):
        shape = (*t.shape, 2)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        square = torch.randn((*shape, tails), generator=generator, dtype=torch.float64).square().mean(-1)
        return t.double().sqrt()[..., None] + 0.5 * normal / square.sqrt()

    knots, levels = knot_levels(T, 4), held_out_levels(T, pictures, 4)
    likelihood = calibrated(
        Simulated(knots, seen(knots[:, None].expand(-1, pictures)), levels, seen(levels))
    ).likelihood()
    t = torch.randint(0, T + 1, (tried,), generator=generator)
    low, high = shortest(likelihood.scores(seen(t)).softmax(1))
    share = float(((low <= t) & (t <= high)).double().mean())
    assert 0.85 <= share <= 0.95, share
