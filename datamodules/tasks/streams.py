"""Datasets of whole batches of tasks: the endless stream of training steps, and fixed tasks to be scored on.

Letters: B tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from datamodules.text.order import ShuffledOrder
from datamodules.text.streams import whole_batches
from modules.contracts import FewShotTasks

from .base import Points, TaskSource
from .episodes import check_points, shuffle_points, split_points, take_tasks
from .fixed_sets import ScoredTasks, draw_num_support
from .generators import task_generator


@dataclass
class TaskStream(IterableDataset[FewShotTasks]):
    """The optimizer steps of one replica, without end.

    The tasks of a step are a function of the seed and its number: every replica draws all of them and takes its own,
    so that any number of replicas and workers together see the same.

    Attributes:
        source: Where the tasks come from.
        pool: The training tasks, if they are a given few; None: fresh ones in each step.
        batch_size: Tasks of a step, over all replicas.
        num_support: Fewest and most support points of a task.
        num_query: Query points of a task.
        seed: Seed of the stream.
        num_replicas: Devices that see different tasks.
        replica: Number of this device.
        start: Number of the step the stream begins at.
    """

    source: TaskSource
    pool: Points | None
    batch_size: int
    num_support: tuple[int, int]
    num_query: int
    seed: int
    num_replicas: int
    replica: int
    start: int = 0

    def __iter__(self) -> Iterator[FewShotTasks]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        yield from map(self.batch, itertools.count(self.start + first, stride))

    def batch(self, step: int) -> FewShotTasks:
        """This replica's tasks of a step."""
        generator = task_generator(self.seed, "train", step)
        points = self._points(step, generator)
        num_support_B = draw_num_support(self.num_support, self.batch_size, generator)
        share = self.batch_size // self.num_replicas
        mine = slice(self.replica * share, (self.replica + 1) * share)
        return split_points(
            take_tasks(points, mine),
            num_support_B[mine],
            num_support_B[mine],
            width=self.num_support[1],
            num_query=self.num_query,
        )

    def _points(self, step: int, generator: Generator) -> Points:
        if self.pool is None:
            points = self.source.draw(self.batch_size, self.num_support[1] + self.num_query, generator)
            check_points(points, self.source.name)
            return points
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        _, numbers = ShuffledOrder(len(self.pool.x), self.seed).at(positions)
        return shuffle_points(take_tasks(self.pool, torch.from_numpy(numbers)), generator)


class TaskLoader(DataLoader[FewShotTasks]):
    """Reads a stream from where the run stands, whenever reading starts.

    Args:
        stream: The stream.
        position: Tells the step where the run stands.
        options: As `datamodules.text.streams.loader_options` gives them.
    """

    def __init__(self, stream: TaskStream, position: Callable[[], int], **options: Any) -> None:
        super().__init__(stream, **options)
        self._position = position

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, TaskStream)
        self.dataset.start = self._position()
        return super().__iter__()


@dataclass
class ScoredBatches(Dataset[FewShotTasks]):
    """The same tasks at each reading, in order, in batches as even as can be, the same for any number of devices.

    Attributes:
        tasks: The tasks.
        num_query: Query points of a task.
        batch_size: Most tasks of a batch.
        num_replicas: Devices that share the batches; there are as many for each, as empty ones at the end see to.
    """

    tasks: ScoredTasks
    num_query: int
    batch_size: int
    num_replicas: int

    def __len__(self) -> int:
        return whole_batches(self._num_filled, 1, self.num_replicas)

    def __getitem__(self, number: int) -> FewShotTasks:
        tasks = self.tasks
        parts = torch.arange(len(tasks.num_support_B)).tensor_split(self._num_filled)
        which = parts[number] if number < len(parts) else parts[0][:0]
        return split_points(
            take_tasks(tasks.points, which),
            tasks.num_support_B[which],
            tasks.first_query_B[which],
            width=int(tasks.num_support_B.max()),
            num_query=self.num_query,
        )

    @property
    def _num_filled(self) -> int:
        return whole_batches(len(self.tasks.num_support_B), self.batch_size, 1)


def scored_loader(batches: ScoredBatches, replica: int, **options: Any) -> DataLoader[FewShotTasks]:
    """A loader of every `num_replicas`-th batch."""
    # on one device none: Lightning takes any sampler it does not know for a shuffling one
    sampler: DistributedSampler[FewShotTasks] | None = None
    if batches.num_replicas > 1:
        sampler = DistributedSampler(batches, batches.num_replicas, replica, shuffle=False)
    return DataLoader(batches, sampler=sampler, **options)


@dataclass
class GivenBatches(IterableDataset[FewShotTasks]):
    """Batches that are there, in order. No list: Lightning would share a list among the devices once more.

    Attributes:
        batches: The batches of one replica.
    """

    batches: Sequence[FewShotTasks]

    def __iter__(self) -> Iterator[FewShotTasks]:
        yield from self.batches
