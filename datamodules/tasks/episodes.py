"""From the points of tasks to support and query points.

Letters: B tasks, M points of a task, N support points, Q query points.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from modules.contracts import FewShotTasks

from .base import Points


def split_points(
    points: Points, num_support_B: Tensor, first_query_B: Tensor, *, width: int, num_query: int
) -> FewShotTasks:
    """The first points of each task as its support, some later ones as its queries. Filler is zero.

    A task with too few points gives its last one as a query, and what is before it as support.

    Args:
        points: The tasks.
        num_support_B: Support points of each task, at most `width`.
        first_query_B: Number of the point where the queries begin, at least `num_support_B`.
        width: N.
        num_query: Q.
    """
    last_B = points.mask.sum(dim=1) - 1
    support_B = torch.minimum(num_support_B, last_B)
    support_index_BN = torch.arange(width).expand(len(last_B), -1)
    query_index_BQ = torch.minimum(first_query_B, last_B)[:, None] + torch.arange(num_query)
    support = _gather(points, support_index_BN, support_index_BN < support_B[:, None])
    query = _gather(points, query_index_BQ, query_index_BQ <= last_B[:, None])
    return FewShotTasks(*support, *query, num_points=int(support.mask.sum() + query.mask.sum()))


def shuffle_points(points: Points, generator: Generator) -> Points:
    """The points of each task in another order; the real ones still come first."""
    keys_BM = torch.rand(points.mask.shape, generator=generator) + 2.0 * ~points.mask
    return _gather(points, keys_BM.argsort(dim=1), points.mask)


def take_tasks(points: Points, which: Tensor | slice) -> Points:
    """Some of the tasks."""
    return Points(points.x[which], points.y[which], points.mask[which])


def check_points(points: Points, name: str) -> None:
    """Refuses points that nothing can be learned from.

    Raises:
        ValueError: Shapes do not fit, an input or target is NaN or infinite, or a task has no points.
    """
    x, y, mask = (tuple(values.shape) for values in points)
    if not (len(x) == len(y) == 3 and x[:2] == y[:2] == mask):
        raise ValueError(
            f"{name}: drawn are x {x}, y {y} and mask {mask}; they must be [tasks, points, inputs], "
            "[tasks, points, targets] and [tasks, points]"
        )
    bad_BM = ~(points.x.isfinite().all(dim=-1) & points.y.isfinite().all(dim=-1))
    if bad_BM.any():
        task, point = bad_BM.nonzero()[0].tolist()
        raise ValueError(
            f"{name}: point {point} of drawn task {task} has x={points.x[task, point].tolist()}, "
            f"y={points.y[task, point].tolist()}: every value must be finite"
        )
    empty_B = ~points.mask.any(dim=1)
    if empty_B.any():
        raise ValueError(f"{name}: drawn task {int(empty_B.nonzero()[0])} has no points, it must have at least one")


def _gather(points: Points, index_BM: Tensor, mask_BM: Tensor) -> Points:
    index_BM1 = index_BM.clamp(max=points.mask.shape[1] - 1)[..., None]
    x, y = (values.take_along_dim(index_BM1, dim=1) * mask_BM[..., None] for values in (points.x, points.y))
    return Points(x, y, mask_BM)
