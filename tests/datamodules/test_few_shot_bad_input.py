"""Odd and bad data through FewShotData and the recipe: a clear error or a right answer, never a NaN loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Generator

from datamodules import FewShotData
from datamodules.tasks import LatentFunction, Points, SplitName, Steps, TabularTasks, TaskSource, transforms
from modules.contracts import FewShotLearner
from modules.meta import Alpaca, DeepKernelGP, Maml, NeuralProcess, OutputFlowGP, Pacoh, Vmgp
from modules.optim import WarmupLinear
from recipes import MetaRegression

LEARNERS: dict[str, Callable[[], FewShotLearner]] = {
    "sites": lambda: Vmgp(latent_dim=3),
    "free": lambda: Vmgp(latent_dim=3, posterior="free", covariance="kronecker"),
    "deep kernel": DeepKernelGP,
    "alpaca": Alpaca,
    "flow": OutputFlowGP,
    "maml": Maml,
    "neural process": NeuralProcess,
    "pacoh": lambda: Pacoh(num_particles=2),
}

every_learner = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)


class Odd(TaskSource):
    """Tasks made by a function of the generator and the numbers of tasks and points."""

    name = "odd"

    def __init__(self, make: Callable[[int, int, Generator], tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._make = make

    def draw(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName = "train") -> Points:
        x, y = self._make(num_tasks, num_points, generator)
        return Points(x, y, torch.ones(x.shape[:2], dtype=torch.bool))


class Losses(L.Callback):
    """Notes the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(float(outputs["loss"]))


def run(tasks: TaskSource, learner: Callable[[], FewShotLearner] = DeepKernelGP, **options: Any) -> dict[str, float]:
    """Scores after a few steps; every loss and score on the way is a number."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(3)
    model = MetaRegression(
        learner(), optimizer=lambda p: torch.optim.Adam(p, lr=1e-2), schedule=WarmupLinear(warmup=0.1), num_samples=30
    )
    sizes = {"batch_size": 8, "num_val_tasks": 12, "num_test_tasks": 12, "num_query": 3}
    data = FewShotData(tasks, **(sizes | options))
    losses = Losses()
    trainer = L.Trainer(
        max_steps=6,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        val_check_interval=6,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[losses],
    )
    trainer.fit(model, data)
    scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert len(losses.values) == 6
    assert all(math.isfinite(value) for value in losses.values)
    assert "val/nll" in scores
    assert all(math.isfinite(value) for value in scores.values()), scores
    return scores | {"first loss": losses.values[0]}


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    path.write_text("\n".join(["task,x,y", *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def table(path: Path, **options: Any) -> TabularTasks:
    shares = {"val_share": 0.3, "test_share": 0.0}
    return TabularTasks(str(path), task="task", inputs=["x"], targets=["y"], **(shares | options))


def readings(*, num_tasks: int = 30, num_rows: int = 7) -> list[tuple[str, float, float]]:
    """A level of each task's own, and readings around it."""
    generator = Generator().manual_seed(0)
    levels, noise = (
        torch.randn(num_tasks, 1, generator=generator),
        torch.randn(num_tasks, num_rows, generator=generator),
    )
    return [(f"t{task}", float(x), float(levels[task, 0] + 0.1 * noise[task, x]))
            for task in range(num_tasks) for x in range(num_rows)]  # fmt: skip


@every_learner
@pytest.mark.parametrize("num_support", [0, 1, [0, 20]], ids=str)
def test_any_size_of_support_trains(num_support: int | list[int], learner: Callable[[], FewShotLearner]) -> None:
    run(LatentFunction(transforms.Identity()), learner, num_support=num_support, num_query=1)


