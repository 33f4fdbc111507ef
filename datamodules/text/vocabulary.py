"""What models and masking must know of the tokenizer of a store."""

from __future__ import annotations

import numpy as np

from modules.contracts import Vocabulary

from .masking import MaskableIds
from .store import TokenStore


def read_vocabulary(store: TokenStore) -> Vocabulary:
    """Size, special ids by role, hash and unigram entropy of a store's tokenizer and corpus."""
    ids = store.tokenizer().get_vocab(with_added_tokens=True)
    return Vocabulary(
        size=max(ids.values()) + 1,
        special_ids={role: ids[token] for role, token in store.meta.special_tokens.items() if token in ids},
        tokenizer_hash=store.meta.tokenizer_hash,
        unigram_entropy=store.meta.unigram_entropy,
    )


def require_roles(vocabulary: Vocabulary, store: TokenStore) -> None:
    """Checks that a tokenizer can serve masked language modelling.

    Raises:
        ValueError: It has no [PAD], [CLS], [SEP] or [MASK].
    """
    missing = [role for role in ("pad", "cls", "sep", "mask") if role not in vocabulary.special_ids]
    if missing:
        spellings = {role: store.meta.special_tokens[role] for role in missing}
        raise ValueError(
            f"the tokenizer lacks the special tokens {spellings}: name its own spelling in "
            "data.init_args.tokenizer.init_args.special_tokens, or take another tokenizer"
        )


def maskable_ids(vocabulary: Vocabulary, store: TokenStore) -> MaskableIds:
    """Special and ordinary ids; special is what has a role and what the tokenizer itself calls special."""
    tokenizer = store.tokenizer()
    is_special_V = np.zeros(vocabulary.size, dtype=np.bool_)
    is_special_V[list(vocabulary.special_ids.values())] = True
    is_special_V[[number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]] = True
    real = np.array(sorted(tokenizer.get_vocab(with_added_tokens=True).values()), dtype=np.int64)
    return MaskableIds(vocabulary.special_ids["mask"], is_special_V, real[~is_special_V[real]])
