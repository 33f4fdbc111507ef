"""Where few-shot tasks come from.

Letters: B tasks, N support points, M points of a task, Q query points, X input width, Y target width.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from modules.contracts import FewShotTasks, Predictive

SplitName = Literal["train", "val", "test"]


class Points(NamedTuple):
    """B tasks with up to M points each.

    Attributes:
        x: float[B, M, X].
        y: float[B, M, Y].
        mask: bool[B, M]; the real points of a task come first.
    """

    x: Tensor
    y: Tensor
    mask: Tensor


class TaskSource(ABC):
    """Gives tasks. A draw is a function of its arguments and of the state of its generator, and of nothing else.

    Attributes:
        name: What the tasks are, for pictures and tables; the name of the class, if it sets none.
        input_dim: X.
        output_dim: Y.
        spacing: Distance between neighbouring values of discrete, noise-free targets; None where they are continuous.
    """

    name: str
    input_dim: int = 1
    output_dim: int = 1
    spacing: float | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def prepare(self, folder: Path) -> None:  # noqa: B027 (most sources have nothing to prepare)
        """Makes below `folder` what `draw` needs, once; called by one process alone. Instant where it is there."""

    def open(self, folder: Path) -> None:  # noqa: B027
        """Reads what `prepare` made; called by every process before `draw`."""

    @abstractmethod
    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        """Fresh tasks with `num_points` points each (fewer, masked, where a task has no more), in random order."""

    def curves(self, num_tasks: int, num_support: int, num_queries: int, generator: Generator) -> Points | None:
        """Tasks for pictures: `num_support` random points, then `num_queries` points along the x axis in order.

        Only sources with one input can; None: the source has no such tasks, and pictures show drawn points.
        """
        return None

    def oracle(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> Predictive | None:
        """The Bayes-optimal predictive in units of the data, as a learner's `predict`; None: nobody knows it."""
        return None

    def num_tasks(self, split: SplitName) -> int | None:
        """Tasks of a split that differ, after `open`; None: there are ever new ones."""
        return None

    @property
    def num_train_points(self) -> int | None:
        """Points of all training tasks, after `open`; None: there are ever new ones."""
        return None

    def to_predict(self, *, num_tasks: int, num_queries: int) -> Sequence[FewShotTasks]:
        """What `galley predict` is to answer, in batches of `num_tasks` with `num_queries` each; empty: nothing is."""
        return []

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what decides the tasks: class and settings, not the name. Sources with files set their own.

        Raises:
            TypeError: A setting is neither plain data nor an object of such.
        """
        return hashlib.sha256(json.dumps(_settings(self), sort_keys=True).encode()).hexdigest()


class TaskFamily(TaskSource):
    """A generative family: inputs from a distribution, targets from a random function of them.

    Attributes:
        picture_range: Where pictures draw curves: lowest and highest x, those of test tasks.
    """

    picture_range: tuple[float, float]

    @abstractmethod
    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        """Random inputs [B, M, X]."""

    @abstractmethod
    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        """Targets [B, M, Y] of one fresh random function for each task, observation noise included."""

    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        x = self.inputs(num_tasks, num_points, generator, split=split)
        y = self.targets(x, generator)
        return Points(x, y, torch.ones(x.shape[:2], dtype=torch.bool))

    def curves(self, num_tasks: int, num_support: int, num_queries: int, generator: Generator) -> Points | None:
        if self.input_dim > 1:
            return None
        support_x = self.inputs(num_tasks, num_support, generator, split="test")
        grid_x = torch.linspace(*self.picture_range, num_queries)[:, None].expand(num_tasks, -1, -1)
        x = torch.cat([support_x, grid_x], dim=1)
        return Points(x, self.targets(x, generator), torch.ones(x.shape[:2], dtype=torch.bool))


def _settings(value: Any) -> Any:
    """The class and the public attributes of an object, and of what it holds, as plain data."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_settings(item) for item in value]
    if isinstance(value, dict):
        return [[_settings(key), _settings(item)] for key, item in value.items()]
    if not hasattr(value, "__dict__"):
        raise TypeError(
            f"a task source has a setting of type {type(value).__name__}, which has no digest: keep it as a number, "
            "string, list or dict, make it private (a leading underscore), or override `digest`"
        )
    public = {name: _settings(item) for name, item in vars(value).items() if name[0] != "_" and name != "name"}
    return {**public, "class": type(value).__name__}
