"""Few-shot regression as it travels between data, recipe and learner.

Letters: B tasks, N support points, Q query points, X input width, Y target width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one

from .predictive import Predictive


@dataclass
class FewShotTasks:
    """B tasks, each some labelled support points and some query points of one unknown function.

    Points where a mask is False are filler: their values are finite, and nothing may depend on them. N may be 0.

    Attributes:
        support_x: float[B, N, X].
        support_y: float[B, N, Y].
        support_mask: bool[B, N].
        query_x: float[B, Q, X].
        query_y: float[B, Q, Y].
        query_mask: bool[B, Q].
        num_points: Points that are no filler, support and query together: nobody waits for the device to know it.
    """

    support_x: Tensor
    support_y: Tensor
    support_mask: Tensor
    query_x: Tensor
    query_y: Tensor
    query_mask: Tensor
    num_points: int

    def points(self) -> tuple[Tensor, Tensor, Tensor]:
        """Support and query points as one set: x [B, N+Q, X], y [B, N+Q, Y], mask [B, N+Q]."""
        return (
            torch.cat([self.support_x, self.query_x], dim=1),
            torch.cat([self.support_y, self.query_y], dim=1),
            torch.cat([self.support_mask, self.query_mask], dim=1),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FewShotTasks:
        """The same tasks on another device (Lightning calls this)."""
        return replace(self, **{k: v.to(device, non_blocking=non_blocking) for k, v in self._tensors().items()})

    def pin_memory(self) -> FewShotTasks:
        """The same tasks in page-locked memory (the DataLoader calls this)."""
        return replace(self, **{k: v.pin_memory() for k, v in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Scaling:
    """Affine map between the units of the data and those in which learners work (about zero mean, unit variance).

    Attributes:
        x_mean: float[X], in units of the data.
        x_scale: float[X], positive.
        y_mean: float[Y].
        y_scale: float[Y], positive.
    """

    x_mean: Tensor
    x_scale: Tensor
    y_mean: Tensor
    y_scale: Tensor

    @classmethod
    def identity(cls, input_dim: int, output_dim: int) -> Scaling:
        """The map that changes nothing."""
        x, y = torch.zeros(input_dim), torch.zeros(output_dim)
        return cls(x, x + 1, y, y + 1)

    def x(self, x: Tensor) -> Tensor:
        """Inputs [..., X] in the units of learners."""
        return (x - self.x_mean) / self.x_scale

    def y(self, y: Tensor) -> Tensor:
        """Targets [..., Y] in the units of learners."""
        return (y - self.y_mean) / self.y_scale

    def tasks(self, tasks: FewShotTasks) -> FewShotTasks:
        """The same tasks in the units of learners."""
        return replace(
            tasks,
            support_x=self.x(tasks.support_x),
            support_y=self.y(tasks.support_y),
            query_x=self.x(tasks.query_x),
            query_y=self.y(tasks.query_y),
        )


@dataclass(frozen=True)
class FewShotProblem:
    """What a recipe must know of the tasks that a DataModule gives; there after its `setup`.

    Attributes:
        name: What the tasks are, for pictures and tables: "floor", "my_sensors.csv".
        input_dim: X.
        output_dim: Y.
        scaling: Estimated from training tasks alone.
        spacing: Distance between neighbouring values of discrete, noise-free targets, for which a density has no bound
            and log-loss is asked instead; None where targets are continuous.
    """

    name: str
    input_dim: int
    output_dim: int
    scaling: Scaling
    spacing: float | None = None


class FewShotLearner(nn.Module, ABC):
    """Learns from many tasks to predict a new one from its support points. Works in scaled units (`Scaling`).

    Args:
        input_dim: X.
        output_dim: Y.

    Raises:
        ValueError: A width is below 1.
    """

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        check_at_least_one(input_dim=input_dim, output_dim=output_dim)
        self.input_dim = input_dim
        self.output_dim = output_dim

    @abstractmethod
    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        """What training minimises, in nats per point: the mean over tasks of each task's loss divided by its points.

        Args:
            tasks: A batch of tasks.
            generator: Source of everything random, on the device of the tasks.

        Returns:
            A scalar.
        """

    @abstractmethod
    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> Predictive:
        """The predictive distribution of the targets, observation noise included, at the query points.

        Args:
            support_x: float[B, N, X]; N may be 0: the prior predictive.
            support_y: float[B, N, Y].
            support_mask: bool[B, N].
            query_x: float[B, Q, X].
            num_samples: Monte-Carlo draws of learners whose predictive is no closed form; the others need none.
            generator: Source of everything random, on the device of the tasks.
        """
