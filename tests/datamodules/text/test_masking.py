"""Masking statistics over a million tokens: MosaicBERT section 3.1, acceptance test 14."""

import numpy as np
import pytest

from datamodules.text.counter_hash import fold, seed_key
from datamodules.text.masking import MaskableIds, mask_tokens

VOCAB, MASK = 1000, 4
NUM_TOKENS = 1_500_000


@pytest.fixture(scope="module")
def vocabulary() -> MaskableIds:
    is_special = np.zeros(VOCAB + 24, dtype=np.bool_)
    is_special[[0, 1, 2, 3, MASK, 999]] = True
    return MaskableIds(MASK, is_special, np.flatnonzero(~is_special[:VOCAB]))


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, VOCAB, NUM_TOKENS)


def within_three_sigma(count: int, total: int, share: float) -> bool:
    return abs(count - total * share) < 3 * (total * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_shares_and_ids(rate: float, ids: np.ndarray, vocabulary: MaskableIds) -> None:
    corrupted = ids.copy()
    positions, originals = mask_tokens(corrupted, fold(seed_key(5, "masks"), np.arange(NUM_TOKENS)), rate, vocabulary)
    ordinary = ~vocabulary.is_special_V[ids]
    assert within_three_sigma(len(positions), int(ordinary.sum()), rate)
    assert np.all(ordinary[positions])
    assert np.array_equal(ids[positions], originals)
    untouched = np.ones(NUM_TOKENS, dtype=np.bool_)
    untouched[positions] = False
    assert np.array_equal(corrupted[untouched], ids[untouched])
    after = corrupted[positions]
    is_mask, kept = after == MASK, after == originals
    num_ordinary = len(vocabulary.ordinary_ids)
    assert within_three_sigma(int(is_mask.sum()), len(positions), 0.8)
    assert within_three_sigma(int(kept.sum()), len(positions), 0.1 + 0.1 / num_ordinary)
    random = after[~is_mask & ~kept]
    assert not vocabulary.is_special_V[random].any()
    assert random.max() < VOCAB
    counts = np.bincount(random, minlength=VOCAB)[vocabulary.ordinary_ids]
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert abs(chi_square - num_ordinary) < 5 * (2 * num_ordinary) ** 0.5


def test_what_happens_to_a_token_does_not_depend_on_the_others(ids: np.ndarray, vocabulary: MaskableIds) -> None:
    keys = fold(seed_key(5, "masks"), np.arange(1000))
    whole, part = ids[:1000].copy(), ids[300:400].copy()
    mask_tokens(whole, keys, 0.3, vocabulary)
    mask_tokens(part, keys[300:400], 0.3, vocabulary)
    assert np.array_equal(whole[300:400], part)


def test_a_higher_rate_masks_the_same_tokens_and_more(ids: np.ndarray, vocabulary: MaskableIds) -> None:
    keys = fold(seed_key(5, "masks"), np.arange(10_000))
    few, _ = mask_tokens(ids[:10_000].copy(), keys, 0.15, vocabulary)
    many, _ = mask_tokens(ids[:10_000].copy(), keys, 0.3, vocabulary)
    assert set(few) < set(many)
    assert len(mask_tokens(ids[:10_000].copy(), keys, 0.0, vocabulary)[0]) == 0
