"""Predictive distributions as plain rows, for files that people read.

Letters: Q query points of a task, Y target width, P probabilities.
"""

from __future__ import annotations

from typing import Any

import torch

from modules.contracts import FewShotTasks, Predictive

PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)


def prediction_rows(predictive: Predictive, tasks: FewShotTasks) -> list[dict[str, Any]]:
    """One row for each query that is no filler: `task` and `query` (places in the batch), `x`, `mean`, `q05` to `q95`.

    Values are numbers where inputs or targets have one dimension, else lists.
    """
    probabilities_P = torch.tensor(PROBABILITIES, dtype=tasks.query_x.dtype, device=tasks.query_x.device)
    names = ["x", "mean", *(f"q{100 * p:02.0f}" for p in PROBABILITIES)]
    quantiles = predictive.quantile(probabilities_P)
    columns = [values.cpu() for values in (tasks.query_x, predictive.mean, *quantiles)]
    places = tasks.query_mask.nonzero().tolist()
    return [
        {"task": task, "query": query}
        | {name: _plain(column[task, query]) for name, column in zip(names, columns, strict=True)}
        for task, query in places
    ]


def _plain(values_Y: torch.Tensor) -> float | list[float]:
    return float(values_Y) if values_Y.numel() == 1 else values_Y.tolist()
