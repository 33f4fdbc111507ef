"""Saving, guarding and recording: what a run leaves behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import FiniteLoss, GradientNorm, LastCheckpoint, LossPicture, MetricsCsv, RandomState
from callbacks.finite_loss import NonFiniteLossError
from callbacks.loss_picture import _limits
from callbacks.metrics_csv import read_metrics

Trainers = Callable[..., L.Trainer]
Models = Callable[..., L.LightningModule]


def test_run_folder_explains_itself(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    make_trainer(max_steps=1).fit(line(), batches)
    assert (tmp_path / "config.yaml").read_text() == "seed_everything: 1\n"
    assert len((tmp_path / "command.txt").read_text().splitlines()) == 1
    record = json.loads((tmp_path / "environment.json").read_text())
    assert torch.__version__.startswith(record["libraries"]["torch"])
    assert record["cpu"]["cores"] >= 1


def test_metrics_only_grow_and_survive_a_torn_row(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"train/loss": 2.5, "epoch": 0}, step=0)
    logger.log_metrics({"train/loss": 1.5}, step=1)
    with logger.path.open("a") as file:
        file.write("2,17")  # a kill in the middle of a row
    logger.log_metrics({"train/loss": 1.25, "val/loss": 0.1}, step=1)
    assert read_metrics(logger.path) == {"train/loss": {0: 2.5, 1: 1.25}, "val/loss": {1: 0.1}}
    with logger.path.open() as file:
        assert next(csv.reader(file)) == ["step", "time", "metric", "value"]


def test_random_state_goes_on(make_trainer: Trainers, line: Models, zeros: DataLoader, tmp_path: Path) -> None:
    # From zeros, all that moves the loss is the noise.
    whole, first, second = line(), line(), line()
    make_trainer(RandomState()).fit(whole, zeros)
    half = make_trainer(RandomState(), max_steps=5)
    half.fit(first, zeros)
    half.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)  # plain data only
    make_trainer(RandomState()).fit(second, zeros, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert first.losses + second.losses == whole.losses


def test_nan_stops_at_its_step_and_keeps_the_good_checkpoint(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    trainer = make_trainer(FiniteLoss(), LastCheckpoint(every_n_steps=2), log_every_n_steps=4)
    with pytest.raises(NonFiniteLossError, match="step 6: the loss or its gradient is not finite"):
        trainer.fit(line(nan_step=5), batches)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_an_infinite_gradient_stops_before_it_is_saved(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    model = line()

    def spoil() -> None:
        if model.global_step == 3:
            model.layer.weight.grad.fill_(torch.inf)

    model.on_after_backward = spoil
    trainer = make_trainer(FiniteLoss(), LastCheckpoint(every_n_steps=1), log_every_n_steps=100)
    with pytest.raises(NonFiniteLossError, match="step 4: "):
        trainer.fit(model, batches)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    assert torch.isfinite(saved["state_dict"]["layer.weight"]).all()


def test_last_checkpoint_is_of_the_last_step(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    make_trainer(LastCheckpoint(every_n_minutes=60), max_steps=7).fit(line(), batches)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 7
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"), [({"every_n_minutes": 0}, "must be positive"), ({"every_n_steps": 0}, "at least 1")]
)
def test_last_checkpoint_refuses_nonsense(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LastCheckpoint(**arguments)


def test_gradient_norm_is_the_norm(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    model = line()
    seen: list[float] = []
    model.on_after_backward = lambda: seen.append(float(model.layer.weight.grad.norm()))
    make_trainer(GradientNorm(), max_steps=3, gradient_clip_val=1e-3).fit(model, batches)
    logged = read_metrics(tmp_path / "metrics.csv")["train/grad_norm"]
    assert list(logged.values()) == pytest.approx(seen, rel=1e-6)


def test_picture_of_the_loss(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    from matplotlib.image import imread

    make_trainer(LossPicture()).fit(line(validated=True), batches, [torch.ones(5, 4)])
    picture = imread(tmp_path / "loss.png")
    assert picture.std() > 0.01
    assert not list(tmp_path.glob(".*"))


def test_a_wild_start_does_not_flatten_the_rest_of_the_picture() -> None:
    falling = {"train/loss": {step: 9.0 - 0.06 * step for step in range(100)}}
    assert _limits(falling, None) is None
    wild = {"train/loss": {0: 25.0} | {step: 0.7 - 0.001 * step for step in range(5, 100)}, "val/loss": {99: 0.65}}
    assert _limits(wild, None) == pytest.approx((0.601 - 0.0047, 0.695 + 0.0047))
    assert _limits(wild, 0.9) == pytest.approx((0.601 - 0.01495, 0.9 + 0.01495)), "the entropy stays in the picture"
    assert _limits({"train/loss": {0: 25.0}}, None) is None
