"""Exact continuation of FewShotData through a real Trainer: stops at and inside steps, and other workers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import FewShotData
from datamodules.tasks import LatentFunction, Steps, transforms
from modules.contracts import FewShotTasks

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning",
    "ignore:Checkpoint directory .* exists and is not empty",
)


class Recorder(L.LightningModule):
    """Notes which targets each optimizer step sees; a parameter makes the Trainer step."""

    def __init__(self, stop_at_step: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_at_step = stop_at_step
        self.steps: dict[int, list[float]] = {}

    def training_step(self, batch: FewShotTasks, batch_idx: int) -> torch.Tensor:
        if self.global_step == self.stop_at_step:
            raise RuntimeError("stopped by the test")
        self.steps[self.global_step] = batch.points()[0].flatten().tolist()
        return self.weight * 1.0

    def validation_step(self, batch: FewShotTasks, batch_idx: int) -> None:
        """Validation must not move the position."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnError(L.Callback):
    """Saves wherever an error strikes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


def few_shot_data(**options: Any) -> FewShotData:
    return FewShotData(options.pop("tasks", None) or Steps(), batch_size=4, num_val_tasks=6, num_support=2, **options)


def fit(
    model: Recorder,
    data: FewShotData,
    folder: Path,
    max_steps: int,
    *callbacks: L.Callback,
    ckpt_path: Path | None = None,
    **options: Any,
) -> None:
    """Trains with a validation every three steps and a checkpoint after each."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=1, save_top_k=-1), *callbacks],
        **options,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)


@pytest.fixture(scope="module", params=[None, 5], ids=["fresh", "given"])
def num_train_tasks(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.fixture(scope="module")
def whole_run(num_train_tasks: int | None, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[float]]:
    """The inputs of ten uninterrupted steps."""
    model = Recorder()
    fit(model, few_shot_data(num_train_tasks=num_train_tasks), tmp_path_factory.mktemp("whole"), 10)
    assert len({tuple(points) for points in model.steps.values()}) == 10
    return model.steps


@pytest.mark.parametrize(("first_workers", "then_workers"), [(0, 0), (0, 2), (2, 0)])
def test_a_run_goes_on_exactly_with_any_workers(
    first_workers: int,
    then_workers: int,
    num_train_tasks: int | None,
    whole_run: dict[int, list[float]],
    tmp_path: Path,
) -> None:
    first, second = Recorder(), Recorder()
    fit(first, few_shot_data(num_workers=first_workers, num_train_tasks=num_train_tasks), tmp_path, 5)
    data = few_shot_data(num_workers=then_workers, num_train_tasks=num_train_tasks)
    fit(second, data, tmp_path, 10, ckpt_path=tmp_path / "last.ckpt")
    assert sorted(second.steps) == list(range(5, 10))
    assert first.steps | second.steps == whole_run


def test_a_step_that_was_stopped_inside_is_done_again(
    num_train_tasks: int | None, whole_run: dict[int, list[float]], tmp_path: Path
) -> None:
    first, second = Recorder(stop_at_step=4), Recorder()
    data = few_shot_data(num_train_tasks=num_train_tasks)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        fit(first, data, tmp_path, 10, SaveOnError(tmp_path / "stopped.ckpt"))
    data = few_shot_data(num_train_tasks=num_train_tasks)
    fit(second, data, tmp_path, 10, ckpt_path=tmp_path / "stopped.ckpt")
    assert second.steps == {step: points for step, points in whole_run.items() if step >= 4}


@pytest.mark.filterwarnings("ignore:You requested to overfit")  # Lightning takes any stream for a shuffled one
def test_overfitting_stays_at_the_same_tasks(tmp_path: Path) -> None:
    model = Recorder()
    fit(model, few_shot_data(), tmp_path, 4, overfit_batches=2, limit_val_batches=0)
    assert model.steps[0] == model.steps[2] != model.steps[1]


def test_accumulation_is_not_the_trainers_affair(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accumulate_grad_batches=2 has no place here"):
        fit(Recorder(), few_shot_data(), tmp_path, 1, accumulate_grad_batches=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 18}, "seed=17, now it is 18"),
        ({"eval_seed": 3}, "eval_seed=11044, now it is 3"),
        ({"num_query": 4}, "num_query=5, now it is 4"),
        ({"num_train_tasks": 4}, "num_train_tasks=None, now it is 4"),
        ({"tasks": Steps(noise_sd=0.1)}, "the run was made with tasks="),
        ({"tasks": LatentFunction(transforms.Sign())}, "the run was made with tasks="),
    ],
)
def test_other_tasks_are_refused(options: dict[str, Any], message: str) -> None:
    data = few_shot_data()
    assert data.state_dict() == {}
    data.setup("fit")
    other = few_shot_data(**options)
    other.load_state_dict(data.state_dict())
    other.setup("fit")
    with pytest.raises(ValueError, match=message):
        other.train_dataloader()
