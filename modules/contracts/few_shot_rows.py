"""Few-shot tasks whose query points are rows of a user's file that wait for a prediction.

Letters: B tasks, Q query points.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .few_shot import FewShotTasks


@dataclass
class FewShotRows(FewShotTasks):
    """Tasks to predict: `query_y` is filler, and every query says which row it is, so that answers join the file.

    Attributes:
        query_row: int64[B, Q], the row in the file, counted from 0 below the header; -1 where the query is filler.
        task_names: The name of each task, B of them.
    """

    query_row: Tensor
    task_names: list[str]
