"""A sampler is known by a name and JSON arguments, and by what a command line calls it."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
import torch
from pydantic.dataclasses import dataclass

import degrade
from degrade import registry
from restore import FunctionRestorer
from samplers import SAMPLERS, AveragedPrediction, BrownianBridge, Heun, InDI, MaskReplacement, RePaint, sample
from samplers.base import Sampler, SinglePrediction
from samplers.registry import make_sampler, parse_sampler, register_sampler, sampler_names
from samplers.steps.cold import Algorithm1, Algorithm2
from samplers.steps.diffusion import DDIM, DDPM, Ancestral
from tests.cases import images
from tests.oracles import imperfect

EVERY = [
    *(
        Algorithm1(),
        Algorithm2(estimate=False),
        Ancestral(eta=0.3, variance="large"),
        DDPM("large"),
        DDIM(0.25),
        Heun(estimate=False),
        InDI(),
        BrownianBridge(noise=2),
    ),
    *(
        AveragedPrediction(sampler=Heun(), momentum=0.9),
        RePaint(sampler=AveragedPrediction(sampler=DDIM(0.5)), repeats=4),
        MaskReplacement(sampler=RePaint()),
    ),
]


@pytest.fixture(autouse=True)
def classes(monkeypatch):
    """The registered classes; what a test adds is gone after it."""
    monkeypatch.setattr(SAMPLERS, "_classes", dict(SAMPLERS._classes))


@pytest.mark.parametrize("step", EVERY, ids=str)
def test_a_name_and_json_arguments_rebuild_an_equal_step(step):
    rebuilt = make_sampler(step.name, **json.loads(json.dumps(step.arguments)))
    assert rebuilt == step
    assert type(rebuilt) is type(step)
    assert hash(rebuilt) == hash(step)


def test_every_registered_step_is_among_those():
    assert {step.name for step in EVERY} == {name for name in sampler_names() if not name.endswith("_example")}


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("algorithm1", Algorithm1()),
        ("algorithm2-fixed", Algorithm2(estimate=False)),
        ("algorithm2:estimate=false", Algorithm2(estimate=False)),
        ("heun-fixed", Heun(estimate=False)),
        ("ddpm", DDPM()),
        ("ddpm:variance=large", DDPM("large")),
        ("ddim", DDIM()),
        ("ddim:eta=0.5", DDIM(0.5)),
        ("ancestral:eta=0.5,variance=large", Ancestral(eta=0.5, variance="large")),
        ("averaged_prediction:sampler=algorithm2-fixed", AveragedPrediction(sampler=Algorithm2(estimate=False))),
        (
            "averaged_prediction:momentum=0.25,sampler=ancestral:eta=0.5,variance=large",
            AveragedPrediction(Ancestral(eta=0.5, variance="large"), 0.25),
        ),
        (
            "repaint:repeats=2,sampler=averaged_prediction:momentum=0,sampler=indi",
            RePaint(AveragedPrediction(InDI(), 0), 2),
        ),
    ],
)
def test_a_command_line_names_it(text, step):
    assert parse_sampler(text) == step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algoritm1", "no sampler is called 'algoritm1': did you mean 'algorithm1'"),
        ("", "no sampler is called '': choose from algorithm1, algorithm2, ancestral"),
        ("heun:eta=1", "heun: eta = 1: unexpected keyword argument"),
        ("ddim:eta=2", "ddim: eta = 2: input should be less than or equal to 1"),
        ("ddim:half", "'half' is no option and no key=value"),
        ("indi-fixed", "indi: estimate = False: unexpected keyword argument"),
        ("ddim-fixed", "ddim: estimate = False: unexpected keyword argument"),
        ("repaint:repeats=0", "repeats = 0: input should be greater than or equal to 1"),
        (
            "averaged_prediction:sampler=ddim:eta=3",
            "averaged_prediction: sampler = 'ddim:eta=3': ddim: eta = 3: input should be less",
        ),
        ("averaged_prediction:momentum=1", "momentum = 1: input should be less than 1"),
        ("brownian_bridge:noise=-1", "noise = -1: input should be greater than or equal to 0"),
        ("averaged_prediction:sampler=5", "averaged_prediction: sampler = 5: 5 is no sampler: give one, its name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        parse_sampler(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sampler_of_ones_own_is_one_small_class():
    @register_sampler("halfway_for_test")
    class Halfway(SinglePrediction):
        share: float = 0.5

        def update(self, D, at, x0_hat, z):
            return torch.lerp(D(x0_hat, at.s, z), at.x_t + D.delta(x0_hat, at.t, at.s, z), self.share)

    step = parse_sampler("halfway_for_test:share=1")
    assert (type(step), step.name, step.share) == (Halfway, "halfway_for_test", 1.0)
    assert "halfway_for_test" in sampler_names()
    D, x_T = degrade.make("decolor", T=5), images(2, 3, 4, 4)
    assert torch.equal(
        sample(FunctionRestorer(imperfect, D), step, x_T), sample(FunctionRestorer(imperfect, D), Algorithm2(), x_T)
    )
    assert torch.equal(
        sample(FunctionRestorer(imperfect, D), Halfway(share=0), x_T),
        sample(FunctionRestorer(imperfect, D), Algorithm1(), x_T),
    )
    assert AveragedPrediction(sampler="halfway_for_test").sampler == Halfway()


def test_an_installed_plugin_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "still_step.py").write_text(
        "import samplers\n\n\n@samplers.register_sampler('still_for_test')\nclass Still(samplers.SinglePrediction):\n"
        "    def update(self, D, at, x0_hat, z):\n        return at.x_t\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("still", "still_step", "samplers.plugins")
    monkeypatch.setattr(SAMPLERS, "_loaded", False)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "samplers.plugins" else [])
    assert type(make_sampler("still_for_test")).__name__ == "Still"


def test_a_step_without_a_name_of_its_own_cannot_be_saved_inside_another():
    @dataclass(frozen=True)
    class Nameless(Sampler):
        pass

    class Inherits(Algorithm1):
        """Has a name, which stands for its parent."""

    for inner in (Nameless(), Inherits()):
        cls = type(inner).__name__
        with pytest.raises(ValueError, match=f"{cls} has no name to be saved under: register it"):
            _ = AveragedPrediction(sampler=inner).arguments


def test_every_form_of_a_sampler_goes_through_one_parser():
    sampler = RePaint(AveragedPrediction(DDIM(0.5), 0.25), 3)
    for form in (sampler, "repaint:repeats=3,sampler=averaged_prediction:momentum=0.25,sampler=ddim:eta=0.5"):
        assert parse_sampler(form) == parse_sampler(sampler.to_dict()) == SAMPLERS.from_dict(form) == sampler
    assert degrade.from_dict("decolor:T=3,weights=luma") == degrade.make("decolor", T=3, weights="luma")


def test_a_list_on_a_command_line_keeps_its_commas():
    D = degrade.from_dict("blur:T=3,kernel_size=5,sigmas=[1,2,3]")
    assert degrade.make("blur", T=3, sigmas=[1, 2, 3], kernel_size=5) == D


def test_only_a_step_can_be_registered():
    with pytest.raises(TypeError, match=r"derive it from samplers\.Sampler to register 'blur_for_test'"):
        register_sampler("blur_for_test")(dict)
