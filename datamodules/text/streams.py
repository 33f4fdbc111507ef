"""Datasets of whole batches: an endless stream of training steps, and held-out batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from modules.contracts import RaggedText

from .masked_batches import MaskedExamples
from .masking_rate import MaskingRate
from .order import ShuffledOrder

PREFETCH_BATCHES = 4


@dataclass
class TrainingStream(IterableDataset[list[RaggedText]]):
    """The optimizer steps of one replica, without end, each the list of its micro-batches.

    In a step that begins at position p, micro-batch k of replica r holds the positions from
    `p + (k * num_replicas + r) * micro_batch_size`, so any number of replicas, micro-batches and workers together see
    the same examples in each step. As a batch of the Trainer is a whole step, nothing that it counts, saves or restores
    can fall between two micro-batches.

    Attributes:
        batches: Builds the micro-batches.
        batch_size: Examples of a step, over all replicas.
        order: Which example stands at a position.
        rate: Masking rate at a position.
        num_replicas: Devices that see different data.
        replica: Number of this device.
        start: Global position the stream begins at.
    """

    batches: MaskedExamples
    batch_size: int
    order: ShuffledOrder
    rate: MaskingRate
    num_replicas: int
    replica: int
    start: int = 0

    def __iter__(self) -> Iterator[list[RaggedText]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in itertools.count(first, step):
            yield self._step(self.start + number * self.batch_size)

    def _step(self, position: int) -> list[RaggedText]:
        size, rate = self.batches.micro_batch_size, self.rate.at(position)
        firsts = range(position + self.replica * size, position + self.batch_size, self.num_replicas * size)
        drawn = (self.order.at(np.arange(first, first + size)) for first in firsts)
        return [self.batches.build(examples, epochs, rate) for epochs, examples in drawn]


class StreamLoader(DataLoader[list[RaggedText]]):
    """Reads a training stream from where the run stands, whenever reading starts.

    Args:
        stream: The stream.
        position: Tells the global position where the run stands.
        options: As `loader_options` gives them.
    """

    def __init__(self, stream: TrainingStream, position: Callable[[], int], **options: Any) -> None:
        super().__init__(stream, **options)
        self._position = position

    def __iter__(self) -> Any:
        assert isinstance(self.dataset, TrainingStream)
        self.dataset.start = self._position()
        return super().__iter__()


@dataclass
class EvaluationBatches(Dataset[RaggedText]):
    """All examples of a split in order, with the same masks at each reading.

    Attributes:
        batches: Builds the micro-batches.
        rate: Masking rate.
        num_replicas: Devices that share the batches; empty batches are added until each has the same number.
    """

    batches: MaskedExamples
    rate: float
    num_replicas: int

    def __len__(self) -> int:
        return whole_batches(len(self.batches.examples), self.batches.micro_batch_size, self.num_replicas)

    def __getitem__(self, number: int) -> RaggedText:
        first = number * self.batches.micro_batch_size
        examples = np.arange(first, max(first, min(first + self.batches.micro_batch_size, len(self.batches.examples))))
        return self.batches.build(examples, np.zeros_like(examples), self.rate)


def loader_options(num_workers: int, seed: int, pin_memory: bool) -> dict[str, Any]:
    """Options of all loaders: whole batches, and their own generator, which leaves the global random state alone."""
    return {
        "batch_size": None,
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        "generator": torch.Generator().manual_seed(seed),
        "prefetch_factor": PREFETCH_BATCHES if num_workers else None,
    }


def ordered_loader(
    dataset: Dataset[RaggedText], num_replicas: int, replica: int, **options: Any
) -> DataLoader[RaggedText]:
    """A loader of every `num_replicas`-th batch in order."""
    # on one device none: Lightning takes any sampler it does not know for a shuffling one
    sampler: DistributedSampler[RaggedText] | None = None
    if num_replicas > 1:
        sampler = DistributedSampler(dataset, num_replicas, replica, shuffle=False)
    return DataLoader(dataset, sampler=sampler, **options)


def whole_batches(num_examples: int, micro_batch_size: int, num_replicas: int) -> int:
    """Micro-batches that hold so many examples and that devices can share evenly; the last ones may be empty."""
    return -(-num_examples // (micro_batch_size * num_replicas)) * num_replicas
