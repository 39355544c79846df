"""Samplers around a sampler: the average of predictions, and RePaint."""

from __future__ import annotations

import pytest
import torch

import degrade
from restore import FunctionRestorer
from samplers import (
    DDPM,
    Algorithm1,
    Algorithm2,
    AveragedPrediction,
    Heun,
    MaskReplacement,
    RePaint,
    StepInput,
    StepOutput,
    renoise,
    trajectory,
)
from tests.cases import build, images
from tests.oracles import imperfect
from tests.walks import EXACT, SHAPE, same_walk, start, straight


@pytest.mark.parametrize("step", [Algorithm2(), Algorithm1(estimate=False), Heun(), DDPM()])
def test_wrapped_steps_that_do_nothing_are_the_inner_step(step):
    D = degrade.make("gaussian_noise", T=9)
    same_walk(D, AveragedPrediction(sampler=step, momentum=0), step)
    same_walk(D, RePaint(sampler=step, repeats=1), step)
    same_walk(D, MaskReplacement(sampler=step, image=images(1, *SHAPE), mask=torch.ones(1, 1, 1, 1)), step)


def test_the_average_is_exponential_and_is_the_guess_that_is_used():
    D = straight(4)
    _, z, x_T = start(D)

    def level(x_t, t):
        return t.to(x_t).view(-1, 1, 1, 1).expand_as(x_t)

    used = [
        visit.x0_hat[0, 0, 0, 0].item()
        for visit in trajectory(FunctionRestorer(level, D), AveragedPrediction(momentum=0.75), x_T, z)
    ]
    assert used == [4.0, 0.75 * 4 + 0.25 * 3, 3.75 * 0.75 + 0.25 * 2, 3.3125 * 0.75 + 0.25 * 1]
    # The memory belongs to the walk, not to the step: a second walk with the same step starts anew.
    again = [
        visit.x0_hat[0, 0, 0, 0].item()
        for visit in trajectory(FunctionRestorer(level, D), AveragedPrediction(momentum=0.75), x_T, z)
    ]
    assert again == used


def test_an_average_of_an_average_keeps_both_memories():
    D = straight(3)
    _, z, x_T = start(D)

    def level(x_t, t):
        return t.to(x_t).view(-1, 1, 1, 1).expand_as(x_t)

    nested = AveragedPrediction(sampler=AveragedPrediction(momentum=0.5), momentum=0.5)
    used = [visit.x0_hat[0, 0, 0, 0].item() for visit in trajectory(FunctionRestorer(level, D), nested, x_T, z)]
    inner = [3.0]
    outer = [3.0]
    for guess in (2.0, 1.0):  # the outer's average is of what the inner one used, which is what it was given, averaged
        outer_given = 0.5 * outer[-1] + 0.5 * guess
        inner.append(0.5 * inner[-1] + 0.5 * outer_given)
        outer.append(inner[-1])
    assert used == inner


def test_climbing_gaussian_noise_is_the_forward_process():
    """q(x_t | x_s) whatever the guess, and the z that is handed on explains where it led."""
    D = degrade.make("gaussian_noise", T=20, schedule="cosine")
    x0, eps, _ = start(D)
    t, s = (degrade.expand_level(level, x0) for level in (15, 6))
    x_s = D(x0, s, eps)
    x_t, z = renoise(D, StepOutput(x_s, x0, eps), s, t, torch.Generator().manual_seed(3))
    ab = D.schedule(D.T)[0] ** 2
    fresh = torch.randn(x0.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    alpha = ab[15] / ab[6]
    torch.testing.assert_close(x_t, alpha.sqrt() * x_s + (1 - alpha).sqrt() * fresh, **EXACT)
    torch.testing.assert_close(D(x0, t, z), x_t, **EXACT)
    other, _ = renoise(D, StepOutput(x_s, -x0, None), s, t, torch.Generator().manual_seed(3))
    assert torch.equal(other, x_t)


@pytest.mark.parametrize("name", ["inpaint", "blur", "interpolation"])
def test_resampling_without_fresh_randomness_iterates_algorithm_1_and_leaves_algorithm_2(name):
    D = build(name, {"T": 8}, SHAPE)
    _, z, x_T = start(D)
    fixed = {"estimate": False}
    same_walk(D, RePaint(Algorithm2(**fixed), repeats=3), Algorithm2(**fixed))
    t, s = (degrade.expand_level(level, x_T) for level in (8, 3))
    walked = RePaint(Algorithm1(**fixed), repeats=3).step(FunctionRestorer(imperfect, D), StepInput(x_T, t, s, z))
    guess = imperfect(x_T, t)
    for _ in range(2):
        guess = imperfect(D(guess, t, z), t)
    torch.testing.assert_close(walked.x_s, D(guess, s, z), **EXACT)
