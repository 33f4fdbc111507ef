"""What models and masking must know of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from modules.contracts import Vocabulary

from .masking import MaskableIds
from .ragged import Ends
from .tokenizers import tokenizer_hash

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def make_vocabulary(tokenizer: Tokenizer, special_tokens: Mapping[str, str], unigram_entropy: float) -> Vocabulary:
    """Size, special ids and hash of a tokenizer for masked language modelling.

    Args:
        tokenizer: The tokenizer.
        special_tokens: Spelling of its special tokens by role.
        unigram_entropy: Entropy of the corpus in nats.

    Raises:
        ValueError: It has no [PAD], [CLS], [SEP] or [MASK].
    """
    ids = tokenizer.get_vocab(with_added_tokens=True)
    missing = {role: special_tokens[role] for role in ("pad", "cls", "sep", "mask") if special_tokens[role] not in ids}
    if missing:
        raise ValueError(
            f"the tokenizer lacks the special tokens {missing}: name its own spelling in "
            "data.init_args.tokenizer.init_args.special_tokens, or take another tokenizer"
        )
    return Vocabulary(
        size=max(ids.values()) + 1,
        special_ids={role: ids[token] for role, token in special_tokens.items() if token in ids},
        tokenizer_hash=tokenizer_hash(tokenizer),
        unigram_entropy=unigram_entropy,
    )


def maskable_ids(vocabulary: Vocabulary, tokenizer: Tokenizer) -> MaskableIds:
    """Special and ordinary ids; special is what has a role and what the tokenizer itself calls special."""
    is_special_V = np.zeros(vocabulary.size, dtype=np.bool_)
    is_special_V[list(vocabulary.special_ids.values())] = True
    is_special_V[[number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]] = True
    real = np.array(sorted(tokenizer.get_vocab(with_added_tokens=True).values()), dtype=np.int64)
    return MaskableIds(vocabulary.special_ids["mask"], is_special_V, real[~is_special_V[real]])


def document_ends(vocabulary: Vocabulary) -> Ends:
    """The ids around documents and after them."""
    ids = vocabulary.special_ids
    return Ends(cls_id=ids["cls"], sep_id=ids["sep"], pad_id=ids["pad"])
