"""Draws without replacement: uniform, in random order, ragged where a task is short."""

from __future__ import annotations

import numpy as np
import torch

from datamodules.tasks.base import Points
from datamodules.tasks.row_draws import draw_rows, draw_tasks, order_queries


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_every_task_comes_equally_often() -> None:
    counts = np.bincount(draw_tasks(7, 7 * 40, generator()), minlength=7)
    assert set(counts.tolist()) == {40}
    few = draw_tasks(1000, 50, generator())
    assert sorted(few // 20) == list(range(50))  # one of each fiftieth of the tasks
    assert (np.diff(few) > 0).mean() < 0.8  # in no order


def test_rows_are_distinct_and_uniform_in_every_place() -> None:
    rows, mask = draw_rows(np.full(40_000, 6), 4, generator())
    assert mask.all()
    assert (np.diff(np.sort(rows, axis=1), axis=1) > 0).all()
    for place in range(4):
        shares = np.bincount(rows[:, place], minlength=6) / len(rows)
        np.testing.assert_allclose(shares, 1 / 6, atol=0.01)  # more than 5 standard errors
    pairs = np.bincount(rows[:, 0] * 6 + rows[:, 1], minlength=36).reshape(6, 6) / len(rows)
    np.testing.assert_allclose(pairs[~np.eye(6, dtype=bool)], 1 / 30, atol=0.005)


def test_short_tasks_give_all_their_rows_and_a_mask() -> None:
    rows, mask = draw_rows(np.array([2, 5, 9]), 5, generator())
    assert mask.sum(axis=1).tolist() == [2, 5, 5]
    assert mask[0].tolist() == [True, True, False, False, False]
    assert (set(rows[0, :2]), set(rows[1])) == ({0, 1}, set(range(5)))
    assert draw_rows(np.array([3]), 0, generator())[0].shape == (1, 0)


def test_queries_are_ordered_and_the_support_stays() -> None:
    x = torch.tensor([[[5.0], [3.0], [9.0], [1.0], [0.0]]])
    mask = torch.tensor([[True, True, True, True, False]])
    ordered = order_queries(Points(x, 10 * x, mask), 1)
    assert ordered.x[0, :, 0].tolist() == [5.0, 1.0, 3.0, 9.0, 0.0]
    assert torch.equal(ordered.y, 10 * ordered.x)
