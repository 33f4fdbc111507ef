"""The order is a permutation in each epoch, another one in the next, and a function of the position alone."""

import numpy as np
import pytest

from datamodules.text.counter_hash import fold, seed_key
from datamodules.text.order import ShuffledOrder, permute


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000, 4096, 100_003])
def test_each_epoch_is_a_bijection(size: int) -> None:
    order = ShuffledOrder(size, seed=3)
    epochs, examples = order.at(np.arange(3 * size))
    for epoch in range(3):
        assert np.array_equal(np.sort(examples[epochs == epoch]), np.arange(size))


def test_the_order_is_a_function_of_the_position() -> None:
    order = ShuffledOrder(12_345, seed=3)
    _, whole = order.at(np.arange(50_000))
    for start in (0, 1, 12_344, 31_000):
        assert np.array_equal(order.at(np.arange(start, start + 77))[1], whole[start : start + 77])
    huge = np.array([10**12])
    assert 0 <= order.at(huge)[1][0] < 12_345


def test_epochs_and_seeds_differ_and_look_shuffled() -> None:
    size = 10_000
    places = np.arange(size)
    orders = [
        permute(places, size, np.repeat(fold(seed_key(seed, "order"), np.array([e])), size))
        for seed in (0, 1)
        for e in (0, 1)
    ]
    for first in range(4):
        assert abs(np.corrcoef(places, orders[first])[0, 1]) < 0.04
        # a shuffled order has about one fixed point, and about two neighbours that stay neighbours
        assert (orders[first] == places).sum() < 10
        assert (np.abs(np.diff(orders[first])) == 1).sum() < 15
        for second in range(first):
            assert (orders[first] == orders[second]).sum() < 10


def test_every_example_is_equally_likely_at_the_first_place() -> None:
    keys = fold(seed_key(0, "order"), np.arange(60_000))
    firsts = permute(np.zeros(60_000, dtype=np.int64), 6, keys)
    assert np.all(np.abs(np.bincount(firsts, minlength=6) - 10_000) < 5 * 10_000**0.5)
