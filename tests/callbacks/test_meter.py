"""The meter against a count by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import Meter
from callbacks.metrics_csv import read_metrics


def test_counts_all_steps_and_no_validation(
    make_trainer: Callable[..., L.Trainer], line: Callable[..., L.LightningModule], batches: DataLoader, tmp_path: Path
) -> None:
    meter = Meter()
    make_trainer(meter, max_steps=12, log_every_n_steps=4, val_check_interval=3).fit(
        line(validated=True), batches, [torch.ones(5, 4)]
    )
    logged = read_metrics(tmp_path / "metrics.csv")
    assert logged["meter/tokens"] == {3: 20, 7: 40, 11: 60}
    assert meter.flops == 60 * 24.0
    assert meter.device_seconds == meter.seconds > 0
    assert "meter/mfu" not in logged  # nobody knows the peak of this CPU
    assert all(rate > 0 for rate in logged["meter/tokens_per_second"].values())


def test_what_callbacks_do_after_a_validation_is_no_training(
    make_trainer: Callable[..., L.Trainer],
    line: Callable[..., L.LightningModule],
    batches: DataLoader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, late = time.perf_counter, 0.0
    monkeypatch.setattr("callbacks.meter.time.perf_counter", lambda: clock() + late)

    class Painter(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            nonlocal late
            late += 1e6

    meter = Meter()
    trainer = make_trainer(meter, Painter(), max_steps=6, val_check_interval=2)
    trainer.fit(line(validated=True), batches, [torch.ones(5, 4)])
    assert late == 3e6
    assert 0 < meter.seconds < 1e6


def test_goes_on_across_a_resume(
    make_trainer: Callable[..., L.Trainer], line: Callable[..., L.LightningModule], batches: DataLoader, tmp_path: Path
) -> None:
    first = make_trainer(Meter(), max_steps=5, log_every_n_steps=3)
    first.fit(line(), batches)
    first.save_checkpoint(tmp_path / "half.ckpt")
    meter = Meter()
    make_trainer(meter, max_steps=9, log_every_n_steps=3).fit(line(), batches, ckpt_path=tmp_path / "half.ckpt")
    assert meter.units == pytest.approx(45)  # nine steps of five
