"""Integrity: whatever is wrong with a checkpoint is recognized, named, and passed over for the one before."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import restore
from restore.checkpoint.integrity import CHECKSUMS, CorruptCheckpointError, verify, write
from tests.trainings import data, start, states

NAMES = ("model.json", "weights.safetensors", "ema.safetensors", "optimizer.pt")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with checkpoints of steps 1 and 2, and the training after each."""
    folder, training = tmp_path_factory.mktemp("model"), start(2)
    for _ in training.run(data):
        restore.save(folder, training)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


def reseal(checkpoint):
    """Make the checksums true again, as one who changes a file on purpose would."""
    files = [(name, (checkpoint / name).read_bytes()) for name in NAMES]
    write(checkpoint, files)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def said(**values):
    """A `model.json` with other values, and true checksums."""

    def change(checkpoint):
        file = checkpoint / "model.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        reseal(checkpoint)

    return change


def text(checkpoint):
    (checkpoint / "model.json").write_text("{half")
    reseal(checkpoint)


def other_shape(checkpoint):
    tensors = load_file(checkpoint / "ema.safetensors")
    tensors["conv_out.weight"] = tensors["conv_out.weight"][:, :4].contiguous()
    save_file(tensors, checkpoint / "ema.safetensors")
    reseal(checkpoint)


def other_tensors(checkpoint):
    (checkpoint / "weights.safetensors").write_bytes(b"PK and so on")
    reseal(checkpoint)


def other_program(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()
    torch.save({}, checkpoint / "pytorch_model.bin")


def first_format(checkpoint):
    said(format=1)(checkpoint)
    (checkpoint / CHECKSUMS).unlink()


def a_file(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.write_text("no folder")


def damaged_files():
    for name in (*NAMES, CHECKSUMS):
        yield f"{name} missing", lambda c, name=name: (c / name).unlink(), f"{name} is missing"
        yield f"{name} cut", lambda c, name=name: cut(c / name), name
        yield f"{name} empty", lambda c, name=name: (c / name).write_bytes(b""), name
        yield f"{name} flipped", lambda c, name=name: flip(c / name), f"{name} is"


PLUGIN = {"name": "vignette", "arguments": {"T": 9}}
DAMAGES = [
    *damaged_files(),
    ("future format", said(format=4), "model.json: format: 4 is not 3, the one this library reads"),
    ("future format, more keys", said(format=4, another=1), "model.json: format: 4 is not 3"),
    ("first format", first_format, "model.json: format: 1 is not 3"),
    ("more keys", said(surprise=1), "model.json: surprise: Unexpected keyword argument"),
    ("no number", said(step="many"), "model.json: step: Input should be a valid integer"),
    ("other values", said(normalization="v / 255"), "model.json: normalization: "),
    ("no JSON", text, "model.json: the file: Invalid JSON"),
    ("network missing", said(network={"name": "mine", "arguments": {}}), "no network is called 'mine'"),
    ("plugin missing", said(degradation=PLUGIN), "no degradation is called 'vignette'.*install the plugin"),
    ("other shape", other_shape, r"ema.safetensors: conv_out.weight has shape \(1, 4, 3, 3\), its"),
    ("no tensors", other_tensors, "weights.safetensors: "),
    ("other program", other_program, "model.json is missing, so this library did not write it"),
    ("a file", a_file, "model.json cannot be read: Not a directory"),
]


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_what_is_damaged_or_foreign_is_named_and_passed_over(damage, message, folder):
    damage(folder / "step-00000002")
    named = f"step-00000002 is passed over for step-00000001: .*{message}"
    with pytest.warns(UserWarning, match=named):
        assert restore.latest(folder).name == "step-00000001"
    with pytest.warns(UserWarning, match=named):
        ema = restore.load(folder).net.state_dict()
    training = start(2)
    with pytest.warns(UserWarning, match=named):
        assert restore.resume(folder, training) == 1
    whole = load_file(folder / "step-00000001" / "ema.safetensors")
    assert all(torch.equal(whole[name], ema[name]) for name in whole)
    shutil.rmtree(folder / "step-00000001")
    for read in (restore.latest, restore.load, lambda folder: restore.resume(folder, training)):
        with pytest.raises(ValueError, match=f"holds no whole checkpoint: step-00000002: .*{message}"):
            read(folder)


def test_of_several_damaged_checkpoints_each_is_named_and_why(folder):
    cut(folder / "step-00000001" / "ema.safetensors")
    flip(folder / "step-00000002" / "optimizer.pt")
    with pytest.raises(ValueError, match=r"step-00000002: optimizer.pt is not .*; step-00000001: ema.safetensors has"):
        restore.load(folder)


def test_flipped_bits_are_seen_wherever_they_are(saved):
    checkpoint, choose = saved / "step-00000002", random.Random(0)
    for name in (*NAMES, CHECKSUMS):
        path = checkpoint / name
        whole = path.read_bytes()
        for place in choose.sample(range(len(whole)), 80):
            content = bytearray(whole)
            content[place] ^= 1 << choose.randrange(8)
            path.write_bytes(bytes(content))
            with pytest.raises(CorruptCheckpointError):
                verify(checkpoint, NAMES)
        path.write_bytes(whole)
    verify(checkpoint, NAMES)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused(folder, zipped):
    blast = folder.parent / "blast"
    torch.save(Bomb(blast), folder / "step-00000002" / "optimizer.pt", _use_new_zipfile_serialization=zipped)
    reseal(folder / "step-00000002")
    with pytest.warns(UserWarning, match="step-00000002 is passed over for step-00000001: optimizer.pt is not of this"):
        assert restore.resume(folder, start(2)) == 1
    restore.load(folder)
    assert not blast.exists()
    torch.load(folder / "step-00000002" / "optimizer.pt", weights_only=False)
    assert blast.exists(), "it was no bomb"


def test_an_optimizer_of_another_network_is_passed_over(folder):
    torch.save({"state": {}, "param_groups": []}, folder / "step-00000002" / "optimizer.pt")
    reseal(folder / "step-00000002")
    training, whole = start(2), start(2)
    with pytest.warns(UserWarning, match="optimizer.pt is not of this training"):
        restore.resume(folder, training)
    shutil.rmtree(folder / "step-00000002")
    restore.resume(folder, whole)
    assert all(torch.equal(a, b) for a, b in zip(states(training), states(whole), strict=True))


def test_a_damaged_checkpoint_neither_pushes_out_a_whole_one_nor_stops_the_training(folder):
    flip(folder / "step-00000002" / "ema.safetensors")
    training = start(3)
    with pytest.warns(UserWarning, match="step-00000002 is passed over"):
        restore.resume(folder, training)
    restore.save(folder, training, keep=1)  # earlier than the damaged one
    with pytest.warns(UserWarning, match="step-00000002 is passed over"):
        assert restore.latest(folder).name == "step-00000001"
    for _ in training.run(data):
        restore.save(folder, training, keep=2)
        assert len(list(folder.iterdir())) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert restore.latest(folder).name == "step-00000003"


def test_a_checkpoint_removed_while_it_is_read_is_no_fault(folder, monkeypatch):
    """The training that writes them goes on meanwhile: the newest that is there when it is looked for is returned."""
    validate = restore.checkpoint.api.validate

    def validate_late(checkpoint):
        if checkpoint.name == "step-00000002":
            checkpoint.rename(checkpoint.with_name("step-00000003"))
        return validate(checkpoint)

    monkeypatch.setattr(restore.checkpoint.api, "validate", validate_late)
    assert restore.latest(folder).name == "step-00000003"
