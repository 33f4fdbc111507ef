"""How far a run is: what schedules are a function of."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Timer


def run_fraction(trainer: L.Trainer, *, tokens: int = 0, max_tokens: int | None = None) -> float:
    """The fraction of the run that is done, in [0, 1], the same on every rank.

    A run ends at whichever of its limits comes first: `trainer.max_steps` (optimizer steps), `trainer.max_time` (hours
    of training, counted across resumes) or the recipe's `max_tokens`.

    Args:
        trainer: Whose limits and progress count.
        tokens: Real tokens that all ranks have trained on so far.
        max_tokens: Where the recipe ends the run; None for no such limit.

    Raises:
        ValueError: The run has no limit at all, so that no schedule can be followed.
    """
    fractions = []
    if trainer.max_steps > 0:
        fractions.append(trainer.global_step / trainer.max_steps)
    if max_tokens is not None:
        fractions.append(tokens / max_tokens)
    for timer in trainer.callbacks:  # type: ignore[attr-defined]
        if not isinstance(timer, Timer):
            continue
        elapsed, remaining = timer.time_elapsed("train"), timer.time_remaining("train")
        if remaining is not None:
            # Clocks differ between ranks, learning rates must not.
            fractions.append(trainer.strategy.broadcast(elapsed / max(elapsed + remaining, 1e-9)))
    if not fractions:
        raise ValueError(
            "the run has no end that a schedule could follow: "
            "set trainer.max_steps, trainer.max_time or model.init_args.max_tokens"
        )
    return min(max(fractions), 1.0)
