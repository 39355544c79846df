"""Run folders: who makes them, what a user is told of them, and files that are written all at once."""

from __future__ import annotations

import json
import os
import warnings

import pytest

import restore
from degrade.command_line import UsageError, run_main
from experiments.run.folder import choose_folder, create_run_dir, read_log, resume_run, stored_config, write_json
from experiments.run.options import RunOptions
from tests.trainings import data, start


def test_of_several_processes_the_first_makes_the_folder_and_the_others_believe_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="several processes need the same folder: name it with --out"):
        choose_folder(RunOptions(), "train")
    options, folder = RunOptions(out=str(tmp_path / "run")), tmp_path / "run"
    for rank, holds in (("1", []), ("0", ["config.json"])):
        monkeypatch.setenv("RANK", rank)
        assert choose_folder(options, "train") == folder
        create_run_dir(folder, options)
        assert [path.name for path in folder.glob("*")] == holds
    with pytest.raises(UsageError, match="already holds files"):
        choose_folder(options, "train")
    monkeypatch.setenv("RANK", "1")  # which comes later, when the first has begun
    assert choose_folder(options, "train") == folder


def test_a_checkpoint_that_is_passed_over_is_one_line_of_the_program(tmp_path, monkeypatch, capsys):
    training = start(2)
    for _ in training.run(data):
        restore.save(tmp_path / "model", training)
    (tmp_path / "model" / "step-00000002" / "ema.safetensors").unlink()

    def main(argv):
        warnings.simplefilter("default")  # as outside of the tests
        resume_run(tmp_path, start(2))

    monkeypatch.setattr("sys.argv", ["train"])
    assert run_main(main, "train") == 0
    folder = tmp_path / "model"
    line = f"train: {folder}/step-00000002 is passed over for step-00000001: ema.safetensors is missing"
    assert capsys.readouterr().err.splitlines() == [line, "continuing after step 1"]


def test_warnings_for_programmers_go_where_they_went(monkeypatch, capsys):
    def main(argv):
        warnings.simplefilter("default")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.warns(DeprecationWarning, match="old"):
        assert run_main(main, "train") == 0
    assert capsys.readouterr().err == ""


def test_a_run_without_one_whole_checkpoint_is_refused_in_one_line(tmp_path):
    training = start(1)
    list(training.run(data))
    (restore.save(tmp_path / "model", training) / "optimizer.pt").unlink()
    with pytest.raises(UsageError, match=r"^--resume: .*: step-00000001: optimizer.pt is missing; start another run"):
        resume_run(tmp_path, training)


def test_a_file_is_replaced_all_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1})

    def fails(descriptor):
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="power cut"):
            write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    write_json(path, {"a": 3})
    assert json.loads(path.read_text()) == {"a": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_log_is_read_in_order_without_torn_foreign_or_late_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2, "loss": 1}\n[1]\n{"loss": 3}\n{"step": 1}\n{"step": 2, "loss": 9}\n{"step": 5}\n{"st')
    assert read_log(path) == [{"step": 1}, {"step": 2, "loss": 9}, {"step": 5}]
    assert read_log(path, before=2) == [{"step": 1}, {"step": 2, "loss": 9}]
    assert read_log(tmp_path / "none") == []


def test_runs_that_are_started_together_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = RunOptions()
    chosen = [choose_folder(options, "train") for _ in range(3)]  # before any of them has made its folder
    claimed = [create_run_dir(folder, options) for folder in chosen]
    assert [folder.name for folder in claimed] == ["train-001", "train-002", "train-003"]
    assert all(json.loads((folder / "config.json").read_text())["preset"] == "demo" for folder in claimed)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_another_run_took_in_the_meantime_is_refused(exists, tmp_path):
    options = RunOptions(out=str(tmp_path / "run"))
    if exists:
        (tmp_path / "run").mkdir()
    first, second = (choose_folder(options, "train") for _ in range(2))
    create_run_dir(first, options)
    with pytest.raises(UsageError, match=r"^--out \S+run was taken by another run just now; name another folder"):
        create_run_dir(second, options)


def test_numbers_go_on_after_999(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train-999", "train-1000", "train-5", "train-x-2000", "ddpm-3000"):
        create_run_dir(tmp_path / "runs" / name, RunOptions(out=f"runs/{name}"))
    assert choose_folder(RunOptions(), "train").name == "train-1001"
    assert choose_folder(RunOptions(resume=True), "train").name == "train-1000"


def test_a_run_is_not_continued_under_another_preset(tmp_path):
    folder = create_run_dir(tmp_path / "run", RunOptions(out=str(tmp_path / "run"), preset="a"))
    with pytest.raises(UsageError, match="--preset b: this run was started with a; start another with --out"):
        stored_config(folder, RunOptions, {"preset": "b", "resume": True})
    assert stored_config(folder, RunOptions, {"preset": "a", "resume": True}).preset == "a"
