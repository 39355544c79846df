"""The report page of a run: its pictures are those of the degradation and of the sampler, its table the evaluation."""

from __future__ import annotations

import torch

import degrade
from experiments.data.drawn import DrawnFaces
from experiments.evaluation.evaluator import Evaluator
from experiments.report.content import evaluation_table, restoration_blocks
from experiments.report.page import Page, write_report
from restore import FunctionRestorer, LinearInverse


def faces(n, size=16):
    return DrawnFaces(size)(n, torch.Generator().manual_seed(0))


def test_sliders_show_the_degradation_and_the_trajectory_of_the_first_four_images():
    x0 = faces(5)
    D = degrade.make("inpaint", T=6, sigmas="incremental:step=0.5", center="random")
    z = D.draw(x0, torch.Generator().manual_seed(1))
    oracle = FunctionRestorer(lambda x_t, t: x0[: len(x_t)], D)
    degradation, restoration, trajectory = restoration_blocks(oracle, x0, z, "algorithm1", [6, 4, 2, 0])
    assert degradation.captions == [f"t = {t}" for t in range(7)]
    assert trajectory.captions == ["t = 6", "t = 4", "t = 2", "t = 0"]
    first, last = degradation.pictures[0], degradation.pictures[6]
    assert first.shape == (3, 20, 4 * 18 + 2)
    assert torch.equal(first[:, 2:18, 20:36], x0[1])
    x_T = D(x0, degrade.expand_level(6, x0), z)
    assert torch.equal(last[:, 2:18, 20:36], x_T[1])
    assert torch.equal(trajectory.pictures[0], last)
    for visited, t in zip(trajectory.pictures, (6, 4, 2, 0)):  # the oracle visits D(x0, t, z)
        assert torch.equal(visited, degradation.pictures[t])
    assert torch.equal(restoration.pictures[0], last)
    assert torch.equal(restoration.pictures[1], first)


def test_what_is_restored_from_8_bits_is_known_to_be_rounded():
    D, x0 = degrade.make("blur", T=4, sigmas="constant:sigma=1", kernel_size=5), faces(1)
    R = LinearInverse(D, noise=1e-6)
    _, restoration, _ = restoration_blocks(R, x0, None, "algorithm1", [4, 0], "8bit")
    x_T, t = degrade.quantize_8bit(D(x0, torch.tensor([4]))), torch.tensor([4])
    assert torch.equal(restoration.pictures[0], x_T[0])
    assert torch.equal(restoration.pictures[1], D.invert(x_T, t)[0])


def test_the_best_value_of_every_column_is_marked():
    x0 = faces(3)
    sets = {"half": x0 / 2, "all": x0.clone(), "none": 0 * x0}
    evaluation = Evaluator(["rmse", "ssim"]).evaluate(sets, truth=x0)
    table = evaluation_table("Restored", evaluation)
    assert [row[0] for row in table.rows] == ["half", "all", "none"]
    assert table.rows[1][1] == evaluation.value("all", "rmse")
    assert [(i, table.columns[j]) for i, j in sorted(table.best())] == [(1, "RMSE"), (1, "SSIM")]
    assert evaluation_table("Restored", evaluation.to_dict()) == table


def test_a_page_of_photographs_can_be_mailed(tmp_path):
    D = degrade.make("snow", T=200)  # noise compresses worst
    x0 = faces(4, 128)
    z = D.draw(x0, torch.Generator().manual_seed(1))
    blocks = restoration_blocks(FunctionRestorer(lambda x_t, t: x_t, D), x0, z, "algorithm2", range(200, -1, -1))
    assert [len(block.pictures) for block in blocks] == [21, 2, 21]
    assert write_report(tmp_path / "report.html", Page("run", "", blocks)).stat().st_size < 6_000_000
