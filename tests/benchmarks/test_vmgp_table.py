"""The results table: cells are resumable, and the page says what they hold."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import vmgp_cells, vmgp_table
from benchmarks.vmgp_cells import ORACLE, Cell, Filled, read_cell, write_cell
from benchmarks.vmgp_page import write_page
from modules.scores import ScoreSheet, TaskScores

STEPS = 10


def sheet(shift: float) -> ScoreSheet:
    """Twenty tasks whose losses are 0..19 plus `shift`."""
    loss = torch.arange(20.0) + shift
    names = ("nll", "nll_error", "crps", "squared_error", "energy", "joint_nll", "coverage_90")
    scores = TaskScores(dict.fromkeys(names, loss), torch.rand(20, 5, 1), torch.ones(20, 5, dtype=torch.bool))
    return ScoreSheet(5, [str(number) for number in range(20)], scores)


def fill(folder: Path, learner: str, seed: int, shift: float) -> None:
    filled = Filled(sheet(shift), seconds=2.0, versions="torch 0, commit abc")
    write_cell(Cell("steps", learner, seed, STEPS).path(folder), filled)


def cells(tasks: str, learners: list[str], num_seeds: int) -> list[Cell]:
    of_learners = [Cell(tasks, learner, seed, STEPS) for learner in learners for seed in range(num_seeds)]
    return [Cell(tasks, ORACLE, 0, STEPS), *of_learners]


def test_the_page_has_means_gaps_and_paired_differences(tmp_path: Path) -> None:
    fill(tmp_path, ORACLE, 0, 0.0)
    fill(tmp_path, "deep_kernel_gp", 0, 3.0)
    for seed, shift in enumerate((1.0, 2.0)):
        fill(tmp_path, "alpaca", seed, shift)
    wanted = [cell for tasks in ("steps", "floor") for cell in cells(tasks, ["deep_kernel_gp", "alpaca"], 2)]
    write_page(tmp_path / "docs" / "vmgp.md", tmp_path, wanted)
    page = (tmp_path / "docs" / "vmgp.md").read_text()
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in page.splitlines() if "|" in line
    }
    assert list(rows)[2:] == ["oracle", "alpaca", "deep_kernel_gp"]  # by the loss
    assert rows["alpaca"][1:6] == ["2", "11.000 +- 0.500", "+1.500 +- 0.000", "11.000 +- 0.500", "-1.500 +- 0.000"]
    assert rows["deep_kernel_gp"][-1] == "200.0"
    assert "## floor" not in page
    assert (tmp_path / "docs" / "vmgp_table.png").stat().st_size > 5_000


def test_a_cell_is_trained_once_and_scored_on_tasks_that_no_seed_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [Cell("floor", learner, seed, 2, 20) for learner, seed in (("alpaca", 0), ("alpaca", 1), (ORACLE, 0))]
    for cell in trained:
        vmgp_table.fill_cell(cell, tmp_path)
    first, second, oracle = (read_cell(cell.path(tmp_path)) for cell in trained)
    assert first.sheet.digests == second.sheet.digests == oracle.sheet.digests
    assert not torch.equal(first.sheet.model.values["crps"], second.sheet.model.values["crps"])
    assert oracle.sheet.summary()["loss"] < first.sheet.summary()["loss"]
    monkeypatch.setattr(vmgp_table, "_fill", lambda cells, *_: [(cell, ValueError("none")) for cell in cells])
    options = [
        "--tasks",
        "floor",
        "--learners",
        "alpaca",
        "--steps",
        "2",
        "--test-tasks",
        "20",
        "--folder",
        str(tmp_path),
    ]
    page = ["--page", str(tmp_path / "page.md")]
    assert vmgp_table.main([*options, *page, "--seeds", "2"]) == 0  # nothing is missing
    assert vmgp_table.main([*options, *page, "--seeds", "3"]) == 1


def test_another_recipe_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "vmgp"
    shutil.copytree(vmgp_cells.YAML, changed)
    overlay = changed / "_learner" / "alpaca.yaml"
    overlay.write_text(overlay.read_text() + "      init_args: {feature_dim: 7}\n")
    names = [[Cell("floor", name, 0, 2).path(tmp_path).name for name in ("alpaca", "maml", ORACLE)]]
    monkeypatch.setattr(vmgp_cells, "YAML", changed)
    vmgp_cells._recipe_digest.cache_clear()
    names.append([Cell("floor", name, 0, 2).path(tmp_path).name for name in ("alpaca", "maml", ORACLE)])
    vmgp_cells._recipe_digest.cache_clear()
    assert [before == after for before, after in zip(*names, strict=True)] == [False, True, True]


def test_a_cell_of_wide_inputs_without_oracle(tmp_path: Path) -> None:
    cells = [Cell("constant", learner, 0, 2, 20) for learner in ("maml", ORACLE)]
    for cell in cells:
        vmgp_table.fill_cell(cell, tmp_path)
    assert [cell.path(tmp_path).exists() for cell in cells] == [True, False]


def test_cells_scored_on_other_tasks_are_not_paired(tmp_path: Path) -> None:
    fill(tmp_path, ORACLE, 0, 0.0)
    fill(tmp_path, "alpaca", 0, 1.0)
    path = Cell("steps", ORACLE, 0, STEPS).path(tmp_path)
    other = replace(sheet(0.0), digests=[f"other {number}" for number in range(20)])
    write_cell(path, replace(read_cell(path), sheet=other))
    with pytest.raises(ValueError, match="scored on different tasks"):
        write_page(tmp_path / "vmgp.md", tmp_path, cells("steps", ["alpaca"], 1))
