"""How many steps a run has: what a masking rate that is a schedule follows."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L


def expected_steps(trainer: L.Trainer | None, tokens_per_step: Callable[[], float]) -> float:
    """Optimizer steps until the run ends, at `trainer.max_steps` or the recipe's `max_tokens`, whichever is first.

    Tokens are turned into steps by their mean. What they really sum up to differs by chance inside an epoch, but the
    fraction of the run is then a function of the position alone, whatever devices and workers there are and wherever
    the run was stopped.

    Args:
        trainer: Whose limits count.
        tokens_per_step: Gives the mean of the real tokens of a global batch; called where there is `max_tokens`.

    Raises:
        ValueError: The run has neither limit.
    """
    limits: list[float] = []
    if trainer is not None and trainer.max_steps > 0:
        limits.append(trainer.max_steps)
    max_tokens = getattr(trainer.lightning_module, "max_tokens", None) if trainer is not None else None
    if max_tokens is not None:
        limits.append(max_tokens / tokens_per_step())
    if not limits:
        raise ValueError(
            "masking_rate is a schedule, so the run needs an end in steps or tokens (masks that followed the clock "
            "could not be repeated): set trainer.max_steps or model.init_args.max_tokens, or give a number"
        )
    return min(limits)
