"""Which example comes when: a shuffled order without a table, by a keyed permutation computed where it is needed."""

from dataclasses import dataclass

import numpy as np

from .counter_hash import fold, seed_key

NUM_ROUNDS = 8
MIN_BITS = 8
"""Networks of a few bits are visibly uneven, whatever their rounds."""


@dataclass(frozen=True)
class ShuffledOrder:
    """An endless run through `size` examples, every epoch in another order.

    Attributes:
        size: Number of examples.
        seed: Seed of the order.
    """

    size: int
    seed: int

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What stands at global positions of the run.

        Args:
            positions: int64[N], counted from the start of the first epoch.

        Returns:
            epochs int64[N] and examples int64[N]; over the positions of one epoch each example appears once.
        """
        epochs, places = np.divmod(positions, self.size)
        keys = fold(seed_key(self.seed, "order"), epochs)
        return epochs, permute(places, self.size, keys)


def permute(places: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """A keyed permutation of `range(size)`, in constant memory.

    An alternating Feistel network permutes the next power of two; results past `size` go through it again until they
    are inside (cycle walking), less than once on average unless there are very few.

    Args:
        places: int64[N] in [0, size).
        size: Number of elements that are permuted.
        keys: uint64[N]; each key has a permutation of its own.

    Returns:
        int64[N] in [0, size).
    """
    bits = max(MIN_BITS, (size - 1).bit_length())
    values = _feistel(places.astype(np.uint64), keys, bits)
    outside = np.flatnonzero(values >= size)
    while outside.size:
        values[outside] = _feistel(values[outside], keys[outside], bits)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _feistel(values: np.ndarray, keys: np.ndarray, bits: int) -> np.ndarray:
    low_width = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    high, low = values >> low_width, values & low_mask
    for number in range(0, NUM_ROUNDS, 2):
        high = high ^ (fold(keys + np.uint64(number), low) & high_mask)
        low = low ^ (fold(keys + np.uint64(number + 1), high) & low_mask)
    return (high << low_width) | low
