"""Options: text becomes numbers where the command line is read, and no value is coerced after that."""

from __future__ import annotations

import json

import pytest

from degrade.command_line import UsageError, explicit_values, parse, validated
from experiments import generate, restore_image
from experiments.run.options import TrainerOptions
from experiments.run.presets import DEMO
from experiments.train import Config
from restore.losses import LOSSES
from restore.lr_schedules import LR_SCHEDULES
from restore.nets.registry import NETWORKS
from restore.optimizers import OPTIMIZERS
from restore.timesteps import TIMESTEPS
from restore.weightings import WEIGHTINGS

PRESETS = {"demo": DEMO}


def config(*argv):
    return parse(Config, PRESETS, argv, "train.py", "")[0]


def test_the_text_of_a_command_line_becomes_numbers():
    numbers = config(
        "--steps", "7", "--ema-decay", "0", "--dropout", ".5", "--max-grad-norm", "none", "--channel-mult", "1,2"
    )
    assert (numbers.steps, numbers.ema_decay, numbers.dropout, numbers.max_grad_norm) == (7, 0.0, 0.5, None)
    assert (numbers.channel_mult, config("--attention-resolutions", "none").attention_resolutions) == ((1, 2), ())
    assert isinstance(numbers.ema_decay, float)
    texts = config(
        "--data", "7", "--out", "none", "--channels", "3", "--degradation-args", "T=3", "factor=.5", "gray_at_T=True"
    )
    assert (texts.data, texts.out, texts.channels) == ("7", None, "3")
    assert texts.degradation_args == {**DEMO["degradation_args"], "T": 3, "factor": 0.5, "gray_at_T": True}
    values = explicit_values(generate.Config, ["--sweep", "0,0.01"], "generate.py", "")
    assert validated(generate.Config, values).sweep == (0.0, 0.01)
    for text, severity in (("5", 5), ("auto", "auto")):
        values = explicit_values(restore_image.Config, ["--severity", text], "restore_image.py", "")
        assert validated(restore_image.Config, values).severity == severity


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "7"}, "--steps 7: input should be a valid integer"),
        ({"steps": True}, "--steps True: input should be a valid integer"),
        ({"steps": 7.0}, "--steps 7.0: input should be a valid integer"),
        ({"dropout": "1e-3"}, "--dropout 1e-3: input should be a valid number"),
        ({"compile": "no"}, "--compile no: input should be a valid boolean"),
        ({"quick": 1}, "--quick 1: input should be a valid boolean"),
        ({"channel_mult": [1, "2"]}, "--channel-mult 2: input should be a valid integer"),
        ({"data": 7}, "--data 7: input should be a valid string"),
        ({"degradation_args": 3}, "--degradation-args 3: input should be a valid dictionary"),
        ({"preset": ["demo"]}, r"--preset \['demo'\]: choose from demo"),
    ],
)
def test_no_value_of_a_file_is_coerced(values, message, tmp_path):
    (tmp_path / "options.json").write_text(json.dumps(values))
    with pytest.raises(UsageError, match=f"^{message}"):
        config("--config", str(tmp_path / "options.json"))


@pytest.mark.parametrize("text", ["7.0", "seven", "1_0.", ""])
def test_text_that_is_no_whole_number_is_refused(text):
    with pytest.raises(UsageError, match=f"^--steps {text}: input should be a valid integer"):
        config("--steps", text)


def test_a_file_of_options_may_give_what_json_spells(tmp_path):
    given = {
        "steps": 7,
        "ema_decay": 0,
        "channel_mult": [1, 2],
        "max_grad_norm": None,
        "degradation_args": {"T": 3},
        "attention_resolutions": [],
    }
    (tmp_path / "options.json").write_text(json.dumps(given))
    read = config("--config", str(tmp_path / "options.json"))
    assert (read.steps, read.ema_decay, read.channel_mult, read.max_grad_norm, read.attention_resolutions) == (
        7,
        0.0,
        (1, 2),
        None,
        (),
    )
    assert validated(Config, json.loads(json.dumps(read.model_dump(mode="json")))) == read


def test_help_names_every_component_that_comes_along():
    """The texts of help are not made from the registries, which would import torch for them."""
    found = {
        **{"optimizer": OPTIMIZERS, "lr_schedule": LR_SCHEDULES, "loss": LOSSES, "timesteps": TIMESTEPS},
        **{"weighting": WEIGHTINGS, "network": NETWORKS},
    }
    for option, registry in found.items():
        text = TrainerOptions.model_fields[option].description
        own = [name for name in registry.names() if registry.get(name).__module__.startswith("restore.")]
        assert own
        assert [name for name in own if name not in text.replace(",", " ").split()] == []
