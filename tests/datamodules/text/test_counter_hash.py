"""Counter-based random numbers: known values, uniform, and independent between keys."""

import numpy as np

from datamodules.text.counter_hash import fold, high_bits, low_bits, mix, seed_key


def test_mix_equals_a_plain_splitmix64() -> None:
    def plain(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    keys = np.array([0, 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15], dtype=np.uint64)
    assert mix(keys).tolist() == [plain(int(key)) for key in keys]
    assert mix(keys)[-1] == 0xE220A8397B1DCDAF  # first output of the published generator for seed 0


def test_numbers_are_uniform_and_uncorrelated() -> None:
    draws = fold(seed_key(1, "masks"), np.arange(1_000_000))
    for bits in (high_bits(draws), low_bits(draws)):
        uniform = bits / 2**32
        assert abs(uniform.mean() - 0.5) < 3 * (1 / 12 / 1e6) ** 0.5
        assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 3e-3
    neighbours = fold(seed_key(2, "masks"), np.arange(1_000_000))
    assert abs(np.corrcoef(draws / 2**64, neighbours / 2**64)[0, 1]) < 3e-3


def test_purposes_and_seeds_have_their_own_numbers() -> None:
    keys = {int(seed_key(seed, purpose)[0]) for seed in range(100) for purpose in ("order", "masks", "evaluation")}
    assert len(keys) == 300
