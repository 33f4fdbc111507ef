"""Reads a user's table of tasks, and says in one line what is wrong with it.

Letters: R rows, T tasks, X input width, Y target width.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np

from .base import SplitName

if TYPE_CHECKING:
    import pyarrow as pa

FINEST = 1e-2
"""Share of its standard deviation that rounding a column to float32 may move a value by."""


class TaskColumns(NamedTuple):
    """The columns of a table that matter, in the order of the file.

    Attributes:
        names: Names of the T tasks, sorted.
        codes: int32[R], the task of each row, as its place in `names`.
        x: float32[R, X].
        y: float32[R, Y]; zero in rows without targets.
        labelled: bool[R]; False where the targets are empty.
        splits: int8[T], what the split column says of each task, as its place in `SplitName`, -1 of tasks with rows to
            predict that it says nothing of; None without such a column.
    """

    names: list[str]
    codes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    labelled: np.ndarray
    splits: np.ndarray | None


def read_task_columns(
    path: Path, *, task: str, inputs: Sequence[str], targets: Sequence[str], split: str | None
) -> TaskColumns:
    """Reads a CSV or Parquet file.

    Raises:
        ValueError: The file, a column or a value cannot be used; the line says which, and what would be right.
    """
    texts = [task] if split is None else [task, split]
    table = _read(path, texts, [*inputs, *targets])
    if table.num_rows == 0:
        raise ValueError(f"{path}: the file has no rows below its header")
    names, codes = _task_codes(path, table[task], task)
    x = _matrix(path, table, inputs)
    missing_x = np.isnan(x)
    if missing_x.any():
        row, column = np.argwhere(missing_x)[0]
        raise ValueError(
            f"{path}: column {inputs[column]!r} is empty in {missing_x[:, column].sum()} rows, first in row {row} "
            "(from 0): every input needs a value; fill these in or remove the rows"
        )
    y = _matrix(path, table, targets)
    missing = np.isnan(y)
    labelled = ~missing.any(axis=1)
    _check_whole(path, missing, labelled, targets)
    asked = np.bincount(codes[~labelled], minlength=len(names)) > 0
    splits = None if split is None else _task_splits(path, table[split], split, names, codes, asked)
    return TaskColumns(names, codes, x.astype(np.float32), np.nan_to_num(y).astype(np.float32), labelled, splits)


def _read(path: Path, texts: list[str], numbers: list[str]) -> pa.Table:
    import pyarrow as pa

    if not path.is_file():
        raise ValueError(f"path={str(path)!r}: there is no such file (relative paths start from {Path.cwd()})")
    try:
        if path.suffix == ".csv":
            return _read_csv(path, texts, numbers)
        if path.suffix == ".parquet":
            return _read_parquet(path, texts, numbers)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None
    raise ValueError(f"path={str(path)!r}: the name must end with .csv or .parquet")


def _read_csv(path: Path, texts: list[str], numbers: list[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError(f"{path}: the file is empty: its first line must name the columns")
    with csv.open_csv(path) as reader:
        _check_columns(path, [*texts, *numbers], reader.schema.names)
    options = csv.ConvertOptions(
        include_columns=[*texts, *numbers],
        column_types={name: pa.string() for name in texts},  # a task named 007 is not the task 7
        null_values=[""],  # a NaN that somebody wrote is a mistake, an empty target is a question
        strings_can_be_null=True,
    )
    return csv.read_csv(path, convert_options=options)


def _read_parquet(path: Path, texts: list[str], numbers: list[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet

    _check_columns(path, [*texts, *numbers], parquet.read_schema(path).names)
    table = parquet.read_table(path, columns=[*texts, *numbers])
    for name in texts:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.string()))
    return table


def _check_columns(path: Path, wanted: list[str], there: list[str]) -> None:
    for name in wanted:
        if there.count(name) > 1:
            raise ValueError(f"{path}: {there.count(name)} columns are named {name!r}: rename all but one")
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}? It has" if near else "it has"
            raise ValueError(f"{path}: there is no column {name!r}: {hint} {', '.join(there)}")


def _task_codes(path: Path, column: pa.ChunkedArray, name: str) -> tuple[list[str], np.ndarray]:
    """Sorted names, so that the order of the rows does not matter to the order of the tasks, and int32[R]."""
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise ValueError(
            f"{path}: column {name!r} is empty in {column.null_count} rows, first in row {row} (from 0): "
            "every row needs the name of its task"
        )
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int32)
    place[order] = np.arange(len(names), dtype=np.int32)
    return [names[number] for number in order], place[encoded.indices.to_numpy(zero_copy_only=False)]


def _matrix(path: Path, table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """float64[R, columns]; NaN where a value is missing, and nowhere else."""
    columns = [_numbers(path, table[name], name) for name in names]
    return np.stack(columns, axis=1)


def _numbers(path: Path, column: pa.ChunkedArray, name: str) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise ValueError(f"{path}: column {name!r} {_not_a_number(column)}: inputs and targets must be numbers")
    there = ~column.is_null().to_numpy()
    values = column.cast(pa.float64(), safe=False).to_numpy()
    bad = there & ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{path}: column {name!r} is not finite in {bad.sum()} rows, first in row {row} (from 0), where it is "
            f"{values[row]}: remove these rows; only an empty target asks for a prediction"
        )
    _check_resolution(path, name, values[there])
    return values


def _not_a_number(column: pa.ChunkedArray) -> str:
    """What stands in a column that is no column of numbers."""
    for row, value in enumerate(column.to_pylist() if str(column.type) == "string" else ()):
        if value is not None and not _reads_as_number(value):
            return f"is {value!r} in row {row} (from 0)"
    return f"holds {column.type}"


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_resolution(path: Path, name: str, values: np.ndarray) -> None:
    """Refuses columns whose values run together in float32, as times in seconds since 1970 do."""
    if not values.size:
        return
    with np.errstate(over="ignore"):
        moved = float(np.abs(values - values.astype(np.float32)).max())
    spread = float(values.std())
    if moved > FINEST * spread and spread > 0:
        raise ValueError(
            f"{path}: column {name!r} has values near {values.mean():.6g} that differ by only {spread:.3g} (standard "
            "deviation): float32 cannot hold the difference; subtract a constant, or use a larger unit"
        )


def _check_whole(path: Path, missing: np.ndarray, labelled: np.ndarray, targets: Sequence[str]) -> None:
    halves = ~labelled & ~missing.all(axis=1)
    if halves.any():
        row = int(np.argmax(halves))
        empty = [name for name, absent in zip(targets, missing[row], strict=True) if absent]
        raise ValueError(
            f"{path}: row {row} (from 0) has some targets but not {', '.join(empty)} ({halves.sum()} rows are like "
            "this): give all targets of a row, or none to have them predicted"
        )


def _task_splits(
    path: Path, column: pa.ChunkedArray, name: str, tasks: list[str], codes: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """The split of each task, int8[T]; -1 of tasks with rows to predict where not all rows say one: they need none."""
    import pyarrow as pa
    from pyarrow import compute

    places = compute.fill_null(compute.index_in(column, value_set=pa.array(get_args(SplitName))), -1)
    row_splits = places.to_numpy().astype(np.int8)
    counted = ~asked[codes]
    if (unknown := counted & (row_splits < 0)).any():
        row = int(np.argmax(unknown))
        raise ValueError(
            f"{path}: column {name!r} is {column[row].as_py()!r} in row {row} (from 0): say train, val or test"
        )
    splits = np.full(len(tasks), -1, dtype=np.int8)
    splits[codes] = row_splits
    unclear = codes[row_splits != splits[codes]]
    splits[unclear[asked[unclear]]] = -1
    if (torn := counted & (row_splits != splits[codes])).any():
        row = int(np.argmax(torn))
        raise ValueError(
            f"{path}: column {name!r} is {column[row].as_py()!r} in row {row} (from 0) and something else in other "
            f"rows of task {tasks[codes[row]]!r}: all rows of a task belong to one split"
        )
    return splits
