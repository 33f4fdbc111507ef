"""The tasks of a source that are drawn once: a training set, those that learners are scored on, and those of pictures.

Letters: B tasks, M points of a task.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from modules.contracts import FewShotTasks

from .base import Points, SplitName, TaskSource
from .episodes import check_points, split_points
from .generators import task_generator

SCALING_TASKS = 1000
PICTURE_TASKS = 6
PICTURE_QUERIES = 200


@dataclass(frozen=True)
class ScoredTasks:
    """Tasks that learners are scored on.

    Attributes:
        points: The tasks.
        num_support_B: Support points of each.
        first_query_B: Number of the point where the queries of each begin.
    """

    points: Points
    num_support_B: Tensor
    first_query_B: Tensor


@dataclass(frozen=True)
class FixedSets:
    """The draws of a run that are made once.

    Attributes:
        source: Where the tasks come from.
        num_support: Fewest and most support points of a task.
        num_query: Query points of a task.
        seed: Seed of the training set.
        eval_seed: Seed of all others.
    """

    source: TaskSource
    num_support: tuple[int, int]
    num_query: int
    seed: int
    eval_seed: int

    def training_set(self, num_tasks: int) -> Points:
        """Tasks to train on, again and again."""
        return self._draw(num_tasks, self._most + self.num_query, task_generator(self.seed, "training set"), "train")

    def scaling_set(self) -> Points:
        """Training tasks that tell the units, the same whatever the seed of the run."""
        generator = task_generator(self.eval_seed, "scaling")
        return self._draw(SCALING_TASKS, self._most + self.num_query, generator, "train")

    def validation(self, num_tasks: int) -> ScoredTasks:
        """Tasks with as many support points as in training, none of them twice."""
        generator = task_generator(self.eval_seed, "val")
        num_tasks = self._at_most(num_tasks, "val")
        points = self._draw(num_tasks, self._most + self.num_query, generator, "val")
        num_support_B = draw_num_support(self.num_support, num_tasks, generator)
        return ScoredTasks(points, num_support_B, num_support_B)

    def test(self, num_tasks: int, num_support: list[int]) -> list[ScoredTasks]:
        """The same tasks and queries with each of the given numbers of support points; no task comes twice.

        Raises:
            ValueError: There are several numbers, and no task has enough points for the most of them.
        """
        most = max(num_support)
        num_tasks = self._at_most(num_tasks, "test")
        points = self._draw(num_tasks, most + self.num_query, task_generator(self.eval_seed, "test"), "test")
        largest = int(points.mask.sum(dim=1).max())
        if most >= largest and len(num_support) > 1:
            raise ValueError(
                f"test_support={num_support}: the largest test task of {self.source.name} has {largest} points, and "
                f"one must be left to predict, so at most {largest - 1} can be support (data.init_args.test_support)"
            )
        first_query_B = torch.full((num_tasks,), most)
        return [ScoredTasks(points, torch.full_like(first_query_B, number), first_query_B) for number in num_support]

    def pictures(self) -> FewShotTasks:
        """A few tasks with the most support points, their queries along x where the source has such tasks."""
        generator = task_generator(self.eval_seed, "pictures")
        points = self.source.curves(PICTURE_TASKS, self._most, PICTURE_QUERIES, generator)
        if points is None:
            points = self._draw(PICTURE_TASKS, self._most + self.num_query, generator, "val")
        check_points(points, self.source.name)
        num_support_B = torch.full((len(points.x),), self._most)
        num_query = points.mask.shape[1] - self._most
        return split_points(points, num_support_B, num_support_B, width=self._most, num_query=num_query)

    @property
    def _most(self) -> int:
        return self.num_support[1]

    def _at_most(self, num_tasks: int, split: SplitName) -> int:
        """As many as there are: a task that is scored twice would make standard errors too small."""
        there = self.source.num_tasks(split)
        return num_tasks if not there else min(num_tasks, there)

    def _draw(self, num_tasks: int, num_points: int, generator: Generator, split: SplitName) -> Points:
        points = self.source.draw(num_tasks, num_points, generator, split=split)
        check_points(points, self.source.name)
        return points


def draw_num_support(limits: tuple[int, int], num_tasks: int, generator: Generator) -> Tensor:
    """Numbers of support points, int64[B], uniform between both limits."""
    low, high = limits
    return torch.randint(low, high + 1, (num_tasks,), generator=generator)
