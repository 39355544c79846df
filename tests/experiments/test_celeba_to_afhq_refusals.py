"""Bad input of the main experiment: one line for each, before anything is written."""

from __future__ import annotations

import re
import sys
import zipfile

import pytest
import torch

import restore
from degrade.command_line import UsageError, run_main
from experiments import celeba_to_afhq
from restore.losses import L1
from tests.experiments.test_celeba_to_afhq import SCRIPT, TINY, run
from tests.photographs import photographs


def broken(tmp_path):
    """Folders and files that are wrong, by name."""
    paths = {name: tmp_path / name for name in ("empty", "texts", "truncated", "small", "file.txt", "zip.zip", "full")}
    for name in ("empty", "texts", "truncated", "full"):
        paths[name].mkdir()
    (paths["texts"] / "notes.txt").write_text("no image")
    (paths["full"] / "precious.txt").write_text("keep me")
    (paths["truncated"] / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    photographs(paths["small"], n=2, size=12)
    paths["file.txt"].write_text("text")
    with zipfile.ZipFile(paths["zip.zip"], "w") as archive:
        archive.writestr("notes.txt", "no image")
    (tmp_path / "torn.zip").write_bytes(paths["zip.zip"].read_bytes()[:-30])
    (tmp_path / "config.json").write_text("{broken")
    (tmp_path / "list.json").write_text("[1]")
    return tmp_path


BAD = [
    ("--celeba {0}/nowhere --afhq {0}/small", "--celeba {0}/nowhere does not exist"),
    ("--celeba {0}/empty --afhq {0}/small", "--celeba {0}/empty holds no images"),
    ("--celeba {0}/texts --afhq {0}/small", "holds no images"),
    ("--celeba {0}/zip.zip --afhq {0}/small", "--celeba {0}/zip.zip holds no images"),
    ("--celeba {0}/torn.zip --afhq {0}/small", "neither a folder nor a zip"),
    ("--celeba {0}/file.txt --afhq {0}/small", "neither a folder nor a zip"),
    ("--celeba {0}/truncated --afhq {0}/small", "none of its 1 images can be used"),
    ("--celeba {0}/small --afhq {0}/small", "12 x 12 pixels, fewer than --size 16"),
    ("--celeba {0}/small", "--celeba is given and --afhq is not"),
    ("--download", "AFHQ has no automatic download: get it with"),
    ("--T 0", "--T 0: input should be greater than or equal to 1"),
    ("--steps 0", "--steps 0: input should be greater than or equal to 1"),
    ("--sample-steps 0", "--sample-steps 0: input should be"),
    ("--sample-steps 11", "--sample-steps 11 is more than --T 10"),
    ("--sampler algoritm2", "--sampler algoritm2: no sampler is called 'algoritm2': did you mean 'algorithm2'"),
    ("--sampler ddpm", "--sampler ddpm: DDPM(variance='small') needs Gaussian noise"),
    ("--preset big", "--preset big: choose from demo, faces-from-animals, paper"),
    ("--pretrained x", "--pretrained x: --from-scratch is given, too"),
    ("--schedule sigmoid", "--schedule sigmoid: input should be 'cosine', 'linear_beta' or 'rectified'"),
    ("--size 17", "size 17 does not divide by 4"),
    ("--attention-resolutions 5", r"attention_resolutions at [5]: the levels have sides [8, 4]"),
    ("--dropout fast", "--dropout fast: input should be a valid number"),
    ("--optimizer adam:lr=nan", "--optimizer adam:lr=nan: adam: lr = 'nan'"),
    ("--channel-mult 1,x", "--channel-mult x: input should be a valid integer"),
    ("--out {0}/full", "--out {0}/full already holds files"),
    ("--out {0}/file.txt", "--out {0}/file.txt is a file"),
    ("--out {0}/file.txt/deeper", "cannot be written"),
    ("--out {0}/full --resume", "--resume: {0}/full holds no run"),
    ("--device tpu", "--device tpu is not there"),
    ("--device cuda:7", "--device cuda:7 is not there"),
    ("--config {0}/nowhere.json", "--config {0}/nowhere.json: "),
    ("--config {0}/config.json", "should be a JSON object of options"),
    ("--config {0}/list.json", "holds a list"),
    ("--colour red", "unrecognized arguments: --colour red"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    broken(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments = [*TINY, "--out", f"{tmp_path}/new", *arguments.format(tmp_path).split()]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    assert run_main(celeba_to_afhq.main, "celeba_to_afhq") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("skipped")]
    assert len(lines) == 1
    assert message.format(tmp_path) in lines[0]
    assert before == sorted(tmp_path.rglob("*")), "something was left behind"


def test_a_loss_that_is_not_a_number_stops_the_run_and_spares_the_checkpoint(tmp_path, monkeypatch):
    out = tmp_path / "out"
    run("--out", out, "--steps", 2)
    monkeypatch.setattr(L1, "per_pixel", lambda loss, output, target: output * float("nan"))
    with pytest.raises(UsageError, match="the loss is nan from step 3 on"):
        run("--out", out, "--steps", 6, "--resume")
    assert restore.latest(out / "model").name == "step-00000002"


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_spares_the_checkpoint(tmp_path, monkeypatch):
    out = tmp_path / "out"
    run("--out", out, "--steps", 2)

    def expand_level(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", expand_level)
    with pytest.raises(UsageError, match=r"step 4 cannot be saved .*No space left.*the one before is intact"):
        run("--out", out, "--resume", "--steps", 6)
    assert restore.latest(out / "model").name == "step-00000002"
    assert [p.name for p in (out / "model").iterdir()] == ["step-00000002"]


def test_help_reads_well(capsys):
    with pytest.raises(SystemExit) as stop:
        celeba_to_afhq.main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for heading in ("Run folder:", "Data:", "Degradation and sampling:", "Network:", "Training:"):
        assert heading in said
    assert re.search(r"--sample-steps int +number of sampling steps", said)
    assert max(map(len, said.splitlines())) <= 130
