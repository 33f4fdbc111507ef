"""Random numbers of tasks: one generator for each purpose and number, whatever process asks."""

from __future__ import annotations

from functools import lru_cache

from torch import Generator

from datamodules.text.counter_hash import high_bits, seed_key

NUM_STATES = 2**32
"""Seeds that torch's generator tells apart: it drops the upper half of 64 bits."""
STRIDE = 0x9E3779B1
"""Odd, so that no two numbers meet; 2**32 over the golden ratio, so that neighbours are far apart."""


def task_generator(seed: int, purpose: str, number: int = 0) -> Generator:
    """The generator of, say, training batch `number`: a function of its arguments alone.

    Numbers are spread over the states, not hashed: among 100 000 hashes of 32 bits one expects two that are equal.
    """
    return Generator().manual_seed((_first_state(seed, purpose) + number * STRIDE) % NUM_STATES)


@lru_cache(maxsize=64)
def _first_state(seed: int, purpose: str) -> int:
    return int(high_bits(seed_key(seed, purpose))[0])
