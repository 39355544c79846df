"""The benchmark runs, measures every case and finds both sides equal; times are not for a test."""

from __future__ import annotations

import json

import torch

from experiments.bench import degradations
from experiments.bench.cases import CASES


def test_every_case_is_measured_and_both_sides_agree(tmp_path, capsys):
    out = tmp_path / "new" / "result.json"
    threads = torch.get_num_threads()
    degradations.main(["--quick", "--repeats", "2", "--threads", str(threads), "--out", str(out)])
    report = json.loads(out.read_text())
    assert [case["case"] for case in report["cases"]] == [case.title for case in CASES]
    for case in report["cases"]:
        assert case["difference"] <= 2e-5, case
        assert min(case["ours_ms"], case["naive_ms"], case["last_over_first"]) > 0
        assert min(case["peak_ours_mib"], case["peak_naive_mib"]) >= 0
    assert {"date", "torch", "device", "cores", "threads"} < set(report)
    printed = capsys.readouterr().out
    assert all(case.title in printed for case in CASES)
    assert printed.splitlines()[-1] == str(out)
