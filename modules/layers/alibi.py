"""Slopes of attention with linear biases (arXiv:2108.12409, section 3), for any number of heads."""

import torch
from torch import Tensor

from modules.checks import check_at_least_one


def alibi_slopes(num_heads: int) -> Tensor:
    """The slope `m_h` of each head: a score between tokens i and j is lowered by `m_h * |i - j|`.

    For a power of two they are `2^(-8k/n)`, k = 1..n. Any other number takes the slopes of the next lower power of
    two, p, and fills up with every second slope of 2p heads. The order is that of released weights and is not sorted.

    Returns:
        slopes_H, float32[num_heads], positive.

    Raises:
        ValueError: `num_heads` is below one.
    """
    check_at_least_one(num_heads=num_heads)
    lower = 1 << (num_heads.bit_length() - 1)
    slopes = _power_of_two_slopes(lower) + _power_of_two_slopes(2 * lower)[::2]
    return torch.tensor(slopes[:num_heads], dtype=torch.float32)


def _power_of_two_slopes(num_heads: int) -> list[float]:
    return [2.0 ** (-8 * k / num_heads) for k in range(1, num_heads + 1)]
