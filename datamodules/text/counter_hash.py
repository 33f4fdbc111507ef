"""Random numbers as a pure function of counters: no state to save, the same on any rank, worker and machine.

The mixing function is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014). All arithmetic is modulo 2**64 on numpy arrays.
"""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = (np.uint64(shift) for shift in (30, 27, 31, 32))


def mix(keys: np.ndarray) -> np.ndarray:
    """A bijection of the 64-bit integers that looks random.

    Args:
        keys: uint64, any shape.

    Returns:
        uint64 of the same shape.
    """
    mixed = keys ^ (keys >> _30)
    mixed *= _FIRST
    mixed ^= mixed >> _27
    mixed *= _SECOND
    mixed ^= mixed >> _31
    return mixed


def fold(key: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """The key of each counter below a key: `fold(fold(seed, epoch), document)` and so on.

    Args:
        key: uint64, broadcastable to `counters`.
        counters: Non-negative integers.

    Returns:
        uint64 of the broadcast shape.
    """
    return mix(key + (counters.astype(np.uint64) + np.uint64(1)) * GOLDEN)


def seed_key(seed: int, purpose: str) -> np.ndarray:
    """The key of a seed for one purpose, so that order and masks do not share numbers: uint64[1]."""
    key = np.array([seed % 2**64], dtype=np.uint64)
    for byte in purpose.encode():
        key = fold(key, np.array([byte]))
    return key


def high_bits(hashes: np.ndarray) -> np.ndarray:
    """The upper 32 bits, as uint64."""
    return hashes >> _32


def low_bits(hashes: np.ndarray) -> np.ndarray:
    """The lower 32 bits, as uint64."""
    return hashes & np.uint64(0xFFFFFFFF)
