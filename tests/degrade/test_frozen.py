"""Configurations: nothing is coerced, and what JSON spells is read."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import Field, ValidationError

import degrade
from degrade.frozen import frozen
from degrade.functional.schedules import LinearBeta
from restore import TrainConfig, UNetConfig


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("decolor", {"T": True}),
        ("decolor", {"T": "3"}),
        ("decolor", {"T": 3.0}),
        ("decolor", {"T": np.float64(3)}),
        ("decolor", {"factor": "0.5"}),
        ("decolor", {"factor": True}),
        ("decolor", {"gray_at_T": 1}),
        ("snow", {"fix_brightness": "no"}),
        ("snow", {"strength": True}),
        ("snow", {"strength": 2.0}),
        ("blur", {"T": 2, "sigmas": [1.0, "2"]}),
        ("blur", {"T": 2, "sigmas": [1.0, True]}),
        ("gaussian_noise", {"schedule": {"name": "linear_beta", "arguments": {"beta_end": "0.02"}}}),
        ("compose", {"parts": [{"name": "decolor", "arguments": {"T": "3"}}, "gaussian_noise"]}),
        ("compose", {"T": 1, "curves": [{"name": "table", "arguments": {"levels": [0, 1.0]}}, "ramp"]}),
    ],
    ids=str,
)
def test_nothing_is_coerced(name, arguments):
    with pytest.raises(ValueError, match=r"input should be|: T = '3'"):
        degrade.make(name, **arguments)


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        (UNetConfig, {"image_size": "32"}),
        (UNetConfig, {"image_size": 32.0}),
        (TrainConfig, {"steps": True}),
        (LinearBeta, {"beta_end": "1"}),
    ],
    ids=str,
)
def test_nothing_is_coerced_in_other_configurations(config, arguments):
    with pytest.raises(ValidationError, match="Input should be a valid"):
        config(**arguments)


def test_what_json_spells_is_read():
    widths = degrade.make("blur", T=2, sigmas=[1, 2.5])
    assert widths.sigmas == (1.0, 2.5)
    assert all(type(width) is float for width in widths.sigmas)
    listed = {"name": "table", "arguments": {"a": [1, 0.5], "b": [0, 1]}}
    for D in (widths, degrade.make("gaussian_noise", T=1, schedule=listed), degrade.make("snow", strength=2)):
        assert degrade.make(D.name, **json.loads(json.dumps(D.arguments))) == D


def test_integers_of_numpy_are_integers():
    D = degrade.make("snow", T=np.int64(3), strength=np.int32(2))
    assert (D.T, D.strength) == (3, 2)
    assert type(D.T) is type(D.strength) is int


@frozen
class Own:
    """A configuration of somebody else."""

    choice: Literal[1, "one", None] = 1
    names: dict[str, Any] = Field(default_factory=lambda: {"type": "int"})
    sides: tuple[tuple[int, int], ...] | None = None


def test_a_configuration_of_somebody_else_is_read_in_the_same_way():
    assert Own(choice=None, sides=[[1, 2]]) == Own(None, sides=((1, 2),))
    assert Own().names == {"type": "int"}
    assert Own(names={"x": True, "y": "3"}).names == {"x": True, "y": "3"}
    with pytest.raises(ValidationError, match=re.escape("Input should be 1, 'one' or None")):
        Own(choice=True)
    with pytest.raises(ValidationError, match=r"sides.0.1\n  Input should be a valid integer"):
        Own(sides=[[1, 2.0]])
