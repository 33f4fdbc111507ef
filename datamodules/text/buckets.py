"""Few shapes for ragged batches, so that compiled code sees few: token counts rounded up, and row budgets with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

NUM_BUCKETS = 16
MULTIPLE = 64
NUM_SIGMAS = 6.0
"""At six standard deviations one batch in a billion has more masked tokens than its budget; it takes the next."""


@dataclass(frozen=True)
class Bucket:
    """One shape of a batch.

    Attributes:
        num_tokens: T, a multiple of 64.
        num_rows: R, a multiple of 64: rows whose logits are computed.
    """

    num_tokens: int
    num_rows: int


def make_buckets(max_tokens: int, masking_rate: float) -> list[Bucket]:
    """The shapes of all batches of a run: sixteen equal steps up to the largest batch, or fewer steps of 64.

    Args:
        max_tokens: Tokens of the largest batch.
        masking_rate: Share of the tokens that is masked, the largest of the run.

    Returns:
        Buckets of growing size. The row budget is the mean of a binomial distribution plus six of its standard
        deviations. A last bucket, which only a batch beyond all budgets needs, has as many rows as tokens.
    """
    step = round_up(max_tokens / NUM_BUCKETS)
    sizes = range(step, round_up(max_tokens) + step, step)
    buckets = [Bucket(size, _row_budget(size, masking_rate)) for size in sizes if size < max_tokens + step]
    return [*buckets, Bucket(buckets[-1].num_tokens, buckets[-1].num_tokens)]


def choose_bucket(buckets: list[Bucket], num_tokens: int, num_rows: int) -> Bucket:
    """The first bucket that holds so many tokens and rows."""
    return next(bucket for bucket in buckets if bucket.num_tokens >= num_tokens and bucket.num_rows >= num_rows)


def round_up(number: float) -> int:
    """The next multiple of 64, at least one."""
    return max(1, math.ceil(number / MULTIPLE)) * MULTIPLE


def _row_budget(num_tokens: int, masking_rate: float) -> int:
    sigma = math.sqrt(num_tokens * masking_rate * (1 - masking_rate))
    return min(num_tokens, round_up(num_tokens * masking_rate + NUM_SIGMAS * sigma))
