"""The precision of a network follows what its device computes in."""

import warnings

import pytest
import torch

from experiments import train
from restore.precision import choose_precision, has_fast_bfloat16


def emulate(monkeypatch, fast):
    monkeypatch.setattr("restore.precision.has_fast_bfloat16", lambda device: fast)


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_only_where_it_is_not_emulated(fast, chosen, monkeypatch):
    emulate(monkeypatch, fast)
    assert choose_precision("auto", "cpu") == chosen
    assert choose_precision("float32", "cpu") == "float32"


def test_bfloat16_is_kept_with_a_warning_where_it_is_emulated(monkeypatch):
    emulate(monkeypatch, False)
    with pytest.warns(UserWarning, match="precision bfloat16: cpu emulates its products.*choose float32, or auto"):
        assert choose_precision("bfloat16", "cpu") == "bfloat16"
    emulate(monkeypatch, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_precision("bfloat16", "cpu") == "bfloat16"


def test_a_processor_that_has_no_wide_vectors_has_no_fast_bfloat16():
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT"):
        assert not has_fast_bfloat16("cpu")
    assert not has_fast_bfloat16("meta")


SMALL = ["--data", "drawn", "--size", "16", "--model-channels", "8", "--channel-mult", "1", "--attention-resolutions",
         "none", "--batch-size", "2", "--eval-images", "2", "--sample-steps", "2"]  # fmt: skip


def test_a_run_stores_the_precision_that_auto_meant_and_keeps_it_elsewhere(tmp_path, monkeypatch):
    emulate(monkeypatch, False)
    folder = tmp_path / "run"
    train.main([*SMALL, "--steps", "1", "--precision", "auto", "--device", "cpu", "--out", str(folder)])
    assert '"precision": "float32"' in (folder / "config.json").read_text()
    emulate(monkeypatch, True)
    train.main(["--steps", "2", "--precision", "auto", "--resume", "--out", str(folder)])
    assert '"precision": "float32"' in (folder / "config.json").read_text()
    assert '"precision": "float32"' in max((folder / "model").glob("step-*")).joinpath("model.json").read_text()
