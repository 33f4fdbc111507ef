"""Targets of many tasks at fixed places, and whether their mean is what it should be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datamodules.tasks import TaskFamily
from datamodules.tasks.generators import task_generator

NUM_TASKS = 20_000


def at(family: TaskFamily, *places: float, seed: int = 0) -> Tensor:
    """Targets [B, M] of many tasks at fixed places."""
    x_BM1 = torch.tensor(places)[:, None].expand(NUM_TASKS, -1, -1)
    return family.targets(x_BM1, task_generator(seed, "targets"))[..., 0]


def assert_mean(values: Tensor, expected: float) -> None:
    """The mean of independent values is what it should be, within four standard errors."""
    error = values.std() / math.sqrt(len(values))
    assert abs(float(values.mean()) - expected) <= 4 * float(error) + 1e-6
