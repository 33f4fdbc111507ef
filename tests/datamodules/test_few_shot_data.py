"""FewShotData: the same global batches for any layout, fixed evaluation, unequal support, units, and errors."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Generator, Tensor

from datamodules import FewShotData
from datamodules.tasks import (
    Constant,
    LatentFunction,
    Points,
    Sinusoid,
    SplitName,
    Steps,
    TabularTasks,
    TaskSource,
    transforms,
)
from datamodules.tasks.streams import TaskStream
from modules.contracts import FewShotRows, FewShotTasks, GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Counting(TaskSource):
    """Task t has `sizes[t]` points (t, 0), (t, 1), ... whose targets are 10 x."""

    name = "counting"
    input_dim = 2

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        numbers_B = torch.arange(num_tasks) % len(self.sizes)
        index_BM = torch.arange(num_points).expand(num_tasks, -1)
        mask_BM = index_BM < torch.tensor(self.sizes)[numbers_B][:, None]
        x = torch.stack([numbers_B[:, None].expand_as(index_BM), index_BM], dim=-1).float()
        return Points(x, 10 * x[..., 1:], mask_BM)


class Known(Counting):
    """Has an oracle, which draws."""

    def oracle(self, support_x: Tensor, *args: Any, generator: Generator | None = None, **options: Any) -> Any:
        means = torch.randn((1, len(support_x), 5, 1), generator=generator)
        return GaussianMixture(means, torch.ones(()))


def made(tasks: TaskSource | None = None, **options: Any) -> FewShotData:
    """A data module after `setup`."""
    data = FewShotData(tasks or LatentFunction(), **({"batch_size": 6, "num_val_tasks": 25} | options))
    data.prepare_data()
    data.setup("fit")
    return data


def stream_of(data: FewShotData, **options: Any) -> TaskStream:
    stream = data.train_dataloader().dataset
    assert isinstance(stream, TaskStream)
    return replace(stream, **options)


def assert_equal(first: FewShotTasks, second: FewShotTasks) -> None:
    for field in fields(FewShotTasks):
        a, b = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, field.name


def joined(parts: list[FewShotTasks]) -> FewShotTasks:
    """Batches of tasks as one."""
    values = {field.name: [getattr(part, field.name) for part in parts] for field in fields(FewShotTasks)}
    num_points = sum(values.pop("num_points"))
    return FewShotTasks(**{name: torch.cat(tensors) for name, tensors in values.items()}, num_points=num_points)


@pytest.mark.parametrize("num_train_tasks", [None, 8])
def test_workers_change_nothing(num_train_tasks: int | None) -> None:
    options: dict[str, Any] = {"num_support": [0, 4], "num_train_tasks": num_train_tasks}
    alone = islice(made(**options).train_dataloader(), 7)
    helped = islice(made(**options, num_workers=2).train_dataloader(), 7)
    for first, second in zip(alone, helped, strict=True):
        assert_equal(first, second)


@pytest.mark.parametrize("num_train_tasks", [None, 8])
def test_replicas_share_the_batch_of_one(num_train_tasks: int | None) -> None:
    data = made(num_support=[0, 4], num_train_tasks=num_train_tasks)
    for step in (0, 3):
        shares = [stream_of(data, num_replicas=3, replica=replica).batch(step) for replica in range(3)]
        assert [len(share.support_x) for share in shares] == [2, 2, 2]
        assert_equal(joined(shares), stream_of(data).batch(step))


def test_steps_and_seeds_have_tasks_of_their_own() -> None:
    batches = [*islice(made().train_dataloader(), 4), *islice(made(seed=18).train_dataloader(), 4)]
    evaluation = [*made().val_dataloader(), *made().test_dataloader()[0]]
    pairs = [tuple(task[:2, 0].tolist()) for tasks in [*batches, *evaluation] for task in tasks.query_x]
    assert len(pairs) == 8 * 6 + 25 + 2000
    assert len(set(pairs)) == len(pairs)


def test_scored_tasks_depend_on_the_evaluation_seed_alone() -> None:
    first, second = made(num_test_tasks=30), made(num_test_tasks=30, seed=18, batch_size=12, num_workers=1)
    other = made(num_test_tasks=30, eval_seed=2)
    for name in ("val_dataloader", "test_dataloader"):
        loaders = [getattr(data, name)() for data in (first, first, second, other)]
        flat = [joined([tasks for part in (x if isinstance(x, list) else [x]) for tasks in part]) for x in loaders]
        assert_equal(flat[0], flat[1])
        assert_equal(flat[0], flat[2])
        assert not torch.isclose(flat[0].query_x, flat[3].query_x).any()
    assert first.digest == second.digest != other.digest
    assert_equal(first.picture_tasks(), second.picture_tasks())
    scales = [float(data.problem.scaling.y_scale) for data in (first, second, other)]
    assert scales[0] == scales[1] != scales[2]


def test_batches_are_even_and_the_same_for_any_number_of_replicas() -> None:
    data = made(num_val_tasks=25, eval_batch_size=10)
    alone = list(data.val_dataloader())
    assert [len(tasks.query_x) for tasks in alone] == [9, 8, 8]
    shares = []
    for replica in range(2):
        data._replicas, data._replica = 2, replica
        shares.append(list(data.val_dataloader()))
    both = [tasks for pair in zip(*shares, strict=True) for tasks in pair]  # batch n goes to replica n % 2
    assert [len(tasks.query_x) for tasks in both] == [9, 8, 8, 0]
    for ours, theirs in zip(both, alone, strict=False):
        assert_equal(ours, theirs)


def test_support_grows_and_queries_stay() -> None:
    data = made(num_support=[0, 3], test_support=[0, 2, 7], num_test_tasks=40)
    none, two, seven = (joined(list(loader)) for loader in data.test_dataloader())
    assert none.support_x.shape == (40, 0, 1)
    assert none.support_y.shape == (40, 0, 1)
    assert seven.support_mask.all()
    assert torch.equal(two.support_y, seven.support_y[:, :2])
    assert torch.equal(none.query_y, seven.query_y)
    assert torch.equal(two.query_x, seven.query_x)
    assert none.num_points == 40 * 5
    assert seven.num_points == 40 * 12


def test_no_task_is_scored_twice(tmp_path: Path) -> None:
    lines = [f"s{task},{x},{task + x}" for task in range(60) for x in range(7)]
    (tmp_path / "t.csv").write_text("task,x,y\n" + "\n".join(lines))
    data = made(TabularTasks(str(tmp_path / "t.csv"), task="task", inputs=["x"], targets=["y"]), num_test_tasks=500)
    for loader in (data.val_dataloader(), data.test_dataloader()[0]):
        tasks = joined(list(loader))
        levels = (tasks.query_y - tasks.query_x)[:, 0, 0].tolist()  # the number of each task
        assert 1 < len(levels) == len(set(levels)) < 25


def test_more_support_than_there_is_is_told(caplog: pytest.LogCaptureFixture) -> None:
    made(Counting([4, 9]), num_support=[0, 8])
    assert not caplog.records
    made(Counting([4, 9]), num_support=[0, 9])
    assert "num_support=[0, 9]: the largest task of counting has 9 points" in caplog.text


def test_curves_over_more_support_than_there_is_are_refused() -> None:
    data = made(Counting([4, 9]), test_support=[2, 8], num_test_tasks=4)
    assert [loader.dataset[0].support_mask.sum(dim=1).tolist() for loader in data.test_dataloader()] == [
        [2, 2, 2, 2],
        [3, 8, 3, 8],
    ]
    message = r"test_support=\[2, 9\]: the largest test task of counting has 9 points.*at most 8 can be support"
    with pytest.raises(ValueError, match=message):
        made(Counting([4, 9]), test_support=[2, 9]).test_dataloader()


def test_training_without_support() -> None:
    tasks = next(iter(made(num_support=0).train_dataloader()))
    assert tasks.support_x.shape == (6, 0, 1)
    assert tasks.support_mask.shape == (6, 0)
    assert tasks.num_points == 30


def test_streams_reach_processes_that_share_nothing() -> None:
    stream = stream_of(made(num_train_tasks=8))
    assert_equal(pickle.loads(pickle.dumps(stream)).batch(3), stream.batch(3))


def test_unequal_support_is_masked_zero_and_no_query() -> None:
    tasks = made(num_support=[1, 4], batch_size=300).train_dataloader().dataset.batch(0)  # type: ignore[attr-defined]
    sizes_B = tasks.support_mask.sum(dim=1)
    assert tasks.support_x.shape == (300, 4, 1)
    assert (torch.bincount(sizes_B, minlength=5)[1:] > 45).all()
    assert torch.equal(tasks.support_mask, torch.arange(4) < sizes_B[:, None])
    assert (tasks.support_x[~tasks.support_mask] == 0).all()
    assert (tasks.support_y[~tasks.support_mask] == 0).all()
    assert tasks.query_mask.all()
    assert tasks.num_points == int(sizes_B.sum()) + 300 * 5
    assert not (tasks.support_x == tasks.query_x.mT)[tasks.support_mask].any()


def test_tasks_with_few_points_keep_one_to_predict() -> None:
    tasks = made(Counting([1, 4, 7, 20]), num_support=5, num_query=3, batch_size=4).train_dataloader().dataset
    assert isinstance(tasks, TaskStream)
    batch = tasks.batch(0)
    assert batch.support_mask.sum(dim=1).tolist() == [0, 3, 5, 5]
    assert batch.query_mask.sum(dim=1).tolist() == [1, 1, 2, 3]
    first = [x[mask][0, 1].item() for x, mask in zip(batch.query_x, batch.query_mask, strict=True)]
    assert first == [0, 3, 5, 5]
    assert batch.num_points == 13 + 7
    assert (batch.query_y[~batch.query_mask] == 0).all()


def test_a_given_training_set_is_split_anew() -> None:
    data = made(Counting([4, 8]), num_support=3, num_query=5, num_train_tasks=2, batch_size=2)
    assert data.unique_units == 12
    assert made().unique_units is None
    batches = list(islice(data.train_dataloader(), 20))
    for tasks in batches:
        x, y, mask = tasks.points()
        assert sorted(x[:, 0, 0].tolist()) == [0, 1]
        assert torch.equal(y[mask], 10 * x[..., 1:][mask])
        for own, keep in zip(x, mask, strict=True):
            assert sorted(own[keep][:, 1].tolist()) == list(range(4 + 4 * int(own[0, 0])))
    assert len({tuple(tasks.support_y.flatten().tolist()) for tasks in batches}) > 15
    assert made(num_train_tasks=9, seed=1)._pool is not None
    pools = [made(num_train_tasks=9, seed=seed)._pool for seed in (1, 1, 2)]
    assert torch.equal(pools[0].y, pools[1].y)  # type: ignore[union-attr]
    assert not torch.isclose(pools[0].x, pools[2].x).any()  # type: ignore[union-attr]


def test_units_have_mean_zero_and_variance_one() -> None:
    data = made(Sinusoid(x_range=(0, 1e6)), num_val_tasks=5000)
    scaled = data.problem.scaling.tasks(joined(list(data.val_dataloader())))
    assert abs(float(scaled.query_x.mean())) < 0.03
    assert abs(float(scaled.query_x.std()) - 1) < 0.03
    assert abs(float(scaled.query_y.std()) - 1) < 0.05
    assert data.problem.name == "sinusoid"
    assert data.problem.spacing is None
    assert made(standardize=False).problem.scaling.y_scale.tolist() == [1]
    assert made(LatentFunction(transforms.Sign())).problem.spacing == 2.0


def test_a_column_that_does_not_vary_keeps_its_unit() -> None:
    scaling = made(Counting([3] * 2000), num_support=1, num_query=2, num_train_tasks=1).problem.scaling
    assert scaling.x_scale.tolist() == pytest.approx([1.0, (2 / 3) ** 0.5])
    assert scaling.x_mean.tolist() == [0, 1]


def test_pictures_follow_x_where_there_is_one() -> None:
    ordered = made(Steps(), num_support=[0, 7]).picture_tasks()
    assert ordered.support_mask.all()
    assert ordered.support_x.shape == (6, 7, 1)
    assert ordered.query_x.shape == (6, 200, 1)
    assert (ordered.query_x.diff(dim=1) > 0).all()
    assert made(Constant()).picture_tasks().query_x.shape == (6, 5, 2)


def test_the_oracle_says_the_same_at_each_reading() -> None:
    data = made(Known([10]))
    tasks = next(iter(data.train_dataloader()))
    first, second = data.oracle_prediction(tasks), data.oracle_prediction(tasks)
    assert first is not None
    assert second is not None
    assert torch.equal(first.mean, second.mean)
    other = data.oracle_prediction(tasks, Generator().manual_seed(1))
    assert other is not None
    assert not torch.isclose(first.mean, other.mean).any()
    assert made(Counting([10])).oracle_prediction(tasks) is None


def test_tasks_without_points_are_refused() -> None:
    with pytest.raises(ValueError, match="counting: drawn task 1 has no points"):
        made(Counting([3, 0]))


def test_devices_must_share_the_batch_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.few_shot.replicas", lambda trainer: (4, 0))
    with pytest.raises(ValueError, match="batch_size=6 must be a multiple of the 4 devices"):
        made()


class Answers(L.LightningModule):
    """Returns the rows it is asked for."""

    def predict_step(self, batch: FewShotRows, batch_idx: int) -> list[int]:
        return batch.query_row[batch.query_mask].tolist()


def trainer() -> L.Trainer:
    return L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)


def test_families_have_nothing_to_predict() -> None:
    with pytest.raises(ValueError, match="floor has nothing to predict"):
        trainer().predict(Answers(), FewShotData(LatentFunction()))


@pytest.mark.parametrize("replica", [0, 1])
def test_rows_without_targets_are_predicted_once(replica: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{task},{x},{'' if task < 'd' and x % 2 else x * x}" for task in "abcdefgh" for x in range(4)]
    (tmp_path / "table.csv").write_text("task,x,y\n" + "\n".join(lines))
    table = TabularTasks(str(tmp_path / "table.csv"), task="task", inputs=["x"], targets=["y"])
    monkeypatch.setattr("datamodules.few_shot.replicas", lambda trainer: (2, replica))
    rows = trainer().predict(Answers(), FewShotData(table, eval_batch_size=1))
    assert rows == [[[1, 3], [9, 11]], [[5, 7]]][replica]
