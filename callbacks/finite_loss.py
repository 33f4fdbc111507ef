"""Stops a run whose loss or gradient is no longer a number, before a good checkpoint is overwritten."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from callbacks.gradient_norm import gradient_norm
from callbacks.steps import at_logging_step


class NonFiniteLossError(RuntimeError):
    """The loss of a training step, or its gradient, is NaN or infinite."""


class FiniteLoss(L.Callback):
    """Stops at a loss or gradient that is NaN or infinite, naming the step; the last good checkpoint stays.

    The first bad step is noted on the device, so that no step waits for it; it is read at every logging step and before
    anything is saved. Under `16-mixed` infinite gradients are normal (the scaler skips such a step) and do not count.

    Raises:
        NonFiniteLossError: A loss or gradient was NaN or infinite, on whichever rank.
    """

    def __init__(self) -> None:
        self._bad_step: Tensor | None = None  # the first one, infinity if there is none

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        if trainer.precision != "16-mixed":
            self._note(gradient_norm(optimizer), trainer.global_step + 1)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._note(outputs["loss"].detach(), trainer.global_step)
        if at_logging_step(trainer, batch_idx):
            self._check(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    def _note(self, value: Tensor, step: int) -> None:
        if self._bad_step is None:
            self._bad_step = torch.full((), torch.inf, device=value.device)
        here = torch.where(torch.isfinite(value), torch.inf, float(step))
        self._bad_step = torch.minimum(self._bad_step, here)

    def _check(self, trainer: L.Trainer) -> None:
        if self._bad_step is None:
            return
        step = trainer.strategy.reduce(-self._bad_step, reduce_op="max")  # no strategy offers a minimum
        if torch.isfinite(step):
            raise NonFiniteLossError(
                f"step {-int(step)}: the loss or its gradient is not finite; the last checkpoint is of an earlier step "
                "and stays. Resume from it with a lower learning rate, gradient clipping or a wider precision."
            )
