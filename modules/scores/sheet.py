"""The scores of single tasks, of a learner and of the oracle, with what tells the tasks apart.

Letters: B tasks, W all numbers of a task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modules.contracts import FewShotTasks

from .per_task import TaskScores
from .summaries import paired_differences, summary


@dataclass
class ScoreSheet:
    """Scores of B evaluation tasks whose numbers of support points are drawn alike.

    Attributes:
        num_support: Support points of each task; the most, where they differ.
        digests: What each task is, B short hashes: learners are compared on the same tasks only.
        model: Scores of the learner.
        oracle: Scores of the Bayes-optimal predictive; None where nobody knows or asked for it.
        least_support: Support points of the task that has the fewest; None: all have as many.
    """

    num_support: int
    digests: list[str]
    model: TaskScores
    oracle: TaskScores | None = None
    least_support: int | None = None

    @classmethod
    def cat(cls, parts: Sequence[ScoreSheet]) -> ScoreSheet:
        """The sheets of several batches as one."""
        oracles = [part.oracle for part in parts if part.oracle is not None]
        return cls(
            num_support=max(part.num_support for part in parts),
            digests=[digest for part in parts for digest in part.digests],
            model=TaskScores.cat([part.model for part in parts]),
            oracle=TaskScores.cat(oracles) if len(oracles) == len(parts) else None,
            least_support=min(part.support_range[0] for part in parts),
        )

    @property
    def support_range(self) -> tuple[int, int]:
        """Fewest and most support points of a task."""
        return (self.num_support if self.least_support is None else self.least_support), self.num_support

    @property
    def loss_name(self) -> str:
        """The score to judge by: the log-loss of discrete targets, whose density has no bound, else the NLL."""
        return "log_loss" if "log_loss" in self.model.values else "nll"

    def summary(self) -> dict[str, float]:
        """Means, `{score}_se` for standard errors over tasks, `loss`, and the oracle's where it is known."""
        means, errors = summary(self.model)
        for name in ("nll_error", "joint_nll_error"):
            errors.pop(name, None)  # an error itself
        values = means | {f"{name}_se": error for name, error in errors.items()} | {"loss": means[self.loss_name]}
        if self.oracle is not None:
            gap = paired_differences(self.model.values, self.oracle.values)[self.loss_name]
            values["oracle_loss"] = values["loss"] - float(gap.value)
            values |= {"oracle_gap": float(gap.value), "oracle_gap_se": float(gap.error)}
        return values


def support_title(least: int, most: int) -> str:
    """How people read a range of support points: "5 support points", "0 to 10 support points"."""
    return f"{most} support points" if least == most else f"{least} to {most} support points"


def task_digests(tasks: FewShotTasks) -> list[str]:
    """A short hash of each task's points, the same in any precision that holds the data; filler counts as zero."""
    x, y, mask = tasks.points()
    numbers_BW = torch.cat([torch.where(mask[..., None], torch.cat([x, y], dim=-1), 0.0).flatten(1), mask], dim=1)
    rows = numbers_BW.double().cpu().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=6).hexdigest() for row in rows]
