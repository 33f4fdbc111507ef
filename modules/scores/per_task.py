"""All scores of a predictive distribution, one number a task, so that learners can be compared task by task.

Letters: S draws, B tasks, Q query points, Y target width, C a chunk of the query points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from modules.contracts import FewShotTasks, Predictive
from modules.contracts.predictive import MAX_JOINT_QUERIES

from .calibration import COVERAGE_LEVELS, coverage, pit
from .draws import crps, energy_score

ENERGY_DRAWS = 256
"""The energy score compares all pairs of draws: more would cost much and change the mean over tasks by nothing."""

CHUNK_NUMBERS = 2**23
"""Draws that are sorted at once: 32 MiB in float32, a few times over."""


@dataclass
class TaskScores:
    """Scores of B tasks.

    Attributes:
        values: Each [B], means over the queries of a task that are no filler:

            nll: Negative log density of each query by itself, nats. -inf for an oracle of discrete targets.
            nll_error: Its Monte-Carlo standard error, as if those of a task's queries were one: an upper bound.
            log_loss: Negative log probability of the right value, nats; only for discrete targets.
            crps: In units of the targets, as `energy` and the root of `squared_error`; mean over target dimensions.
            squared_error: Of the predictive mean; mean over target dimensions.
            coverage_50, _80, _90, _95: Share of targets in the central interval of that probability.
            energy, joint_nll: Of all queries together, the latter in nats per query; not there for more than
                `MAX_JOINT_QUERIES` queries. Where the predictive is sampled, few draws come near all queries of a task
                at once: then `joint_nll` is too high, and falls with the draws.
            joint_nll_error: Monte-Carlo standard error of `joint_nll`. 1 / Q and more: one draw decides.
        pit: float[B, Q, Y], see `pit`; for discrete targets that of the predictive rounded to their values.
        mask: bool[B, Q], which queries are no filler.
    """

    values: dict[str, Tensor]
    pit: Tensor
    mask: Tensor

    @classmethod
    def cat(cls, parts: Sequence[TaskScores]) -> TaskScores:
        """The scores of several batches with equally many queries as those of one."""
        values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
        return cls(values, torch.cat([part.pit for part in parts]), torch.cat([part.mask for part in parts]))

    def valid_pit(self) -> Tensor:
        """PIT values of all queries that are no filler, float[P, Y]."""
        return self.pit[self.mask]


def task_scores(
    predictive: Predictive,
    tasks: FewShotTasks,
    *,
    spacing: float | None = None,
    num_samples: int = 1000,
    generator: Generator | None = None,
) -> TaskScores:
    """Scores predictions of the query targets of `tasks`, all in the same units.

    Args:
        predictive: Of the queries.
        tasks: B tasks, each with a query that is no filler.
        spacing: As in `FewShotProblem`.
        num_samples: Draws for the scores that need some.
        generator: Source of the draws, on the device of the tasks.
    """
    y_BQY, mask_BQ = tasks.query_y, tasks.query_mask
    values = _of_densities(predictive, y_BQY, mask_BQ, spacing)
    values["squared_error"] = _task_mean((predictive.mean - y_BQY).square().mean(dim=-1), mask_BQ)
    values["crps"], pit_BQY = _of_draws(predictive, y_BQY, mask_BQ, spacing, num_samples, generator)
    for level in COVERAGE_LEVELS:
        values[f"coverage_{100 * level:.0f}"] = _task_mean(coverage(pit_BQY, level).mean(dim=-1), mask_BQ)
    if y_BQY.shape[1] <= MAX_JOINT_QUERIES:
        values |= _of_all_queries(predictive, y_BQY, mask_BQ, min(num_samples, ENERGY_DRAWS), generator)
    return TaskScores(values, pit_BQY, mask_BQ)


def _of_densities(predictive: Predictive, y_BQY: Tensor, mask_BQ: Tensor, spacing: float | None) -> dict[str, Tensor]:
    log_prob = predictive.log_prob(y_BQY)
    values = {"nll": _task_mean(-log_prob.value, mask_BQ), "nll_error": _task_mean(log_prob.error, mask_BQ)}
    if spacing is not None:
        log_mass = predictive.log_mass(y_BQY - spacing / 2, y_BQY + spacing / 2)
        values["log_loss"] = _task_mean(-log_mass.value, mask_BQ)
    return values


def _of_draws(
    predictive: Predictive,
    y_BQY: Tensor,
    mask_BQ: Tensor,
    spacing: float | None,
    num_samples: int,
    generator: Generator | None,
) -> tuple[Tensor, Tensor]:
    """CRPS [B] and PIT [B, Q, Y]."""
    uniforms_BQY = torch.rand(y_BQY.shape, generator=generator, dtype=y_BQY.dtype, device=y_BQY.device)
    samples_SBQY = predictive.sample(num_samples, generator=generator)
    width = max(1, CHUNK_NUMBERS // max(1, samples_SBQY[:, :, :1].numel()))
    scores, ranks = [], []
    for samples_SBCY, y_BCY, uniforms_BCY in zip(
        samples_SBQY.split(width, dim=2), y_BQY.split(width, dim=1), uniforms_BQY.split(width, dim=1), strict=True
    ):
        scores.append(crps(samples_SBCY, y_BCY).mean(dim=-1))
        ranks.append(pit(samples_SBCY, y_BCY, uniforms_BCY, tie_width=spacing or 0.0))
    return _task_mean(torch.cat(scores, dim=1), mask_BQ), torch.cat(ranks, dim=1)


def _of_all_queries(
    predictive: Predictive, y_BQY: Tensor, mask_BQ: Tensor, num_samples: int, generator: Generator | None
) -> dict[str, Tensor]:
    samples_SBQY = predictive.sample(num_samples, joint=True, generator=generator)
    joint = predictive.joint_log_prob(y_BQY, mask_BQ)
    return {
        "energy": energy_score(samples_SBQY, y_BQY, mask_BQ),
        "joint_nll": -joint.value / mask_BQ.sum(dim=1),
        "joint_nll_error": joint.error / mask_BQ.sum(dim=1),
    }


def _task_mean(value_BQ: Tensor, mask_BQ: Tensor) -> Tensor:
    """Mean over the queries of a task that are no filler, [B]."""
    return torch.where(mask_BQ, value_BQ, 0.0).sum(dim=1) / mask_BQ.sum(dim=1)