@every_learner
def test_tasks_of_one_point_are_predicted_without_support(learner: Callable[[], FewShotLearner]) -> None:
    def one_point(num_tasks: int, num_points: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = torch.randn(2, num_tasks, 1, 1, generator=generator)
        return x, y

    run(Odd(one_point), learner, num_support=5)


@every_learner
@pytest.mark.parametrize("equal", ["inputs", "points"])
def test_duplicates_train(equal: str, learner: Callable[[], FewShotLearner]) -> None:
    """All points of a task at one place: with targets of their own, or the same point again and again."""

    def duplicates(num_tasks: int, num_points: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(num_tasks, 1, 1, generator=generator).expand(-1, num_points, -1)
        y = torch.randn(num_tasks, num_points, 1, generator=generator)
        return x, (y if equal == "inputs" else y[:, :1].expand_as(x))

    run(Odd(duplicates), learner, num_support=[0, 20])


@every_learner
def test_targets_that_never_vary_train(learner: Callable[[], FewShotLearner]) -> None:
    run(Odd(lambda tasks, points, generator: (torch.randn(tasks, points, 1, generator=generator),
                                              torch.full((tasks, points, 1), 7.0))), learner)  # fmt: skip


@every_learner
def test_scores_follow_the_units_of_a_table(learner: Callable[[], FewShotLearner], tmp_path: Path) -> None:
    """The learner sees the same numbers; densities are per unit of the data."""
    rows = readings()
    plain = run(table(write_table(tmp_path / "plain.csv", rows)), learner)
    large_rows = [(name, 1e6 * x, 1e6 * y) for name, x, y in rows]
    large = run(table(write_table(tmp_path / "large.csv", large_rows)), learner)
    assert large["first loss"] == pytest.approx(plain["first loss"], abs=1e-3)
    assert large["val/nll"] == pytest.approx(plain["val/nll"] + math.log(1e6), abs=2e-2)
    assert large["val/crps"] == pytest.approx(plain["val/crps"] * 1e6, rel=2e-2)


def test_a_table_of_short_tasks_trains(tmp_path: Path) -> None:
    rows = [row for row in readings() if row[1] < 2 + int(row[0][1:]) % 3]  # two to four rows, not 5 + 3
    run(table(write_table(tmp_path / "t.csv", rows)), num_support=5)


def test_a_task_with_one_row_is_an_error_or_left_out(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [*readings(), ("lonely", 1.0, 2.0)])
    with pytest.raises(ValueError, match=r"t\.csv: task 'lonely' has 1 row .*set min_rows=2 to leave them out"):
        run(table(path))
    run(table(path, min_rows=2))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_table_with_what_is_no_number_is_an_error(value: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [*readings(), ("t0", 9.0, value)])
    with pytest.raises(ValueError, match=rf"column 'y' is not finite in 1 rows, first in row 210 .* it is {value}"):
        run(table(path))


def test_an_empty_target_is_a_question_and_the_other_rows_train(tmp_path: Path) -> None:
    rows = readings()
    asked = run(table(write_table(tmp_path / "asked.csv", [*rows, ("t0", 9.0, ""), ("new", 9.0, "")])))
    without = run(table(write_table(tmp_path / "without.csv", rows)))
    assert asked == without


def test_a_source_whose_shapes_do_not_fit_is_named() -> None:
    def flat(num_tasks: int, num_points: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(num_tasks, num_points, 1), torch.zeros(num_tasks, num_points)

    with pytest.raises(ValueError, match=r"y \(\d+, 8\) .* must be \[tasks, points, inputs\]"):
        run(Odd(flat))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("when", ["at first", "later"])
def test_a_source_that_gives_what_is_no_number_is_named(when: str, value: float) -> None:
    calls = []

    def spoiled(num_tasks: int, num_points: int, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = torch.randn(2, num_tasks, num_points, 1, generator=generator)
        calls.append(num_tasks)
        if when == "at first" or len(calls) > 3:
            y[2, 1] = value
        return x, y

    with pytest.raises(
        ValueError, match=rf"odd: point 1 of drawn task 2 has x=\[.*\], y=\[{value}\]: every value must"
    ):
        run(Odd(spoiled))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_support": -1}, "num_support=-1 must be"),
        ({"num_support": [5, 3]}, r"num_support=\[5, 3\] must be"),
        ({"num_support": [1, 2, 3]}, r"num_support=\[1, 2, 3\] must be"),
        ({"test_support": []}, r"test_support=\[\] must be"),
        ({"test_support": [-1]}, r"test_support=\[-1\] must be"),
        ({"num_query": 0}, "num_query=0 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"num_train_tasks": 0}, "num_train_tasks=0 must be at least 1"),
    ],
)
def test_bad_sizes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotData(Steps(), **options)
