"""Choices made on the user's behalf are said once: which attention, which precision, and why."""

from __future__ import annotations

import logging
import sys

from lightning.pytorch.utilities import rank_zero_only

PACKAGES = ("recipes", "modules", "datamodules", "callbacks")


def announce_choices() -> None:
    """Print what our packages log at INFO and above, on rank 0; the other ranks print warnings only."""
    level = logging.INFO if getattr(rank_zero_only, "rank", 0) == 0 else logging.WARNING
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if not any(isinstance(handler, _Console) for handler in logger.handlers):
            logger.addHandler(_Console())


class _Console(logging.Handler):
    """Writes to the standard error of the moment, so that a redirected one is honoured."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)
