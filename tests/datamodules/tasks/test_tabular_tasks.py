"""A user's table: which rows come, in which split, what is to be predicted, and what is said of mistakes."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import FewShotData
from datamodules.tasks import SplitName, TabularTasks
from datamodules.tasks.table import split_of
from modules.contracts import FewShotRows

NUM_TASKS = 40
ROWS_PER_TASK = 6
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made_up_rows() -> list[tuple[str, float, float]]:
    """y = 100 task + x, so that a point tells its task; shuffled, so that tasks lie scattered."""
    rows = [(f"s{task:02d}", float(x), 100.0 * task + x) for task in range(NUM_TASKS) for x in range(ROWS_PER_TASK)]
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


def write_csv(path: Path, rows: Sequence[Sequence[object]], header: str = "sensor,x,y") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def opened(path: Path, **options: object) -> TabularTasks:
    arguments: dict[str, object] = {"task": "sensor", "inputs": ["x"], "targets": ["y"]} | options
    tasks = TabularTasks(str(path), **arguments)  # type: ignore[arg-type]
    tasks.open(path.parent)
    return tasks


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "sensors.csv", made_up_rows())


def tasks_of(tasks: TabularTasks, split: SplitName) -> set[int]:
    return set((tasks.draw(400, 1, generator(), split=split).y.flatten() // 100).int().tolist())


def test_points_of_a_task_are_its_own_rows(table: Path) -> None:
    points = opened(table).draw(30, 4, generator())
    task = points.y // 100
    assert points.x.shape == points.y.shape == (30, 4, 1)
    assert points.mask.all()
    assert torch.equal(task, task[:, :1].expand_as(task))
    assert torch.equal(points.y, 100 * task + points.x)
    assert (points.x.sort(dim=1).values.diff(dim=1) > 0).all()  # no row twice


def test_splits_share_no_task_and_follow_the_names(table: Path) -> None:
    tasks = opened(table)
    found = {split: tasks_of(tasks, split) for split in SPLITS}
    assert found["train"] | found["val"] | found["test"] == set(range(NUM_TASKS))
    assert sum(len(numbers) for numbers in found.values()) == NUM_TASKS
    assert tasks.num_train_points == ROWS_PER_TASK * len(found["train"])
    for split, numbers in found.items():
        assert all(split_of(f"s{n:02d}", val_share=0.15, test_share=0.15) == split for n in numbers)
    # pinned: the SHA-256 of these names begins with 1d7a and 3402, 0.115 and 0.203 of the way to ffff
    assert split_of("s13", val_share=0.15, test_share=0.15) == "test"
    assert split_of("s07", val_share=0.15, test_share=0.15) == "val"
    shares = [split_of(str(n), val_share=0.2, test_share=0.1) for n in range(5000)]
    assert abs(shares.count("val") / 5000 - 0.2) < 0.03
    assert abs(shares.count("test") / 5000 - 0.1) < 0.03


def test_split_column_decides(tmp_path: Path) -> None:
    names = {task: SPLITS[task % 3] for task in range(NUM_TASKS)}
    rows = [(s, x, y, names[int(y // 100)]) for s, x, y in made_up_rows()]
    tasks = opened(write_csv(tmp_path / "t.csv", rows, "sensor,x,y,part"), split="part")
    for split in SPLITS:
        assert tasks_of(tasks, split) == {task for task, name in names.items() if name == split}


def test_draws_depend_on_the_generator_alone(table: Path) -> None:
    first, second = opened(table), opened(table)
    assert torch.equal(first.draw(9, 3, generator()).y, second.draw(9, 3, generator()).y)
    assert not torch.equal(first.draw(9, 3, generator(1)).y, second.draw(9, 3, generator(2)).y)


def test_order_of_rows_changes_digest_but_not_splits(table: Path, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "sorted.csv", sorted(made_up_rows()))
    assert opened(table).digest != opened(other).digest
    assert tasks_of(opened(table), "val") == tasks_of(opened(other), "val")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(table.read_bytes())
    assert opened(copy).digest == opened(table).digest
    assert opened(table, val_share=0.3).digest != opened(table).digest


def test_parquet_equals_csv(table: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    path = table.with_suffix(".parquet")
    read = csv.read_csv(table)
    parquet.write_table(read.set_column(0, "sensor", read["sensor"].cast(pa.string())), path, row_group_size=7)
    ours, theirs = opened(table).draw(9, 5, generator()), opened(path).draw(9, 5, generator())
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_names_are_texts_and_short_tasks_are_masked(tmp_path: Path) -> None:
    rows = [("007", 1, 1), ("007", 2, 1), ("7", 1, 2), ("7", 2, 2), ("7", 3, 2)]
    points = opened(write_csv(tmp_path / "t.csv", rows), val_share=0, test_share=0).draw(2, 4, generator())
    assert sorted(points.mask.sum(dim=1).tolist()) == [2, 3]
    assert sorted(points.y[:, 0, 0].tolist()) == [1.0, 2.0]
    assert points.x[~points.mask].abs().sum() == 0


def test_duplicates_and_large_scales_train_to_finite_units(tmp_path: Path) -> None:
    rows = [(f"s{task}", x // 2, 1e6 * (task + x)) for task in range(30) for x in range(8)]
    path = write_csv(tmp_path / "t.csv", rows)
    data = FewShotData(
        TabularTasks(str(path), task="sensor", inputs=["x"], targets=["y"]),
        num_support=3, num_query=3, num_val_tasks=8, num_test_tasks=8, folder=str(tmp_path),
    )  # fmt: skip
    data.prepare_data()
    data.setup("fit")
    batch = data.problem.scaling.tasks(next(iter(data.train_dataloader())))
    assert batch.support_y.isfinite().all()
    assert 0.3 < batch.support_y.std() < 3
    assert data.problem.name == "t.csv"
    assert data.unique_units == data.tasks.num_train_points


def asked_rows() -> list[tuple[str, object, object]]:
    """Two sensors with questions: `new` with two readings and three questions, `mute` with questions alone."""
    new = [("new", 0, 7), ("new", 1, ""), ("new", 2, 8), ("new", 3, ""), ("new", 4, "")]
    return [*made_up_rows()[:100], *new, *made_up_rows()[100:], ("mute", 5, ""), ("mute", 6, "")]


def test_rows_without_targets_are_questions_to_their_task(tmp_path: Path) -> None:
    tasks = opened(write_csv(tmp_path / "t.csv", asked_rows()))
    (batch,) = tasks.to_predict(num_tasks=10, num_queries=50)
    assert batch.task_names == ["mute", "new"]
    assert batch.support_mask.sum(dim=1).tolist() == [0, 2]
    assert batch.support_x[1, :, 0].tolist() == [0.0, 2.0]
    assert batch.support_y[1, :, 0].tolist() == [7.0, 8.0]
    assert batch.query_row[batch.query_mask].tolist() == [245, 246, 101, 103, 104]
    assert batch.query_x[batch.query_mask].flatten().tolist() == [5.0, 6.0, 1.0, 3.0, 4.0]
    assert batch.query_row[~batch.query_mask].tolist() == [-1]
    assert batch.num_points == 7
    moved = batch.to("cpu")
    assert isinstance(moved, FewShotRows)
    assert moved.task_names == batch.task_names
    drawn = [tasks.draw(200, 6, generator(), split=split) for split in SPLITS]
    assert sum(bool(((points.y == 7.0) & (points.x == 0.0)).any()) for points in drawn) == 1  # `new` has a split


def test_tasks_with_questions_need_no_split(tmp_path: Path) -> None:
    rows = [("a", 0, 1, "train"), ("a", 1, 2, "train"), ("b", 0, 3, "val"), ("b", 1, 4, "val"), ("b", 2, "", "val")]
    silent = [("c", 0, 5, ""), ("c", 1, 6, ""), ("c", 2, "", "")]
    unclear = [("d", 0, 7, "test"), ("d", 1, 8, ""), ("d", 2, "", "")]
    tasks = opened(write_csv(tmp_path / "t.csv", [*rows, *silent, *unclear], "sensor,x,y,part"), split="part")
    assert [tasks.num_tasks(split) for split in SPLITS] == [1, 1, 0]
    (batch,) = tasks.to_predict(num_tasks=9, num_queries=9)
    assert batch.task_names == ["b", "c", "d"]


def test_one_large_support_does_not_pad_all_tasks(tmp_path: Path) -> None:
    rows = [(f"s{task}", x, x) for task in range(6) for x in range(3000 if task == 2 else 3)]
    questions = [(f"s{task}", -1, "") for task in range(6)]
    batches = opened(write_csv(tmp_path / "t.csv", [*rows, *questions])).to_predict(num_tasks=4, num_queries=2)
    assert [batch.task_names for batch in batches] == [["s0", "s1"], ["s2"], ["s3", "s4", "s5"]]
    assert [batch.support_x.shape[1] for batch in batches] == [3, 3000, 3]


def test_many_questions_come_in_pieces(tmp_path: Path) -> None:
    batches = opened(write_csv(tmp_path / "t.csv", asked_rows())).to_predict(num_tasks=2, num_queries=2)
    assert [batch.task_names for batch in batches] == [["mute", "new"], ["new"]]
    rows = [row for batch in batches for row in batch.query_row[batch.query_mask].tolist()]
    assert sorted(rows) == [101, 103, 104, 245, 246]
    assert batches[1].support_y.flatten().tolist() == [7.0, 8.0]
    assert opened(write_csv(tmp_path / "none.csv", made_up_rows())).to_predict(num_tasks=2, num_queries=2) == []


GOOD = [("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("b", 2, 4)]
MISTAKES: dict[str, tuple[Sequence[tuple[object, ...]], dict[str, object], str]] = {
    "unknown column": (GOOD, {"inputs": ["X"]}, r"no column 'X': it has sensor, x, y"),
    "misspelled column": (GOOD, {"task": "senser"}, r"no column 'senser': did you mean 'sensor'\? It has"),
    "word": ([*GOOD, ("b", "warm", 1)], {}, r"column 'x' is 'warm' in row 4 \(from 0\): inputs and targets must be nu"),
    "nan target": ([*GOOD, ("b", 3, "nan")], {}, r"column 'y' is not finite in 1 rows, first in row 4 .*it is nan"),
    "infinite input": ([("a", "inf", 1), *GOOD], {}, r"column 'x' is not finite in 1 rows, first in row 0 .*it is inf"),
    "empty input": ([*GOOD, ("b", "", 1)], {}, r"column 'x' is empty in 1 rows, first in row 4 \(from 0\)"),
    "no name": ([*GOOD, ("", 1, 1)], {}, r"column 'sensor' is empty in 1 rows, first in row 4"),
    "one row": ([*GOOD, ("c", 1, 1)], {}, r"task 'c' has 1 row \(1 tasks are like this\).*set min_rows=2"),
    "no rows": ([], {}, r"no rows below its header"),
    "ragged": ([*GOOD, ("b", 1, 2, 3)], {}, r"Expected 3 columns, got 4"),
    "time": ([("a", 1.7e9 + i, i) for i in range(9)], {}, r"column 'x' has values near 1.7e\+09 that differ by only 2"),
    "column twice": (GOOD, {"split": "y"}, r"named twice"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake: str, tmp_path: Path) -> None:
    rows, options, line = MISTAKES[mistake]
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(ValueError, match=line) as error:
        opened(path, **options)
    assert "\n" not in str(error.value)


def test_mistakes_of_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        opened(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match="the file is empty"):
        opened(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"must end with \.csv or \.parquet"):
        opened(write_csv(tmp_path / "t.txt", GOOD))
    with pytest.raises(ValueError, match="2 columns are named 'x'"):
        opened(write_csv(tmp_path / "t.csv", [("a", 1, 1, 2)], "sensor,x,x,y"))
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"t\.parquet: "):
        opened(tmp_path / "t.parquet")


def test_mistakes_of_splits_and_targets(tmp_path: Path) -> None:
    header = "sensor,x,y,part"
    unknown = write_csv(tmp_path / "unknown.csv", [("a", 1, 1, "train"), ("a", 2, 2, "dev")], header)
    with pytest.raises(ValueError, match=r"column 'part' is 'dev' in row 1 .*say train, val or test"):
        opened(unknown, split="part")
    torn = write_csv(tmp_path / "torn.csv", [("a", 1, 1, "train"), ("a", 2, 2, "val")], header)
    with pytest.raises(ValueError, match="of task 'a': all rows of a task belong to one split"):
        opened(torn, split="part")
    half = write_csv(tmp_path / "half.csv", [("a", 1, 1, 5), ("a", 2, 2, "")], header)
    with pytest.raises(ValueError, match=r"row 1 .* has some targets but not part"):
        opened(half, targets=["y", "part"])
    with pytest.raises(ValueError, match=r"no task is in the split 'val': val_share=0.0 of 2 tasks came to none"):
        opened(write_csv(tmp_path / "t.csv", GOOD), val_share=0.0, test_share=0.0).draw(1, 1, generator(), split="val")
    with pytest.raises(ValueError, match=r"val_share=0.6 and test_share=0.6"):
        opened(tmp_path / "t.csv", val_share=0.6, test_share=0.6)


def test_min_rows_leaves_out_short_tasks(tmp_path: Path) -> None:
    rows = [*GOOD, ("c", 1, 9), *[("d", i, 5) for i in range(4)]]
    path = write_csv(tmp_path / "t.csv", rows)
    kept = opened(path, min_rows=2, val_share=0, test_share=0).draw(60, 1, generator()).y
    assert 9.0 not in kept
    assert set(opened(path, min_rows=3, val_share=0, test_share=0).draw(9, 1, generator()).y.flatten().tolist()) == {5}


def test_curves_are_ordered_rows_of_validation_tasks(table: Path) -> None:
    tasks = opened(table)
    curves = tasks.curves(3, 2, 4, generator())
    assert curves is not None
    assert (curves.x[:, 2:, 0].diff(dim=1) > 0).all()
    assert set((curves.y // 100).flatten().int().tolist()) <= tasks_of(tasks, "val")


def test_example_is_what_its_script_writes(tmp_path: Path) -> None:
    examples = Path(__file__).parents[3] / "docs" / "examples"
    runpy.run_path(str(examples / "sensors.py"))["write_sensors"](tmp_path / "sensors.csv")
    assert (tmp_path / "sensors.csv").read_bytes() == (examples / "sensors.csv").read_bytes()
