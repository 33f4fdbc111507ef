"""Random numbers that are a function of where a run stands, not of what it has drawn before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator


def generator_of(device: torch.device, *words: int) -> Generator:
    """A generator on `device`, seeded by a hash of non-negative integers: seed, stream, step, rank and the like."""
    # 31 bits, as some devices take no more than a positive int32 without folding it
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return Generator(device).manual_seed(seed)
