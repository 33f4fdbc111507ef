"""Few shapes, budgets that hold, and a way out when one does not."""

import pytest

from datamodules.text.buckets import Bucket, choose_bucket, make_buckets


@pytest.mark.parametrize("max_tokens", [32, 64, 100, 1000, 16_384, 12_345])
def test_buckets_cover_every_batch_with_few_shapes(max_tokens: int) -> None:
    buckets = make_buckets(max_tokens, 0.3)
    assert len(buckets) <= 17
    assert all(bucket.num_tokens % 64 == 0 and bucket.num_rows % 64 == 0 for bucket in buckets)
    for num_tokens in range(1, max_tokens + 1, max(1, max_tokens // 500)):
        bucket = choose_bucket(buckets, num_tokens, int(0.3 * num_tokens))
        assert num_tokens <= bucket.num_tokens <= num_tokens + max_tokens / 16 + 64
    assert choose_bucket(buckets, max_tokens, max_tokens).num_rows >= max_tokens


def test_the_budget_is_mean_plus_six_sigma() -> None:
    buckets = make_buckets(16_384, 0.3)
    assert buckets[0] == Bucket(1024, 448)  # 307.2 + 6 * 14.7 = 395.2
    assert buckets[-2] == Bucket(16_384, 5312)  # 4915.2 + 6 * 58.7 = 5267.1
    assert buckets[-1] == Bucket(16_384, 16_384)


def test_too_many_masked_tokens_take_a_larger_bucket() -> None:
    buckets = make_buckets(16_384, 0.3)
    assert choose_bucket(buckets, 1000, 448) == buckets[0]
    assert choose_bucket(buckets, 1000, 449) == buckets[1]
