"""Held-out documents are spread evenly, and the two sides part the corpus."""

import numpy as np
import pytest

from datamodules.text.split import Split


@pytest.mark.parametrize(("num_documents", "num_held_out"), [(10, 0), (10, 5), (10, 3), (101, 7), (1000, 499), (2, 1)])
def test_the_sides_part_the_corpus(num_documents: int, num_held_out: int) -> None:
    training = Split(num_documents, num_held_out, held_out=False)
    held_out = Split(num_documents, num_held_out, held_out=True)
    sides = [side.numbers(np.arange(len(side))) for side in (training, held_out)]
    assert len(sides[1]) == num_held_out
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(num_documents))
    assert all(np.all(np.diff(side) > 0) for side in sides)


def test_held_out_documents_come_from_all_over() -> None:
    numbers = Split(1000, 10, held_out=True).numbers(np.arange(10))
    assert np.array_equal(numbers, np.arange(10) * 100 + 50)


def test_no_more_than_half_is_held_out() -> None:
    with pytest.raises(ValueError, match="num_held_out=6 must be between 0 and half of the 10 documents"):
        Split(10, 6, held_out=False)
