"""The meter against a count by hand."""

from __future__ import annotations

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


def test_goes_on_across_a_resume(
    make_trainer: Callable[..., L.Trainer], line: Callable[..., L.LightningModule], batches: DataLoader, tmp_path: Path
) -> None:
    first = make_trainer(Meter(), max_steps=5, log_every_n_steps=3)
    first.fit(line(), batches)
    first.save_checkpoint(tmp_path / "half.ckpt")
    meter = Meter()
    make_trainer(meter, max_steps=9, log_every_n_steps=3).fit(line(), batches, ckpt_path=tmp_path / "half.ckpt")
    assert meter.units == pytest.approx(45)  # nine steps of five
