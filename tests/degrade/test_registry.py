"""A degradation is known by a name and JSON arguments: registered, found, validated, remembered, rebuilt."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib.metadata import EntryPoint
from typing import Annotated

import pytest
import torch
from pydantic import Field

import degrade
from degrade import registry
from tests.cases import ARGUMENTS, CASES, SHAPES, build, images


@pytest.fixture(autouse=True)
def classes(monkeypatch):
    """The registered classes; what a test adds is gone after it."""
    copied = dict(registry.DEGRADATIONS._classes)
    monkeypatch.setattr(registry.DEGRADATIONS, "_classes", copied)
    return copied


def define(name, factor=0.5):
    """Register one class body, as a notebook cell does each time it is run."""

    @degrade.register(name)
    class Dim(degrade.Degradation):
        T: int = 4
        share: Annotated[float, Field(gt=0, le=1)] = factor

        def apply(self, x0, t, z):
            return x0 * (1 - self.share * t / self.T).view(-1, 1, 1, 1)

    return Dim


def test_a_registered_class_is_made_by_name_and_listed():
    Dim = define("dim_for_test")
    assert degrade.get("dim_for_test") is Dim
    assert "dim_for_test" in degrade.names()
    D = degrade.make("dim_for_test", T=2, share=1)
    assert type(D) is Dim
    assert (D.name, D.T, D.share) == ("dim_for_test", 2, 1.0)
    assert D(torch.ones(2, 1, 1, 1), torch.tensor([1, 2])).flatten().tolist() == [0.5, 0.0]


def test_names_are_in_alphabetical_order():
    define("aaa_for_test")
    assert degrade.names()[0] == "aaa_for_test"
    assert list(degrade.names()) == sorted(degrade.names())
    assert set(ARGUMENTS) <= set(degrade.names())


def test_a_taken_name_is_refused_and_its_holder_named(classes):
    blur = classes["blur"]
    message = r"the name 'blur' is taken by degrade\.operators\.blur\.Blur; register .*define.*Dim under another"
    with pytest.raises(ValueError, match=message):
        define("blur")
    assert classes["blur"] is blur
    assert blur.name == "blur"


def test_the_same_definition_again_replaces_the_first():
    first, second = define("dim_for_test", factor=0.5), define("dim_for_test", factor=0.25)
    assert first is not second
    assert degrade.get("dim_for_test") is second
    assert degrade.make("dim_for_test").share == 0.25


@pytest.mark.parametrize("thing", [int, lambda x0, t, z: x0, torch.nn.Module], ids=str)
def test_only_degradations_can_be_registered(thing, classes):
    with pytest.raises(TypeError, match=r"is not a Degradation; derive it from degrade\.Degradation") as caught:
        degrade.register("thing_for_test")(thing)
    assert "'thing_for_test'" in str(caught.value)
    assert "thing_for_test" not in classes


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("gausian_noise", "'gaussian_noise'"), ("Blur", "'blur'"), ("pixellate", "'pixelate'"), ("decolour", "'decolor'")],
)
def test_an_unknown_name_proposes_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"no degradation is called '{wrong}': did you mean .*{near}.*\\?"):
        degrade.make(wrong)


def test_a_name_far_from_all_lists_them_all(classes):
    with pytest.raises(ValueError, match="no degradation is called 'qqq': choose from ") as caught:
        degrade.get("qqq")
    assert str(caught.value).endswith(": choose from " + ", ".join(sorted(classes)))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dim_for_test", {"share": 1.5}, "share = 1.5: input should be less than or equal to 1"),
        ("dim_for_test", {"share": 0}, "share = 0: input should be greater than 0"),
        ("dim_for_test", {"shares": 0.5}, "shares = 0.5: unexpected keyword argument"),
        ("dim_for_test", {"share": float("nan")}, "share = nan: input should be a finite number"),
        ("gaussian_noise", {"T": -3}, "T = -3: input should be greater than or equal to 1"),
        ("gaussian_noise", {"T": "many"}, "T = 'many': input should be a valid integer"),
        ("gaussian_noise", {"T": None}, "T = None: input should be a valid integer"),
        ("gaussian_noise", {"schedule": "sigmoid"}, "schedule = 'sigmoid': no schedule is called 'sigmoid': choose"),
        ("gaussian_noise", {"schedule": {"name": "sigmoid"}}, "no schedule is called 'sigmoid'"),
        (
            "gaussian_noise",
            {"schedule": {"name": "linear_beta", "arguments": {"beta_end": 2}}},
            "beta_end = 2: input should be less than or",
        ),
        (
            "gaussian_noise",
            {"schedule": {"name": "cosine", "arguments": {"beta_start": 0.1}}},
            "beta_start = 0.1: unexpected keyword",
        ),
        (
            "gaussian_noise",
            {"T": 3, "schedule": {"name": "table", "arguments": {"a": [1, 0.5], "b": [0, 0.5]}}},
            "the table has 2 entries; T = 3 needs 4, the clean one included",
        ),
        (
            "gaussian_noise",
            {"T": 1, "schedule": {"name": "table", "arguments": {"a": [0.9, 0.5], "b": [0, 0.5]}}},
            "a and b need the same length and a clean first entry, a[0] = 1 and b[0] = 0",
        ),
        (
            "gaussian_noise",
            {"T": 1, "schedule": {"name": "table", "arguments": {"a": [1, 0.5], "b": [0.1, 0.5]}}},
            "a and b need the same length and a clean first entry",
        ),
        (
            "gaussian_noise",
            {"T": 1, "schedule": {"name": "table", "arguments": {"a": [1, 0.5], "b": [0, 0.5, 1]}}},
            "a and b need the same length and a clean first entry",
        ),
        ("interpolation", {"coupling": "greedy"}, "coupling = 'greedy': input should be 'independent' or 'optimal'"),
        ("interpolation", {"source": 3}, "source = 3: input should be callable"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_in_one_line(name, arguments, message):
    define("dim_for_test")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        degrade.make(name, **arguments)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


def test_every_fault_is_reported_at_once():
    define("dim_for_test")
    with pytest.raises(ValueError, match=r"^dim_for_test: T = 'x': .*; share = 2: .*; shore = 1: ") as caught:
        degrade.make("dim_for_test", T="x", share=2, shore=1)
    assert str(caught.value).count(";") == 2


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_name_and_arguments_survive_json(name, arguments):
    D = build(name, arguments, SHAPES[0])
    text = json.dumps(D.arguments, allow_nan=False)
    again = degrade.make(D.name, **json.loads(text), **D.runtime)
    assert again == D
    assert hash(again) == hash(D)
    assert again.arguments == D.arguments == json.loads(text)
    assert again.name == name
    x0 = images(3, *SHAPES[0])
    z = D.draw(x0, torch.Generator().manual_seed(0))
    t = torch.tensor([1, (D.T + 1) // 2, D.T])
    assert torch.equal(again(x0, t, z), D(x0, t, z))


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_what_was_asked_for_is_among_the_arguments(name, arguments):
    D = degrade.make(name, **arguments)
    fields = {field.name for field in dataclasses.fields(D)}
    assert set(D.arguments) | set(D.runtime) == fields
    assert set(arguments) <= set(D.arguments)
    assert D.arguments["T"] == arguments.get("T", type(D)().T)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_a_degradation_is_frozen(name, arguments):
    D = degrade.make(name, **arguments)
    before = D.arguments
    for field in ("T", "tables", "something_new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(D, field, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del D.T
    assert D.arguments == before


def test_equality_is_that_of_class_and_arguments():
    D = degrade.make("blur", T=5)
    assert degrade.make("blur", T=5) == D
    assert degrade.make("blur", T=6) != D
    assert degrade.make("decolor", T=5) != D
    assert len({D, degrade.make("blur", T=5), degrade.make("blur", T=6)}) == 2
    distinct = {degrade.make(name, **arguments) for name, arguments in CASES}
    assert len(distinct) == len(CASES)


def test_a_runtime_object_is_compared_but_is_no_argument():
    D, other = (degrade.make("interpolation", T=5, source=lambda n, g: torch.zeros(n, 1, 2, 2)) for _ in range(2))
    assert D.source is not other.source
    assert other != D
    assert dataclasses.replace(other, source=D.source) == D == degrade.from_dict(D.to_dict(), source=D.source)
    assert hash(D) == hash(other)
    assert set(D.arguments) == {"T", "schedule", "coupling"}
    assert D.runtime == {"source": D.source}
    assert "source" not in repr(D)


@pytest.fixture
def installed(monkeypatch):
    """Pretend that entry points of the plugin group are installed."""

    def install(*points):
        groups = []

        def found(group):
            groups.append(group)
            return points

        monkeypatch.setattr(registry, "entry_points", found)
        return groups

    registry.DEGRADATIONS._loaded = False
    yield install
    registry.DEGRADATIONS._loaded = False


def test_plugins_are_looked_for_once_and_only_where_a_name_is_not_built_in(installed):
    loaded = []

    class Point(EntryPoint):
        def load(self):
            loaded.append(self.name)
            define("from_a_plugin")

    groups = installed(Point("dim", "nowhere", "degrade.plugins"))
    degrade.make("decolor")
    assert loaded == groups == []
    assert degrade.make("from_a_plugin").T == 4
    assert "from_a_plugin" in degrade.names()
    assert loaded == ["dim"]
    assert groups == ["degrade.plugins"]


def test_a_plugin_that_takes_a_built_in_name_warns_and_changes_nothing(installed):
    class Point(EntryPoint):
        def load(self):
            define("blur")

    installed(Point("thief", "nowhere", "degrade.plugins"))
    with pytest.warns(UserWarning, match="plugin 'thief' of unknown package did not load: .*'blur' is taken by"):
        listed = degrade.names()
    assert "blur" in listed
    assert degrade.get("blur") is degrade.Blur


def test_an_argument_without_default_is_asked_for_by_name():
    class Asking(degrade.Degradation):
        """Has an argument without a default, as every class has until T gets one."""

    with pytest.raises(ValueError, match=r"^Asking: T has no default: give it, T=\.\.\.$"):
        degrade.registry.build(Asking)
