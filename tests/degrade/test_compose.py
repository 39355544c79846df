"""A composition is its parts one after another, and still one degradation."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import degrade
from tests.cases import images, partners

SHAPE = (3, 12, 16)
COLD = {"name": "blur", "arguments": {"T": 20}}
HOT = {"name": "gaussian_noise", "arguments": {"T": 10, "schedule": "cosine"}}


def hybrid(**arguments):
    return degrade.make("compose", **{"T": 20, "parts": [COLD, HOT], **arguments})


def levels(*listed):
    return {"name": "table", "arguments": {"levels": listed}}


def case(D, n=4):
    x0 = images(n, *SHAPE)
    return x0, D.draw(x0, torch.Generator().manual_seed(0)), torch.linspace(0, D.T, n).round().long()


def test_parts_act_in_order_each_at_its_own_level():
    D = hybrid(T=3, curves=[levels(0, 5, 5, 20), {"name": "ramp", "arguments": {"start": 1 / 3}}])
    x0, z, t = case(D)
    blur, noise = degrade.make("blur", T=20), degrade.make("gaussian_noise", **HOT["arguments"])
    by_hand = noise(blur(x0, torch.tensor([0, 5, 5, 20])), torch.tensor([0, 0, 5, 10]), z[1])
    assert torch.equal(D(x0, t, z), by_hand)


@pytest.mark.parametrize(("noise_fraction", "alone"), [(0.0, 0), (1.0, 1)])
def test_noise_fraction_moves_from_pure_cold_to_pure_hot(noise_fraction, alone):
    D = hybrid(noise_fraction=noise_fraction)
    x0, z, t = case(D)
    part = D.parts[alone]
    assert torch.equal(D(x0, t, z), part(x0, D.levels(t, x0)[alone], z[alone]))
    assert D.levels(t, x0)[1 - alone].eq(0).all()


def test_heat_is_gradual_and_something_is_always_erased_in_full():
    t, like = torch.tensor([20]), torch.zeros(1)
    last = [[level.item() for level in hybrid(noise_fraction=h / 20).levels(t, like)] for h in range(21)]
    cold, hot = zip(*last)
    assert list(hot) == sorted(hot)
    assert list(cold) == sorted(cold, reverse=True)
    assert all(c == 20 or h == 10 for c, h in last)
    assert last[10] == [20, 10]


def test_estimate_finds_the_last_z_where_it_acted_and_keeps_the_rest():
    D = hybrid(curves=["ramp", {"name": "ramp", "arguments": {"start": 0.5}}])
    x0, z, t = case(D)
    wrong = (z[0], torch.full_like(z[1], 7.0))
    found = D.estimate(D(x0, t, z), x0, t, wrong)
    acted = D.levels(t, x0)[1] > 0
    assert acted.tolist() == [False, False, True, True]
    torch.testing.assert_close(found[1][acted], z[1][acted], rtol=0, atol=1e-12)
    assert torch.equal(found[1][~acted], wrong[1][~acted])
    assert found[0] is None
    unaware = D.estimate(D(x0, t, z), x0, t, None)  # a trajectory may start without a z
    assert unaware[1].isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.lists(st.integers(0, 10), min_size=6, max_size=6), st.booleans())
def test_laws_for_any_noise_fraction_and_curve(noise_fraction, drawn, swapped):
    parts, curves = [{"name": "decolor", "arguments": {"T": 3}}, HOT], ["ramp", levels(0, *sorted(drawn))]
    step = -1 if swapped else 1
    D = hybrid(T=6, noise_fraction=noise_fraction, parts=parts[::step], curves=curves[::step])
    degrade.check(D, images(2, 3, 4, 4))


def test_live_sources_survive_saving_and_rebuilding():
    source = partners(*SHAPE)
    fog = degrade.make("interpolation", T=9, source=source)
    inner = degrade.make("compose", T=5, parts=["decolor", fog])
    D = degrade.make("compose", T=7, parts=[COLD, inner])
    saved = json.loads(json.dumps(D.arguments))
    assert "part_runtime" not in saved
    again = degrade.make("compose", **saved, **D.runtime)
    assert again == D == dataclasses.replace(D) != degrade.make("compose", **saved)
    x0, z, t = case(D)
    assert torch.equal(again(x0, t, again.draw(x0, torch.Generator().manual_seed(0))), D(x0, t, z))
    assert again.parts[1].parts[1].source is source
    with pytest.raises(ValueError, match="no source"):
        degrade.make("compose", **saved).draw(x0)


def test_affine_parts_make_an_affine_whole():
    assert hybrid().affine
    assert not hybrid(parts=["jpeg", HOT]).affine


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": ["blur"]}, "two at least"),
        ({"parts": ["blur", "nois"]}, "no degradation is called 'nois'"),
        ({"parts": ["blur", {"arguments": {}}]}, "is no degradation: give one, its name, or"),
        ({"parts": ["blur", {**HOT, "arguments": {"T": 0}}]}, "gaussian_noise: T = 0"),
        ({"curves": ["ramp", levels(0, 1)]}, r"2 levels .* T \+ 1 = 21 levels in 0..10"),
        ({"T": 2, "curves": ["ramp", levels(0, 1, 11)]}, r"up to 11.* in 0..10"),
        ({"T": 2, "curves": ["ramp", levels(0, 2, 1)]}, "never fall"),
        ({"T": 2, "curves": ["ramp", levels(1, 2, 3)]}, "start at 0"),
        ({"curves": ["ramp", "bent"]}, "no curve is called 'bent'"),
        ({"curves": ["ramp"]}, "1 entries for 2 parts; give one for each"),
        ({"curves": ["ramp", {"name": "ramp", "arguments": {"start": 0.5, "stop": 0.5}}]}, "is empty"),
        ({"noise_fraction": 1.5}, "noise_fraction = 1.5"),
        ({"part_runtime": ({},)}, "1 entries for 2 parts"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        hybrid(**arguments)


def test_a_part_without_a_name_is_refused():
    class Nameless(degrade.Degradation):
        pass

    with pytest.raises(ValueError, match="Nameless has no name"):
        hybrid(parts=[COLD, Nameless(T=3)])


@pytest.mark.parametrize("z", [torch.zeros(4, *SHAPE), (None,), "none"], ids=["tensor", "short tuple", "text"])
def test_z_needs_an_entry_per_part(z):
    D = hybrid()
    x0, _, t = case(D)
    with pytest.raises(ValueError, match="one entry for each of 2 parts"):
        D(x0, t, z)
