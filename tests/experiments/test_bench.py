"""The benchmark runs, measures every case and finds both sides equal; times are not for a test."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn

import degrade
from experiments import celeba_to_afhq
from experiments.bench import degradations, inverse_cost, library_comparison, network, sampling, store_reading, training
from experiments.bench import shares as step_shares
from experiments.bench.cases import CASES
from experiments.bench.flops import forward_flops, matched
from experiments.bench.process import BenchCase, BenchConfig, interleaved
from restore import UNetConfig


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
    assert [large["padding_mode"] for large in report["large"]] == ["circular", "symmetric", "reflect"]
    assert all(large["difference"] < 1e-5 < large["times_faster"] for large in report["large"])
    shares = report["shares"]
    assert tuple(shares["rows"]) == degrade.names()
    for row in shares["rows"].values():
        assert row["of_step"] == pytest.approx((row["draw_ms"] + row["apply_ms"]) / shares["step_ms"])
        assert row["of_call"] == pytest.approx(row["algorithm2_ms"] / shares["call_ms"])
    printed = capsys.readouterr().out
    assert all(title in printed for title in [*(case.title for case in CASES), *degrade.names()])
    assert printed.splitlines()[-1] == str(out)


def test_shares_are_those_of_the_network_of_the_demo():
    demo = celeba_to_afhq.Config(**celeba_to_afhq.PRESETS["demo"])
    assert demo.build_network(channels=3, T=demo.T).config == step_shares.NETWORK
    assert (step_shares.BATCH, demo.precision) == (demo.batch_size, "auto")


@pytest.mark.parametrize(
    ("bench", "rival", "package"),
    [(training, "lucidrains", "denoising_diffusion_pytorch"), (sampling, "diffusers", "diffusers")],
)
def test_processes_are_timed_in_turn(bench, rival, package, tmp_path, capsys):
    out = tmp_path / "result.json"
    bench.main(["--quick", "--threads", str(torch.get_num_threads()), "--out", str(out)])
    (net,) = json.loads(out.read_text())["networks"]
    rows = {row["process"]: row for row in net["processes"]}
    assert "ours, float32" in rows
    assert (f"{rival}, float32" in rows) == bool(find_spec(package))
    for title, row in rows.items():
        assert row["range"][0] <= row["images_per_s"] <= row["range"][1]
        assert 0 < row["of_peak"] < 2
        assert row["peak_mib"] > 0
        assert rows["ours, float32"]["forward_flops"] == pytest.approx(row["forward_flops"], rel=0.15), title
    assert [row["process"] for row in net.get("outside", [])] == ["ours, float32"] * (bench is sampling)
    for no_sync in net["differences"].values():
        assert all(value > 0 for value in no_sync.values())
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


def test_a_training_from_a_store_on_disk_says_what_it_waited(tmp_path, capsys):
    out = tmp_path / "store.json"
    small = {"images": 600, "size": 40, "crop": 32, "channels": 8, "batch-size": 4, "seconds": 0.2, "threads": 1}
    store_reading.main(
        [*(str(word) for name, value in small.items() for word in (f"--{name}", value)), "--out", str(out)]
    )
    report = json.loads(out.read_text())
    measured = report["measured"]
    assert measured["file_gb"] == pytest.approx(600 * 40 * 40 * 3 / 1e9)
    assert 0 < measured["share_blocked"] < measured["share_in_data"] < 1
    assert measured["images_per_s"] > 0
    assert report["configuration"]["images"] == 600
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


@pytest.mark.parametrize(
    ("fast", "titles"),
    [
        (True, ["ours, float32", "ours, bfloat16", "ours, bfloat16, compiled", "theirs, float32", "theirs, bfloat16"]),
        (False, ["ours, float32", "theirs, float32"]),
    ],
)
def test_a_full_run_leaves_out_what_the_processor_emulates(fast, titles, monkeypatch):
    monkeypatch.setattr(library_comparison, "has_fast_bfloat16", lambda device: fast)
    plain = BenchConfig(library_comparison.TINY, batch=2)
    theirs = [BenchCase(f"theirs, {name}", None, replace(plain, precision=name)) for name in ("float32", "bfloat16")]
    plans = [*library_comparison.versions(None, plain, quick=False), *theirs]
    assert [plan.title for plan in library_comparison.installed(plans, quick=False)] == titles


def test_the_network_is_profiled_beside_an_earlier_version(tmp_path, capsys):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    common = ["--quick", "--threads", str(torch.get_num_threads()), "--out"]
    network.main([*common, str(first)])
    network.main([*common, str(second), "--before", str(first)])
    report = json.loads(second.read_text())
    assert report["before"] == json.loads(first.read_text())["rows"]
    assert len(report["rows"]) == 8
    for row in report["rows"]:
        assert sum(row["kinds"].values()) == pytest.approx(1)
        assert row["kinds"]["convolution"] > 0 < row["ms"]
    assert "before" in capsys.readouterr().out


class Untimed(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return self.net(x)


@pytest.mark.parametrize("side", [8, 16])
def test_operations_are_those_counted_by_hand(side):
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 1, stride=2))
    by_hand = 2 * side**2 * 9 * 3 * 5 + 2 * (side // 2) ** 2 * 5 * 3
    assert forward_flops(Untimed(net), 3, side) == by_hand
    assert matched(lambda width: Untimed(nn.Conv2d(3, width, 1)), 2 * 3 * 19 * side**2, 3, side) == 20


def test_the_cost_of_an_inverse_counts_every_case_in_applications(tmp_path):
    inverse_cost.main(["--sizes", "16", "--rounds", "1", "--out", str(tmp_path / "cost.json")])
    rows = {row["case"]: row for row in json.loads((tmp_path / "cost.json").read_text())["rows"]}
    assert set(rows) == set(inverse_cost.CASES)
    assert all(min(row[key] for key in ("apply_ms", "adjoint", "prox", "invert")) > 0 for row in rows.values())
    assert rows["motion_blur, reflect"]["invert"] > 10 * rows["motion_blur, circular"]["invert"]


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"odd one failed:(.|\n)*ZeroDivisionError"):
        interleaved([BenchCase("odd one", broken, BenchConfig(UNetConfig(), 1))], 1)


def broken(setting):
    return 1 // 0
