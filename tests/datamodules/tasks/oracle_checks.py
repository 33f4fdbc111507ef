"""What tests of all oracles share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from datamodules.tasks.base import TaskSource
from modules.contracts import FewShotTasks, Predictive
from modules.scores import TaskScores, task_scores


class Drawn(NamedTuple):
    """Tasks cut into support (x, y, mask) and queries."""

    support: tuple[Tensor, Tensor, Tensor]
    query_x: Tensor
    query_y: Tensor

    @property
    def latent(self) -> tuple[Tensor, Tensor, Tensor]:
        """Support inputs, mask and query inputs."""
        return self.support[0], self.support[2], self.query_x


def draw(source: TaskSource, num_tasks: int, num_support: int, num_queries: int, *, seed: int = 0) -> Drawn:
    points = source.draw(num_tasks, num_support + num_queries, Generator().manual_seed(seed))
    x, y, mask = (value[:, :num_support] for value in points)
    return Drawn((x, y, mask), points.x[:, num_support:], points.y[:, num_support:])


def scores_of(predictive: Predictive, drawn: Drawn, *, spacing: float | None = None) -> TaskScores:
    asked = torch.ones(drawn.query_y.shape[:2], dtype=torch.bool)
    tasks = FewShotTasks(*drawn.support, drawn.query_x, drawn.query_y, asked, asked.numel())
    return task_scores(predictive, tasks, spacing=spacing, num_samples=400, generator=Generator().manual_seed(9))


def pit_chi_square(ranks: Tensor, num_bins: int = 20) -> float:
    """Probability of a PIT histogram less uniform than this one, if tasks are independent."""
    counts = torch.histc(ranks.flatten().double(), bins=num_bins, min=0, max=1)
    expected = ranks.numel() / num_bins
    statistic = (counts - expected).square().sum() / expected
    return float(torch.special.gammaincc(torch.tensor((num_bins - 1) / 2).double(), statistic / 2))


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def oracle(tasks: TaskSource, drawn: Drawn, num_samples: int = 1000) -> Predictive:
    predictive = tasks.oracle(*drawn.support, drawn.query_x, num_samples=num_samples, generator=generator(1))
    assert predictive is not None
    return predictive


def grid(low: float, high: float, number: int) -> tuple[Tensor, float]:
    """Midpoints of equal cells, and their width."""
    width = (high - low) / number
    return low + width * (torch.arange(number, dtype=torch.float64) + 0.5), width
