"""Random numbers of tasks: one generator for each purpose and number, whatever process asks."""

from __future__ import annotations

import numpy as np
from torch import Generator

from datamodules.text.counter_hash import fold, seed_key


def task_generator(seed: int, purpose: str, number: int = 0) -> Generator:
    """The generator of, say, training batch `number`: a function of its arguments alone."""
    key = fold(seed_key(seed, purpose), np.array([number]))
    return Generator().manual_seed(int(key[0]))
