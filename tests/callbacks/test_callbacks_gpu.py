"""Between two logging steps no callback waits for the GPU."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import FiniteLoss, GradientNorm, InferenceAwareCost, LastCheckpoint, Meter, Progress


class StrictFrom(L.Callback):
    """From the second step on, until training ends, anything that waits for the device is an error."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        torch.cuda.set_sync_debug_mode("error" if batch_idx == 1 else torch.cuda.get_sync_debug_mode())

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        if trainer.global_step == 8:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_no_step_waits_for_the_device(
    make_trainer: Callable[..., L.Trainer], line: Callable[..., L.LightningModule], batches: DataLoader
) -> None:
    class Quiet(type(line())):  # type: ignore[misc]
        """Without the bookkeeping of the test model, which reads its losses."""

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            return self.layer(batch).square().mean()

    callbacks = [Meter(), Progress(), GradientNorm(), FiniteLoss(), LastCheckpoint(), InferenceAwareCost()]
    trainer = make_trainer(StrictFrom(), *callbacks, accelerator="gpu", devices=1, log_every_n_steps=1000)
    try:
        trainer.fit(Quiet(), batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.global_step == 10
