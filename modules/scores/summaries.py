"""From scores of single tasks to the few numbers of a table, with standard errors over tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from modules.contracts import Estimate

from .calibration import calibration_error, uniform_distance
from .per_task import TaskScores


class Summary(NamedTuple):
    """Scores over all tasks.

    Attributes:
        means: Those of `TaskScores.values`, with `rmse` (the root of the mean squared error) for `squared_error`;
            besides `calibration_error` and `pit_ks` (`uniform_distance`) of all targets.
        errors: Standard errors over tasks of those that are means, and of `rmse`.
    """

    means: dict[str, float]
    errors: dict[str, float]


def summary(scores: TaskScores) -> Summary:
    """Means and standard errors over tasks; with one task, the error is nan."""
    estimates = {name: _over_tasks(value) for name, value in scores.values.items()}
    means = {name: float(estimate.value) for name, estimate in estimates.items()}
    errors = {name: float(estimate.error) for name, estimate in estimates.items()}
    means["rmse"] = means.pop("squared_error") ** 0.5
    squared_error_error = errors.pop("squared_error")
    errors["rmse"] = squared_error_error / (2 * means["rmse"]) if means["rmse"] else 0.0  # delta method
    ranks = scores.valid_pit()
    means["calibration_error"] = float(calibration_error(ranks))
    means["pit_ks"] = float(uniform_distance(ranks))
    return Summary(means, errors)


def paired_differences(values: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """Mean over tasks of (score - reference's score), with its standard error, for each score that both have.

    Args:
        values: Scores of the same tasks in the same order, each [B], such as `TaskScores.values`.
        reference: The others.

    Raises:
        ValueError: The two have different numbers of tasks.
    """
    differences = {}
    for name in [name for name in values if name in reference]:
        ours, theirs = values[name], reference[name]
        if len(ours) != len(theirs):
            raise ValueError(f"{name}: {len(ours)} tasks cannot be paired with {len(theirs)}; score the same tasks")
        differences[name] = _over_tasks(ours - theirs)
    return differences


def _over_tasks(value_B: Tensor) -> Estimate:
    value_B = value_B.double()
    error = value_B.std() / len(value_B) ** 0.5 if len(value_B) > 1 else torch.tensor(torch.nan)
    return Estimate(value_B.mean(), error)
