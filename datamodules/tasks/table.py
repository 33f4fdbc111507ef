"""A user's own table of tasks: a CSV or Parquet file with a column that says which task a row belongs to.

Letters: B tasks, N support points, M points of a task, Q query points, T all tasks, R rows, X and Y widths.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Generator, Tensor

from datamodules.text.atomic import sha256_of
from modules.contracts import FewShotRows

from .base import Points, SplitName, TaskSource
from .row_draws import draw_rows, draw_tasks, order_queries
from .table_file import read_task_columns

PAIRS_AT_ONCE = 2**22
"""Most pairs of support points, filler included, in a batch to predict: what learners need memory for."""


class TabularTasks(TaskSource):
    """Tasks from a table. A row is a point: the name of its task, the inputs, the targets.

    A row with empty targets is a question, to be predicted from all rows of its task that have targets. A task with at
    least two of these belongs to one split: to the one its split column says, or else to the one that follows from its
    name alone (`split_of`), so that it stays where it is when tasks come or go.

    Args:
        path: A .csv or .parquet file.
        task: The column with the names of the tasks.
        inputs: The columns that targets are predicted from, all numbers.
        targets: The columns to predict, all numbers; empty in rows that wait for a prediction.
        split: A column that says "train", "val" or "test"; None: the names of the tasks decide. Tasks with questions
            may leave it empty, and are then in no split.
        val_share: Share of the tasks that is for validation, if the names decide.
        test_share: Share of the tasks that is for the test, if the names decide.
        min_rows: Tasks with fewer rows with targets are in no split; None: a task with one row is an error.

    Raises:
        ValueError: A column is named twice or not at all, or a number is out of range. The file itself is looked at by
            `open`.
    """

    def __init__(
        self,
        path: str,
        *,
        task: str,
        inputs: list[str],
        targets: list[str],
        split: str | None = None,
        val_share: float = 0.15,
        test_share: float = 0.15,
        min_rows: int | None = None,
    ) -> None:
        columns = [task, *inputs, *targets, *([] if split is None else [split])]
        for kind, names in (("inputs", inputs), ("targets", targets)):
            if not names:
                raise ValueError(f"{kind}=[] must name at least one column of {path}")
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"column {column!r} is named twice: task, inputs, targets and split must differ")
        if not (val_share >= 0 and test_share >= 0 and val_share + test_share < 1):
            raise ValueError(f"val_share={val_share} and test_share={test_share} must be at least 0, together below 1")
        if min_rows is not None and min_rows < 2:
            raise ValueError(f"min_rows={min_rows} must be at least 2: one point to learn from and one to predict")
        self.path = path
        self.task = task
        self.inputs = inputs
        self.targets = targets
        self.split = split
        self.val_share = val_share
        self.test_share = test_share
        self.min_rows = min_rows
        self.name = Path(path).name
        self.input_dim = len(inputs)
        self.output_dim = len(targets)

    def prepare(self, folder: Path) -> None:
        """Nothing is prepared, but mistakes in the file show before any process starts."""
        self.open(folder)

    def open(self, folder: Path) -> None:
        """Reads the file into memory: 4 bytes a value and 8 a row.

        Raises:
            ValueError: File, column, task or value cannot be used.
        """
        path = Path(self.path)
        columns = read_task_columns(path, task=self.task, inputs=self.inputs, targets=self.targets, split=self.split)
        num_tasks = len(columns.names)
        # rows of a task together, labelled ones first, in the order of the file
        self._file_rows = np.argsort(columns.codes.astype(np.int64) * 2 + ~columns.labelled, kind="stable")
        self._x = torch.from_numpy(columns.x[self._file_rows])
        self._y = torch.from_numpy(columns.y[self._file_rows])
        self._num_rows = np.bincount(columns.codes, minlength=num_tasks)
        self._num_labelled = np.bincount(columns.codes[columns.labelled], minlength=num_tasks)
        self._first_row = np.cumsum(self._num_rows) - self._num_rows
        self._names = columns.names
        self._asked = np.flatnonzero(self._num_labelled < self._num_rows)
        usable = self._usable(path)
        splits = self._splits_by_name(usable) if columns.splits is None else columns.splits
        self._tasks = {name: usable[splits[usable] == number] for number, name in enumerate(get_args(SplitName))}
        self._content = sha256_of(path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's content and of how it is read, wherever it lies; there after `open`."""
        read = [self.task, self.inputs, self.targets, self.split, self.val_share, self.test_share, self.min_rows]
        return hashlib.sha256(json.dumps([self._content, *read]).encode()).hexdigest()

    def num_tasks(self, split: SplitName) -> int:
        return len(self._tasks[split])

    @property
    def num_train_points(self) -> int:
        return int(self._num_labelled[self._tasks["train"]].sum())

    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        """Tasks of the split, each as often as any other, and random labelled rows of each without replacement.

        Raises:
            ValueError: No task is in the split.
        """
        numbers = self._tasks[split]
        if not len(numbers):
            raise ValueError(f"{self.path}: no task is in the split {split!r}: {self._way_out(split)}")
        chosen = numbers[draw_tasks(len(numbers), num_tasks, generator)]
        offsets_BM, mask_BM = draw_rows(self._num_labelled[chosen], num_points, generator)
        return self._points(self._first_row[chosen][:, None] + offsets_BM, mask_BM)

    def curves(self, num_tasks: int, num_support: int, num_queries: int, generator: Generator) -> Points | None:
        """Random rows of tasks of the validation split, the queries ordered along x; only for one input."""
        if self.input_dim > 1:
            return None
        split: SplitName = "val" if len(self._tasks["val"]) else "train"
        return order_queries(self.draw(num_tasks, num_support + num_queries, generator, split=split), num_support)

    def to_predict(self, *, num_tasks: int, num_queries: int) -> list[FewShotRows]:
        """The rows without targets, each with the labelled rows of its task; an empty list where no target is empty.

        Args:
            num_tasks: B, most tasks of a batch; fewer where they have many labelled rows.
            num_queries: Q, rows to predict of a task in a batch; a task with more rows comes again with the rest.
        """
        pieces = [
            (int(number), first)
            for number in self._asked
            for first in range(self._num_labelled[number], self._num_rows[number], num_queries)
        ]
        return [self._questions(batch, num_queries) for batch in self._batches(pieces, num_tasks)]

    def _batches(self, pieces: Sequence[tuple[int, int]], num_tasks: int) -> list[list[tuple[int, int]]]:
        """Cuts the pieces, in order, into batches: all tasks of one are padded to its largest support."""
        batches: list[list[tuple[int, int]]] = []
        largest = 0
        for piece in pieces:
            num_labelled = int(self._num_labelled[piece[0]])
            largest = max(largest, num_labelled)
            fits = batches and len(batches[-1]) < num_tasks and (len(batches[-1]) + 1) * largest**2 <= PAIRS_AT_ONCE
            if not fits:
                batches.append([])
                largest = num_labelled
            batches[-1].append(piece)
        return batches

    def _questions(self, pieces: Sequence[tuple[int, int]], num_queries: int) -> FewShotRows:
        numbers, first = np.array(pieces).T
        num_support = self._num_labelled[numbers]
        num_asked = np.minimum(self._num_rows[numbers] - first, num_queries)
        support_BN, support_mask_BN = _ranges(self._first_row[numbers], num_support)
        query_BQ, query_mask_BQ = _ranges(self._first_row[numbers] + first, num_asked)
        support, query = self._points(support_BN, support_mask_BN), self._points(query_BQ, query_mask_BQ)
        rows_BQ = np.where(query_mask_BQ, self._file_rows[query_BQ], -1)
        return FewShotRows(
            *support,
            *query,
            num_points=int(num_support.sum() + num_asked.sum()),
            query_row=torch.from_numpy(rows_BQ),
            task_names=[self._names[number] for number in numbers],
        )

    def _points(self, rows_BM: np.ndarray, mask_BM: np.ndarray) -> Points:
        rows, mask = torch.from_numpy(rows_BM), torch.from_numpy(mask_BM)

        def gather(values: Tensor) -> Tensor:
            return values[rows].masked_fill(~mask[..., None], 0.0)

        return Points(gather(self._x), gather(self._y), mask)

    def _usable(self, path: Path) -> np.ndarray:
        """Numbers of the tasks to train and test with."""
        answered = self._num_labelled == self._num_rows
        short = np.flatnonzero(answered & (self._num_rows < 2))
        if self.min_rows is None and len(short):
            raise ValueError(
                f"{path}: task {self._names[short[0]]!r} has 1 row ({len(short)} tasks are like this), and a task "
                "needs at least 2: remove them from the file, or set min_rows=2 to leave them out"
            )
        return np.flatnonzero(self._num_labelled >= (self.min_rows or 2))

    def _splits_by_name(self, usable: np.ndarray) -> np.ndarray:
        splits = np.zeros(len(self._names), dtype=np.int8)
        for number in usable:
            split = split_of(self._names[number], val_share=self.val_share, test_share=self.test_share)
            splits[number] = get_args(SplitName).index(split)
        return splits

    def _way_out(self, split: SplitName) -> str:
        num_usable = sum(len(numbers) for numbers in self._tasks.values())
        if self.split:
            return f"write {split!r} into column {self.split!r} of some tasks"
        if split != "train" and num_usable:
            share = getattr(self, f"{split}_share")
            return f"{split}_share={share} of {num_usable} tasks came to none; raise it, or give a split column"
        return f"{num_usable} tasks have at least {self.min_rows or 2} rows with targets; bring more tasks"


def split_of(name: str, *, val_share: float, test_share: float) -> SplitName:
    """The split of a task, a function of its name alone.

    The first eight bytes of the SHA-256 of the name, as a big-endian share of 2**64: below `test_share` is test, the
    next `val_share` is val, the rest train.
    """
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def _ranges(first: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive numbers from `first`, int64[B, longest], and which of them are within `lengths`."""
    steps = np.arange(lengths.max(initial=0))
    mask = steps < lengths[:, None]
    return np.where(mask, first[:, None] + steps, 0), mask
