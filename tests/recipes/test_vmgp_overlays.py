"""The overlays of the few-shot family: each learner trains on the demo's tasks, each family of tasks gives some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from callbacks import LastCheckpoint
from callbacks.metrics_csv import read_metrics
from recipes import load
from recipes.config.files import YAML_FOLDER

DEMO = "yaml/vmgp/floor.yaml"
BODIES = ("bouncing_body", "pendulum")
LEARNERS = sorted(path.stem for path in (YAML_FOLDER / "vmgp" / "_learner").iterdir())
TASKS = sorted(path.stem for path in (YAML_FOLDER / "vmgp" / "_tasks").iterdir())

POOL = {"num_train_tasks": 4, "num_val_tasks": 4, "num_test_tasks": 4, "num_points": 10}
SMALLER = {body: [f"--data.tasks.{name}={value}" for name, value in POOL.items()] for body in BODIES}
"""Tasks that are simulated before they are drawn."""


@pytest.mark.parametrize("learner", LEARNERS)
def test_learner_trains_two_steps(learner: str, make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    model, data = load([DEMO, f"yaml/vmgp/_learner/{learner}.yaml", "yaml/vmgp/_tiny.yaml"])
    before = [parameter.clone() for parameter in model.parameters()]
    trainer = make_trainer(LastCheckpoint(), max_steps=2, val_check_interval=2)
    trainer.fit(model, datamodule=data)
    metrics = read_metrics(tmp_path / "metrics.csv")
    assert list(metrics["train/loss"]) == [0, 1]
    assert 0 < metrics["val/crps"][1] < 20
    assert metrics["meter/task_points"][1] == 2 * 4 * (5 + 5)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert sum(moved) >= 0.8 * len(moved)


@pytest.mark.parametrize("tasks", TASKS)
def test_tasks_can_be_drawn(tasks: str, tmp_path: Path) -> None:
    options = [f"--data.folder={tmp_path}", *SMALLER.get(tasks, [])]
    model, data = load([DEMO, f"yaml/vmgp/_tasks/{tasks}.yaml"], *options)
    assert data is not None
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.query_x.shape[-1] == model.learner.input_dim
    scaled = data.problem.scaling.y(batch.query_y)[batch.query_mask]
    assert scaled.isfinite().all()
    assert 0.05 < scaled.std() < 20
