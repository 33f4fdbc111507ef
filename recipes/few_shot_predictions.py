"""Predictive distributions as plain rows, for files that people read.

Letters: Q query points of a task, Y target width, P probabilities.
"""

from __future__ import annotations

from typing import Any

import torch

from modules.contracts import FewShotRows, FewShotTasks, Predictive

PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)


def prediction_rows(predictive: Predictive, tasks: FewShotTasks) -> list[dict[str, Any]]:
    """One row for each query that is no filler: which one it is, `x`, `mean`, and the quantiles `q05` to `q95`.

    Values are numbers where inputs or targets have one dimension, else lists. Rows of a file are told by the name of
    their `task` and their `row`, counted from 0 below the header; else `task` and `query` are places in the batch.
    """
    probabilities_P = torch.tensor(PROBABILITIES, dtype=tasks.query_x.dtype, device=tasks.query_x.device)
    names = ["x", "mean", *(f"q{100 * p:02.0f}" for p in PROBABILITIES)]
    quantiles = predictive.quantile(probabilities_P)
    columns = [values.cpu() for values in (tasks.query_x, predictive.mean, *quantiles)]
    return [
        _which(tasks, task, query)
        | {name: _plain(column[task, query]) for name, column in zip(names, columns, strict=True)}
        for task, query in tasks.query_mask.nonzero().tolist()
    ]


def _which(tasks: FewShotTasks, task: int, query: int) -> dict[str, Any]:
    if isinstance(tasks, FewShotRows):
        return {"task": tasks.task_names[task], "row": int(tasks.query_row[task, query])}
    return {"task": task, "query": query}


def _plain(values_Y: torch.Tensor) -> float | list[float]:
    plain = [float(f"{value:.7g}") for value in values_Y.tolist()]  # 30.7, not the 30.700000762939453 of float32
    return plain[0] if len(plain) == 1 else plain
