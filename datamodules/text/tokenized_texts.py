"""Texts tokenized on the spot, in the form of a small store."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from .shards import encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts laid end to end, without special tokens of their own.

    Attributes:
        tokens: int64, token ids of all texts.
        offsets: int64, where each text starts, one more than texts.
    """

    tokens: np.ndarray
    offsets: np.ndarray


def tokenize_texts(tokenizer: Tokenizer, texts: list[str]) -> TokenizedTexts:
    """Tokenizes texts; special tokens that stand in them, such as [MASK], are kept."""
    ids = encode(tokenizer, texts)
    offsets = np.cumsum([0, *map(len, ids)])
    return TokenizedTexts(np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=offsets[-1]), offsets)
