"""Sheets of scores: which task is which, and the gap to the oracle."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from modules.contracts import FewShotTasks
from modules.scores import ScoreSheet, TaskScores, support_title, task_digests


def two_tasks() -> FewShotTasks:
    """One point of support each, of the second it is filler, and two queries."""
    x, y = torch.arange(6.0).view(2, 3, 1), 10 * torch.arange(6.0).view(2, 3, 1)
    seen, asked = torch.tensor([[True], [False]]), torch.ones(2, 2, dtype=torch.bool)
    return FewShotTasks(x[:, :1], y[:, :1], seen, x[:, 1:], y[:, 1:], asked, 5)


def scores(**values: Tensor) -> TaskScores:
    num_tasks = len(values["nll"])
    rest = {"nll_error": torch.zeros(num_tasks), "squared_error": torch.ones(num_tasks)}
    return TaskScores(values | rest, torch.rand(num_tasks, 1, 1), torch.ones(num_tasks, 1, dtype=torch.bool))


def test_digests_tell_points_apart_but_not_filler_or_precision() -> None:
    tasks = two_tasks()
    first, second = task_digests(tasks)
    assert first != second
    doubles = {name: getattr(tasks, name).double() for name in ("support_x", "support_y", "query_x", "query_y")}
    assert task_digests(replace(tasks, **doubles)) == [first, second]
    spoiled = tasks.support_y.clone()
    spoiled[1] = 99.0
    assert task_digests(replace(tasks, support_y=spoiled)) == [first, second]
    spoiled[0] = 99.0
    assert task_digests(replace(tasks, support_y=spoiled))[0] != first
    assert task_digests(replace(tasks, support_mask=~tasks.support_mask))[0] != first


def test_the_gap_is_paired_over_tasks() -> None:
    best = torch.tensor([1.0, 5.0, 9.0])
    parts = [ScoreSheet(5, ["a"], scores(nll=best[:1] + 0.5), scores(nll=best[:1])),
             ScoreSheet(3, ["b", "c"], scores(nll=best[1:] + 0.5), scores(nll=best[1:]))]  # fmt: skip
    sheet = ScoreSheet.cat(parts)
    summary = sheet.summary()
    assert (sheet.num_support, sheet.support_range, sheet.digests) == (5, (3, 5), ["a", "b", "c"])
    assert [support_title(*part.support_range) for part in (parts[0], sheet)] == [
        "5 support points",
        "3 to 5 support points",
    ]
    assert summary["loss"] == summary["nll"] == pytest.approx(5.5)
    assert summary["oracle_loss"] == pytest.approx(5.0)
    assert (summary["oracle_gap"], summary["oracle_gap_se"]) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-6))
    assert summary["nll_se"] == pytest.approx(4 / 3**0.5)
    assert "oracle_gap" not in ScoreSheet.cat([parts[0], replace(parts[1], oracle=None)]).summary()


def test_discrete_targets_are_judged_by_log_loss() -> None:
    sheet = ScoreSheet(5, ["a", "b"], scores(nll=torch.tensor([-torch.inf, 3.0]), log_loss=torch.tensor([0.5, 1.5])))
    assert sheet.loss_name == "log_loss"
    assert sheet.summary()["loss"] == pytest.approx(1.0)
