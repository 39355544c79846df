"""A sampler is known by a name and JSON arguments, and by what a command line calls it."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
import torch
from pydantic.dataclasses import dataclass

import degrade
from degrade import registry
from samplers import SAMPLERS, AveragedPrediction, BrownianBridge, Heun, InDI, MaskReplacement, RePaint, sample
from samplers.base import Algorithm, Sampler
from samplers.registry import make_sampler, parse_sampler, register_sampler, sampler_names
from samplers.steps.diffusion import DDIM, DDPM, Algorithm1, Algorithm2, Ancestral
from tests.cases import images
from tests.oracles import imperfect

EVERY = [
    *(
        Algorithm1(),
        Algorithm2(estimate=False),
        DDPM("large"),
        DDIM(0.25),
        Heun(estimate=False),
        InDI(),
        BrownianBridge(noise=2),
    ),
    *(
        AveragedPrediction(step=Heun(), momentum=0.9),
        RePaint(step=AveragedPrediction(step=DDIM(0.5)), repeats=4),
        MaskReplacement(step=RePaint()),
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
    assert {step.name for step in EVERY} == set(sampler_names())


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
        ("average:step=algorithm2-fixed", AveragedPrediction(step=Algorithm2(estimate=False))),
        (
            "average:momentum=0.25,step=ddim:eta=0.5,variance=large",
            AveragedPrediction(Ancestral(eta=0.5, variance="large"), 0.25),
        ),
        ("resample:repeats=2,step=average:momentum=0,step=indi", RePaint(AveragedPrediction(InDI(), 0), 2)),
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
        ("ddim:eta=2", "ancestral: eta = 2: input should be less than or equal to 1"),
        ("ddim:half", "'half' is no option and no key=value"),
        ("indi-fixed", "indi: estimate = False: unexpected keyword argument"),
        ("ddim-fixed", "the ancestral step draws z anew and cannot keep it fixed"),
        ("resample:repeats=0", "repeats = 0: input should be greater than or equal to 1"),
        ("average:step=ddim:eta=3", "average: step = 'ddim:eta=3': ancestral: eta = 3: input should be less"),
        ("average:momentum=1", "momentum = 1: input should be less than 1"),
        ("bridge:noise=-1", "noise = -1: input should be greater than or equal to 0"),
        ("average:step=5", "average: step = '5': no sampler is called '5'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        parse_sampler(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sampler_of_ones_own_is_one_small_class():
    @register_sampler("halfway_for_test")
    class Halfway(Algorithm):
        share: float = 0.5

        def move(self, D, x_t, t, s, x0_hat, z):
            return torch.lerp(D(x0_hat, s, z), x_t + D.delta(x0_hat, t, s, z), self.share)

    step = parse_sampler("halfway_for_test:share=1")
    assert (type(step), step.name, step.share, step.estimate) == (Halfway, "halfway_for_test", 1.0, True)
    assert "halfway_for_test" in sampler_names()
    D, x_T = degrade.make("decolor", T=5), images(2, 3, 4, 4)
    assert torch.equal(sample(D, imperfect, step, x_T), sample(D, imperfect, Algorithm2(), x_T))
    assert torch.equal(sample(D, imperfect, Halfway(share=0), x_T), sample(D, imperfect, Algorithm1(), x_T))
    assert AveragedPrediction(step="halfway_for_test").step == Halfway()


def test_an_installed_plugin_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "still_step.py").write_text(
        "import samplers\n\n\n@samplers.register_sampler('still_for_test')\nclass Still(samplers.Algorithm):\n"
        "    def move(self, D, x_t, t, s, x0_hat, z):\n        return x_t\n"
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
        with pytest.raises(ValueError, match=f"{cls} has no name to be rebuilt from: decorate it"):
            _ = AveragedPrediction(step=inner).arguments


def test_only_a_step_can_be_registered():
    with pytest.raises(TypeError, match=r"derive it from samplers\.Sampler to register 'blur_for_test'"):
        register_sampler("blur_for_test")(dict)
