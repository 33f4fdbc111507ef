"""Stops a run whose loss is no longer a number, before a good checkpoint is overwritten."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from callbacks.steps import at_logging_step


class NonFiniteLossError(RuntimeError):
    """The loss of a training step is NaN or infinite."""


class FiniteLoss(L.Callback):
    """Stops at a loss that is NaN or infinite, naming the step; the last good checkpoint stays.

    The first bad step is noted on the device, so that no step waits for it; it is read at every logging step and before
    anything is saved.

    Raises:
        NonFiniteLossError: A loss was NaN or infinite, on whichever rank.
    """

    def __init__(self) -> None:
        self._bad_step: Tensor | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        if self._bad_step is None:
            self._bad_step = torch.full((), torch.inf, device=loss.device)
        here = torch.where(torch.isfinite(loss), torch.inf, float(trainer.global_step))
        self._bad_step = torch.minimum(self._bad_step, here)
        if at_logging_step(trainer, batch_idx):
            self._check(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _check(self, trainer: L.Trainer) -> None:
        if self._bad_step is None:
            return
        step = trainer.strategy.reduce(-self._bad_step, reduce_op="max")  # no strategy offers a minimum
        if torch.isfinite(step):
            raise NonFiniteLossError(
                f"step {-int(step)}: the loss is not finite; the last checkpoint is of an earlier step and stays. "
                "Resume from it with a lower learning rate, gradient clipping or a wider precision."
            )
