"""Masked-language-model corruption (BERT; MosaicBERT section 3.1) as a pure function of a key per token.

Letters: T tokens of a batch, M masked ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .counter_hash import fold, high_bits, low_bits

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Of the masked tokens: how many become [MASK], how many a random token; the rest stays as it is."""


@dataclass(frozen=True)
class MaskableIds:
    """What masking must know of a vocabulary.

    Attributes:
        mask_id: Id of [MASK].
        is_special_V: bool[V], which ids are special tokens; they are never masked and never put in.
        ordinary_ids: int64, all other ids the tokenizer really has.
    """

    mask_id: int
    is_special_V: npt.NDArray[np.bool_]
    ordinary_ids: npt.NDArray[np.int64]


def mask_tokens(
    ids_T: np.ndarray, keys_T: np.ndarray, rate: float, vocabulary: MaskableIds
) -> tuple[np.ndarray, np.ndarray]:
    """Masks each ordinary token with probability `rate`: 80% [MASK], 10% a random ordinary token, 10% unchanged.

    Args:
        ids_T: int64[T]; changed in place.
        keys_T: uint64[T], the random number of each token.
        rate: Probability in [0, 1].
        vocabulary: Special and ordinary ids.

    Returns:
        positions int64[M] of the masked tokens, growing, and their original ids int64[M].
    """
    chosen_T = high_bits(keys_T) < np.uint64(round(rate * 2**32))
    positions_M = np.flatnonzero(chosen_T & ~vocabulary.is_special_V[ids_T])
    originals_M = ids_T[positions_M]
    draws_M = fold(keys_T[positions_M], np.zeros(1))  # fresh numbers: the first ones are all small here
    actions_M = high_bits(draws_M)
    count = np.uint64(len(vocabulary.ordinary_ids))
    random_M = vocabulary.ordinary_ids[(low_bits(draws_M) * count) >> np.uint64(32)]
    becomes_mask_M = actions_M < np.uint64(round(MASK_SHARE * 2**32))
    becomes_random_M = ~becomes_mask_M & (actions_M < np.uint64(round((MASK_SHARE + RANDOM_SHARE) * 2**32)))
    ids_T[positions_M[becomes_mask_M]] = vocabulary.mask_id
    ids_T[positions_M[becomes_random_M]] = random_M[becomes_random_M]
    return positions_M, originals_M
