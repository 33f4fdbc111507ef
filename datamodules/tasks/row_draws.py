"""Which tasks, and which of their points, make a batch: draws without replacement whose cost no size changes.

Letters: B tasks, M points of a task, X input width, Y target width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from .base import Points


def draw_tasks(num_there: int, num_wanted: int, generator: Generator) -> np.ndarray:
    """Numbers of `num_wanted` out of `num_there` tasks, in random order: int64[B].

    One from each of `num_wanted` equal shares of the tasks, so all come equally often, as nearly as whole numbers can.
    """
    shares = torch.rand(num_wanted, generator=generator, dtype=torch.float64).numpy() + np.arange(num_wanted)
    chosen = (shares * (num_there / num_wanted)).astype(np.int64).clip(max=num_there - 1)
    return chosen[torch.randperm(num_wanted, generator=generator).numpy()]


def draw_rows(num_there: np.ndarray, num_wanted: int, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """For each task, some of its rows without replacement and in random order.

    Floyd's method (Bentley, Floyd: A sample of brilliance, 1987): its cost does not grow with the rows that are there.

    Args:
        num_there: int64[B], rows of each task, at least 1.
        num_wanted: M.
        generator: Source of the draws.

    Returns:
        Numbers below `num_there`, int64[B, M], and bool[B, M], which of them count: the first ones of a task that has
        fewer than M rows.
    """
    uniforms = torch.rand(2, num_wanted, len(num_there), generator=generator, dtype=torch.float64).numpy()
    num_drawn = np.minimum(num_there, num_wanted)
    chosen = np.full((num_wanted, len(num_there)), -1)
    for number in range(num_wanted):
        last = num_there - num_drawn + number  # rows 0..last stand for choice now
        candidate = (uniforms[0, number] * (last + 1)).astype(np.int64)
        taken = (chosen[:number] == candidate).any(axis=0)
        chosen[number] = np.where(taken, last, candidate)
    mask = np.arange(num_wanted)[:, None] < num_drawn
    order = np.argsort(np.where(mask, uniforms[1], 2.0), axis=0)  # 2: what is missing comes last
    chosen = np.where(mask, np.take_along_axis(chosen, order, axis=0), 0)
    return np.ascontiguousarray(chosen.T), np.ascontiguousarray(mask.T)


def order_queries(points: Points, num_support: int) -> Points:
    """The same points of one input: the first `num_support` stay, those after them are ordered along x."""
    keys = points.x[:, num_support:, 0].masked_fill(~points.mask[:, num_support:], torch.inf)
    order = keys.argsort(dim=1)[..., None]

    def ordered(values: Tensor) -> Tensor:
        head, tail = values[:, :num_support], values[:, num_support:]
        return torch.cat([head, tail.take_along_dim(order, dim=1)], dim=1)

    return Points(ordered(points.x), ordered(points.y), points.mask)
