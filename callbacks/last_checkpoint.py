"""Keeps one checkpoint to go on from."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from callbacks.run_folder import run_folder
from callbacks.steps import at_logging_step


class LastCheckpoint(Checkpoint):
    """Saves `checkpoints/last.ckpt` every few minutes, at the end, and when the run is asked to stop (SIGTERM).

    The file is replaced whole: a run killed at any moment leaves the previous one. The best checkpoints by a metric are
    Lightning's own `ModelCheckpoint`.

    Args:
        every_n_minutes: Time between two saves, looked at on the logging steps of the Trainer (where ranks agree
            anyway).
        every_n_steps: Also after each multiple of this number of optimizer steps.
    """

    def __init__(self, *, every_n_minutes: float = 10.0, every_n_steps: int | None = None) -> None:
        if every_n_minutes <= 0:
            raise ValueError(f"every_n_minutes={every_n_minutes} must be positive")
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps} must be at least 1, or null")
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self._saved_at = time.monotonic()
        self._saved_step = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._step_is_due(trainer, batch_idx) or self._time_is_due(trainer, batch_idx):
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        # SIGTERM reaches all ranks at the same step boundary; after any other error they may be anywhere, and saving
        # could hang.
        if isinstance(exception, SIGTERMException) and trainer.training:
            self._save(trainer)

    def _step_is_due(self, trainer: L.Trainer, batch_idx: int) -> bool:
        completed = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        return completed and self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0

    def _time_is_due(self, trainer: L.Trainer, batch_idx: int) -> bool:
        if not at_logging_step(trainer, batch_idx):
            return False
        return trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.every_n_minutes)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step == self._saved_step:
            return
        trainer.save_checkpoint(run_folder(trainer) / "checkpoints" / "last.ckpt")
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step
