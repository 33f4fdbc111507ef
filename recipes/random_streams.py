"""Random numbers that are a function of where a run stands, not of what it has drawn before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator


def generator_of(device: torch.device, *words: int) -> Generator:
    """A generator on `device`, seeded by a hash of non-negative integers: seed, stream, step, rank and the like."""
    # 63 bits: a non-negative signed integer; the generator of a CPU uses the lower 32
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return Generator(device).manual_seed(seed)
