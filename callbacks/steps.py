"""When callbacks look at numbers that live on the device: where the Trainer logs, as it waits for the device there."""

from __future__ import annotations

import lightning as L


def at_logging_step(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether the batch that has just ended completed an optimizer step that the Trainer logs."""
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    completed = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    return bool(completed and every and trainer.global_step % every == 0)
